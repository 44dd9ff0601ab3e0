"""Views: made in their dataset as they stand, and once more for people who read nothing else."""

import pytest

pytestmark = pytest.mark.slow

VIEWS = {
    "risk/fills.sql": "SELECT DISTINCT * FROM `{project}.{risk}.fill`;\n",
    "risk/fills_daily.sql": "SELECT DATE(time) AS day, units FROM `{project}.{risk}.fills`",
    "risk/book.sql": "SELECT f.* FROM `{project}.{risk}.fills_daily` f, `{project}.{risk}.fills`",
    "security_master/ticks.sql": "SELECT * FROM `{project}.{security_master}.tick`",
}


@pytest.fixture(scope="module")
def planned(terraform, tmp_path_factory):
    code = terraform.copy(tmp_path_factory.mktemp("views") / "copy")
    for name, sql in VIEWS.items():
        file = code.folder.parent / "looker" / "views" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(sql)
    outcome = code.test("one", "dev")
    assert outcome.passed, outcome.complaints
    return outcome.plans["one"]


@pytest.fixture(scope="module")
def views(planned):
    return {
        (r.values["dataset_id"], r.values["table_id"]): (r.address, r.values["view"][0]["query"])
        for r in planned.of("bigquery_table")
        if r.values.get("view")
    }


def test_every_view_stands_in_its_dataset_and_in_desk_views(views):
    named = {tuple(name.removesuffix(".sql").split("/")) for name in VIEWS}
    assert named <= set(views)
    assert {("desk_views", view) for _, view in named} <= set(views)


def test_names_are_filled_in_and_the_text_is_the_one_the_library_applies(views):
    _, query = views["risk", "fills"]
    assert query == "SELECT DISTINCT * FROM `mbats-test-project.risk.fill`"


def test_a_readers_view_reads_tables_directly_and_other_views_beside_it(views):
    assert "`mbats-test-project.risk.fill`" in views["desk_views", "fills"][1]
    _, daily = views["desk_views", "fills_daily"]
    assert "`mbats-test-project.desk_views.fills`" in daily
    _, book = views["desk_views", "book"]
    assert "desk_views.fills_daily`" in book
    assert "desk_views.fills`" in book
    assert ".risk." not in book


def test_a_view_is_made_after_those_it_reads(views):
    layers = ("view[", "view_of_views[", "view_on_top[")
    for dataset in ("risk", "desk_views"):
        for layer, view in zip(layers, ("fills", "fills_daily", "book"), strict=True):
            assert f"google_bigquery_table.{layer}" in views[dataset, view][0]


def test_the_dashboards_link_names_every_readers_view(planned):
    link = planned.outputs["looker_studio"]
    assert link.startswith("https://lookerstudio.google.com/reporting/create?c.mode=edit&")
    assert "ds.*.datasetId=desk_views" in link
    assert all(f"ds.{v}.tableId={v}&" in link for v in ("fills", "fills_daily", "book", "ticks"))
