"""`mbats parity` over sessions that are stored: in memory, and once in the emulators."""

import json
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pytest
from typer.testing import CliRunner

import mbats.desk
from mbats import schemas
from mbats.cli.main import app
from mbats.errors import ConfigError, DataError
from mbats.live.parity.compare import compare, missed_bars
from mbats.live.parity.recorded import Choice, load_session
from mbats.live.parity.replay import tick_bars
from mbats.market.bars import BAR_SCHEMA
from mbats.market.newyork import to_datetime
from tests.live.parity.sessions import EUR_USD, MINUTE, START, session, traded
from tests.live.stored import STRATEGY, full, stored_session, tick_rows

PIP = Decimal("0.0001")


class Risk:
    def __init__(self, result, events=()):
        self.result, self.told, self.noted = result, list(events), []

    def load(self, run_id):
        return self.result

    def events(self, run_id):
        return self.told

    def account_events(self, account, since):
        return []

    def account_rows(self, account, since):
        return {"fill": [], "order_event": []}

    def note(self, event):
        self.noted.append(event)
        return True


class Master:
    def __init__(self, rows):
        self.rows = rows

    def ticks(self, instrument, vendor, start=None, end=None):
        kept = [r for r in self.rows if r["instrument"] == instrument and start <= r["time"] < end]
        return pa.Table.from_pylist(kept, schema=schemas.table("security_master", "tick").arrow)

    def bars(self, *key):
        return BAR_SCHEMA.empty_table()

    def series(self):
        return pa.table({"granularity": pa.array([], pa.string())})

    def instruments(self, vendor=None):
        return [EUR_USD]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(STRATEGY)
    return path


@pytest.fixture
def named():
    """The synthetic session under the stored strategy's name, so that its keys are those."""
    made = session()
    return replace(made, loaded=replace(made.loaded, name="mine"))


@pytest.fixture
def run_parity(monkeypatch, file):
    def run(risk, master, *arguments):
        class Desk:
            risk_store, security_master = risk, master

            def __init__(self, settings):
                pass

            def __enter__(self):
                return self

            def __exit__(self, *_):
                return None

        monkeypatch.setattr(mbats.desk, "Desk", Desk)
        return CliRunner().invoke(app, ["parity", "run-1", "--file", str(file), *arguments])

    return run


def test_parity_is_said_and_exits_with_0(run_parity, named):
    made = traded(named)
    done = run_parity(Risk(stored_session("run-1", made)), Master(tick_rows(made.ticks["EUR_USD"])))
    assert done.exit_code == 0, done.output
    assert "Parity: 9 orders, every difference has its reason." in done.output


def test_a_difference_is_shown_with_its_reason_and_cost(run_parity, named):
    made = traded(named, worsen={0: lambda row: {"price": row["price"] + PIP / 2}})
    master = Master(tick_rows(made.ticks["EUR_USD"]))
    done = run_parity(Risk(stored_session("run-1", made)), master)
    assert done.exit_code == 0
    assert "EUR_USD entry buy" in done.output
    assert "0.0500" in done.output
    assert "slippage" in done.output


def test_json_holds_everything_and_unexplained_differences_exit_with_3(run_parity, named):
    made = traded(named, skip={4, 5})
    risk = Risk(stored_session("run-1", made))
    done = run_parity(risk, Master(tick_rows(made.ticks["EUR_USD"])), "--json", "--record")
    assert done.exit_code == 3
    said = json.loads(done.stdout)
    assert said["reasons"] == {"same": 7, "unexplained": 1, "follows": 1}
    assert [d["live_units"] for d in said["differences"][4:6]] == [None, None]
    (event,) = risk.noted
    assert (event["code"], event["severity"]) == ("PARITY", "warning")
    assert event["event_id"].startswith("run-1-PARITY-")


def test_without_record_nothing_is_stored(run_parity, named):
    made = traded(named)
    risk = Risk(stored_session("run-1", made))
    run_parity(risk, Master(tick_rows(made.ticks["EUR_USD"])))
    assert risk.noted == []


