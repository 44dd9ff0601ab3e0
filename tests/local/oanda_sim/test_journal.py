"""The state file: a simulator killed with -9 comes back with equal state."""

import json

import pytest
import requests

from mbats.errors import DataError
from mbats.local.oanda_sim import FaultPlan, SimConfig, launch, serve, spec_of
from mbats.local.oanda_sim import orders as order_requests
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.invariants import violations
from mbats.local.oanda_sim.times import SECOND, parse_time

HEADERS = {"Authorization": "Bearer t"}
SPECS = tuple(spec_of(name) for name in ("EUR_USD", "USD_JPY"))


def _config(path, **more):
    start = {"start": None, "speed": 0, "seed": 4, "specs": SPECS, "state_file": path}
    return SimConfig(**{**start, **more})


def _post(engine, **order):
    (account,) = engine.accounts.values()
    order = {"type": "MARKET", "instrument": "EUR_USD", "units": "100", **order}
    return order_requests.create(account, engine.now_ns, {"order": order})


def _lived(path):
    """An engine with trades, pending orders, a moved trailing stop, a halt and a thin book."""
    engine = Engine(_config(path))
    monday = parse_time("2026-09-28T12:00:00Z")
    engine.advance(max(monday, engine.now_ns + 60 * SECOND))
    _post(engine, trailingStopLossOnFill={"distance": "0.00900"}, takeProfitOnFill={"price": "2"})
    _post(engine, type="LIMIT", price="0.9", clientExtensions={"id": "rests"})
    engine.advance(engine.now_ns + 120 * SECOND)
    _post(engine, instrument="USD_JPY", units="-400000")
    engine.halt("USD_JPY", halted=True)
    return engine


def _picture(engine):
    (account,) = engine.accounts.values()
    return {
        "now": engine.now_ns,
        "log": account.ledger.lines,
        "state": account.state,
        "trails": account.trails,
        "quotes": engine.market.quotes,
        "halted": engine.market.halted,
        "ladder": engine.market.ladder("USD_JPY", asks=False),
        "next": engine.next_time(),
    }


def test_restart_has_equal_state(tmp_path):
    engine = _lived(tmp_path / "sim.log")
    before = _picture(engine)
    again = Engine(_config(tmp_path / "sim.log"))  # nobody closed the first: as after kill -9
    assert _picture(again) == before
    (account,) = again.accounts.values()
    assert violations(account) == []


def test_restart_goes_on_as_if_nothing_had_been(tmp_path):
    first = _lived(tmp_path / "sim.log")
    (tmp_path / "copy.log").write_bytes((tmp_path / "sim.log").read_bytes())
    second = Engine(_config(tmp_path / "copy.log"))
    for engine in (first, second):
        engine.advance(engine.now_ns + 300 * SECOND)
        _post(engine, units="-50")
    assert _picture(second) == _picture(first)


def test_torn_last_line_is_cut_off(tmp_path):
    path = tmp_path / "sim.log"
    engine = _lived(path)
    before = _picture(engine)
    with path.open("ab") as file:
        file.write(b'T 101-001-1000001-001 {} [{"id":"99","acc')
    assert _picture(Engine(_config(path))) == before


def test_foreign_file_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    with pytest.raises(DataError, match="no record"):
        Engine(_config(path))


def test_other_accounts_and_instruments_are_refused(tmp_path):
    from mbats.local.oanda_sim import AccountSpec

    _lived(tmp_path / "sim.log").close()
    with pytest.raises(DataError, match="not configured"):
        Engine(_config(tmp_path / "sim.log", accounts=(AccountSpec(id="101-001-2-001"),)))
    with pytest.raises(DataError, match="not configured"):
        Engine(_config(tmp_path / "sim.log", specs=SPECS[:1]))


def test_a_full_disk_undoes_the_batch(tmp_path, monkeypatch):
    engine = _lived(tmp_path / "sim.log")
    before = len(next(iter(engine.accounts.values())).ledger.lines)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mbats.local.oanda_sim.journal.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        _post(engine)
    (account,) = engine.accounts.values()
    assert len(account.ledger.lines) == before
    assert violations(account) == []


def test_fault_counts_go_on_after_a_restart(tmp_path):
    plan = FaultPlan(seed=1)
    engine = Engine(_config(tmp_path / "sim.log", faults=plan))
    engine.faults.counts["write"] = 41
    engine.advance(parse_time("2026-09-28T12:00:00Z"))
    _post(engine)
    assert Engine(_config(tmp_path / "sim.log", faults=plan)).faults.counts["write"] == 41


def test_a_clock_that_follows_the_wall_lives_through_the_time_it_was_away(tmp_path):
    path = tmp_path / "sim.log"
    config = _config(path, speed=1.0)
    Engine(config).close()
    text = path.read_text().splitlines()
    header = json.loads(text[0])
    away = 600 * SECOND
    assert header["wall"] is True
    text[0] = json.dumps({**header, "start_ns": header["start_ns"] - away})
    path.write_text(text[0] + "\n")
    with serve(config) as running:
        assert running.call(lambda engine: engine.now_ns) >= header["start_ns"]
    with serve(_config(tmp_path / "other.log")) as running:  # stepped: it waits to be told
        began = running.call(lambda engine: engine.start_ns)
        assert running.call(lambda engine: engine.now_ns) == began


def test_killed_process_comes_back_with_every_transaction_it_answered(tmp_path):
    state = ["--state", str(tmp_path / "sim.log"), "--start", "2026-09-23T14:00:00"]
    answered = []
    with launch(state) as sim:
        url = f"{sim.url}/v3/accounts/{sim.account_id}"
        for units in ("10", "20", "-5"):
            order = {"type": "MARKET", "instrument": "EUR_USD", "units": units}
            answer = requests.post(
                f"{url}/orders", json={"order": order}, headers=HEADERS, timeout=60
            )
            answered += answer.json()["relatedTransactionIDs"]
        before = requests.get(f"{sim.url}/sim/log", timeout=60).json()
        sim.kill()
    with launch(state) as sim:
        after = requests.get(f"{sim.url}/sim/log", timeout=60).json()
        holds = requests.get(f"{sim.url}/sim/invariants", timeout=60).json()
    assert after == before
    assert json.dumps(holds["hold"]) == "true"
    assert set(answered) <= {tx["id"] for tx in after["transactions"]}
