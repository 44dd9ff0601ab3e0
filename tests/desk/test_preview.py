"""The preview's pages, over a warehouse that answers from memory."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from mbats.config import Settings
from mbats.desk.preview import application, chart, shown
from mbats.errors import NotReadyError

NOON = datetime(2026, 9, 23, 12, tzinfo=UTC)
FILL = {"event_id": "<script>", "time": NOON, "price": Decimal("1.100500000"), "units": 1000}


class Memory:
    """A warehouse with one answer, which remembers what it was asked."""

    def __init__(self, rows, profile="local"):
        self.settings = Settings(project="p", risk="risk_1", profile=profile)
        self.rows = rows
        self.asked = []
        self.client = self

    def get_table(self, name):
        fields = [SimpleNamespace(name=column) for row in self.rows[:1] for column in row]
        return SimpleNamespace(schema=fields)

    def query(self, sql):
        self.asked.append(sql)
        return self.rows


def get(app, path):
    """Ask the application once; return the status, the headers and the body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [], "root_path": "", "scheme": "http",
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return sent[0]["status"], dict(sent[0]["headers"]), body


def test_the_first_page_lists_every_view_with_what_it_holds():
    status, _, body = get(application(Memory([])), "/")
    assert status == 200
    for view in ("v_fill", "v_order_event", "v_risk_event", "v_heartbeat", "v_tick"):
        assert f'href="/view/{view}"' in body
    assert "Each fill once" in body


def test_a_view_shows_its_newest_rows_and_a_chart_and_nothing_in_them_runs():
    memory = Memory([FILL])
    status, headers, body = get(application(memory), "/view/v_fill")
    assert status == 200
    assert memory.asked == ["SELECT * FROM `p.risk_1.v_fill` ORDER BY `time` DESC LIMIT 200"]
    assert "<td>1.1005</td>" in body
    assert "data-figure" in body
    assert "<td>&lt;script&gt;</td>" in body
    assert "script-src 'self';" in headers[b"content-security-policy"].decode()


def test_on_google_cloud_it_reads_what_readers_may_read():
    memory = Memory([FILL], profile="gcp")
    get(application(memory), "/view/v_fill")
    assert "`p.desk_views.v_fill`" in memory.asked[0]


def test_a_view_without_rows_says_so():
    _, _, body = get(application(Memory([])), "/view/v_fill")
    assert "No rows yet." in body
    assert "data-figure" not in body


@pytest.mark.parametrize("name", ["fill", "v_fill` WHERE 1=1 --", "../secrets"])
def test_only_views_that_there_are_are_read(name):
    memory = Memory([FILL])
    status, _, _ = get(application(memory), f"/view/{name}")
    assert status == 404
    assert memory.asked == []


def test_the_same_rows_as_json():
    status, _, body = get(application(Memory([FILL])), "/view/v_fill.json")
    assert status == 200
    assert json.loads(body)[0]["price"] == "1.1005"


def test_health_asks_nobody():
    memory = Memory([])
    assert get(application(memory), "/health")[0] == 200
    assert memory.asked == []


def test_a_warehouse_that_does_not_answer_is_a_page_that_says_so():
    memory = Memory([FILL])

    def fails(sql):
        raise NotReadyError("BigQuery does not answer.", mend="mbats up")

    memory.query = fails
    status, _, body = get(application(memory), "/view/v_fill")
    assert status == 503
    assert "mbats up" in body


def test_a_chart_is_of_numbers_over_time_in_order():
    later = {**FILL, "time": datetime(2026, 9, 23, 13, tzinfo=UTC), "price": None}
    figure = chart([later, FILL])
    assert [line["name"] for line in figure["data"]] == ["price", "units"]
    assert figure["data"][0]["y"] == [1.1005, None]
    assert figure["data"][0]["x"][0] == "2026-09-23 12:00:00.000"
    assert chart([{"name": "x", "count": 1}]) is None
    assert chart([{"time": NOON, "name": "x"}]) is None
    assert chart([]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (Decimal("100.000000000"), "100"),
        (Decimal("0E-9"), "0"),
        ({"a": NOON}, '{"a": "2026-09-23 12:00:00+00:00"}'),
        (True, "True"),
    ],
)
def test_a_cell_is_plain(value, text):
    assert shown(value) == text