def test_one_of_several_strategies_is_replayed_on_its_own_instruments(named, file):
    made = traded(named)
    several = {
        "strategy": "mine+other",
        "parameters": {"mine": {"every": 3}, "other": {}},
        "instruments": ["EUR_USD", "USD_JPY"],
        "assumptions": {
            "sizer": {"mine": "units:1000", "other": "units:7"},
            "traded": {"mine": ["EUR_USD"], "other": ["USD_JPY"]},
        },
    }
    risk = Risk(stored_session("run-1", made, **several))
    master = Master(tick_rows(made.ticks["EUR_USD"]))
    choice = Choice(strategy="mine", file=str(file))
    found = load_session("run-1", risk, master, choice, START + 90 * MINUTE)
    assert (list(found.instruments), found.sizer) == (["EUR_USD"], "units:1000")
    report = compare(found)
    assert len(report.differences) == len(made.fills)
    assert report.parity


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"kind": "backtest"}, DataError, "not a live session"),
        ({"assumptions": {}}, ConfigError, "how it sized"),
        ({"strategy": "mine+other"}, ConfigError, "several strategies"),
        ({"parameters": {"mine": {"gone": 1}}}, ConfigError, "no parameter 'gone'"),
    ],
)
def test_what_a_run_leaves_open_is_asked_for(named, file, changes, error, match):
    risk = Risk(stored_session("run-1", traded(named), **changes))
    with pytest.raises(error, match=match):
        load_session("run-1", risk, Master([]), Choice(file=str(file)), START + 90 * MINUTE)


def test_a_session_that_still_runs_is_compared_up_to_now(named, file):
    made = traded(named)
    risk = Risk(stored_session("run-1", made, ended_at=None))
    master, now = Master(tick_rows(made.ticks["EUR_USD"])), START + 10 * MINUTE
    found = load_session("run-1", risk, master, Choice(file=str(file)), now)
    assert found.run["ended_at"] == now
    assert max(found.ticks["EUR_USD"].time) < now.replace(tzinfo=None)


def test_bars_that_the_session_kept_beside_its_signals_are_what_it_saw(named, file):
    made = traded(named)
    result = stored_session("run-1", made)
    bars = tick_bars(made)["EUR_USD"]
    rows = [
        full("signal", {
            "run_id": "run-1", "strategy": "mine", "instrument": "EUR_USD",
            "time": to_datetime(bars.start[i]), "known_at": to_datetime(bars.end[i]),
            **{n: Decimal(f"{getattr(bars.mid, n)[i]:.9f}") for n in bars.mid._fields},
        })
        for i in range(len(bars))
    ]  # fmt: skip
    rows[4]["close"] += PIP
    schema = schemas.table("risk", "signal").arrow
    result.tables["signal"] = pa.Table.from_pylist(rows, schema=schema)
    master = Master(tick_rows(made.ticks["EUR_USD"]))
    choice = Choice(file=str(file))
    found = load_session("run-1", Risk(result), master, choice, START + 90 * MINUTE)
    assert missed_bars(found) == [("EUR_USD", to_datetime(bars.end[4]))]


@pytest.mark.emulators
def test_a_stored_session_is_read_back_and_compared(settings, named, file):
    from mbats.desk import Desk
    from mbats.gcp.batch import table_of
    from mbats.gcp.tables import apply_tables

    names = {"security_master": "security_master_parity", "risk": "risk_parity"}
    made = traded(named)
    result = stored_session("run-1", made)
    rows = tick_rows(made.ticks["EUR_USD"])
    with Desk(settings.model_copy(update=names)) as desk:
        apply_tables(desk.warehouse, schemas.all_tables().values())
        store = desk.security_master
        store.merge("tick", rows)
        for name, table in (("run", table_of(schemas.table("risk", "run"), [result.run])),
                            ("fill", result.tables["fill"])):  # fmt: skip
            desk.warehouse.merge(schemas.table("risk", name), table)
        choice = Choice(file=str(file))
        found = load_session("run-1", desk.risk_store, store, choice, START + 90 * MINUTE)
        assert len(found.ticks["EUR_USD"]) == len(rows)
        assert compare(found).parity
        assert len(compare(found).differences) == len(made.fills)
        event = {"event_id": "e", "run_id": "run-1", "time": START, "code": "PARITY",
                 "severity": "info", "detail": "d"}  # fmt: skip
        assert desk.risk_store.note(event)
        assert not desk.risk_store.note(event)
        assert [e["code"] for e in desk.risk_store.events("run-1")] == ["PARITY"]
