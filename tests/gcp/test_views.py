import pytest

from mbats.errors import ConfigError
from mbats.gcp.views import apply_views

pytestmark = pytest.mark.emulators


def write(folder, name, sql):
    file = folder / f"{name}.sql"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(sql)


def test_views_are_made_once_and_replaced_when_their_text_changes(desk, tmp_path):
    write(tmp_path, "risk/a_counts", "SELECT `n` + 1 AS `n` FROM `{project}.{risk}.z_base`;\n")
    write(tmp_path, "risk/z_base", "SELECT COUNT(*) AS `n` FROM `{project}.{risk}.run` WHERE FALSE")
    assert {c.action for c in apply_views(desk.warehouse, tmp_path, dry_run=True)} == {"created"}
    assert {c.action for c in apply_views(desk.warehouse, tmp_path)} == {"created"}
    assert {c.action for c in apply_views(desk.warehouse, tmp_path)} == {"unchanged"}
    name = f"{desk.settings.project}.{desk.settings.risk}.a_counts"
    assert desk.warehouse.query(f"SELECT * FROM `{name}`") == [{"n": 1}]
    write(tmp_path, "risk/a_counts", "SELECT `n` + 5 AS `n` FROM `{project}.{risk}.z_base`")
    assert [c.action for c in apply_views(desk.warehouse, tmp_path)] == ["changed", "unchanged"]
    assert desk.warehouse.query(f"SELECT * FROM `{name}`") == [{"n": 5}]


def test_a_broken_view_is_named(desk, tmp_path):
    write(tmp_path, "risk/broken", "SELECT * FROM `{project}.{risk}.nowhere`")
    with pytest.raises(ConfigError, match=r"broken cannot be made.*nowhere"):
        apply_views(desk.warehouse, tmp_path)


def test_no_folder_is_no_views(desk, tmp_path):
    assert apply_views(desk.warehouse, tmp_path / "missing") == []
