"""Each fault as a client meets it, what it leaves in the log, and that a seed replays exactly."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import requests

from mbats.errors import ConfigError
from mbats.local.oanda_sim import Fault, FaultAt, FaultPlan, SimConfig, serve, spec_of, storm
from mbats.local.oanda_sim.faults import REQUEST_FAULTS, STREAM_FAULTS, FaultSchedule
from mbats.local.oanda_sim.streams import UNKNOWN_TYPE

START = datetime(2026, 9, 23, 14, 0, tzinfo=UTC)
PATIENCE_S = 60.0  # with a busy machine: nothing here is about how fast it is
HEADERS = {"Authorization": "Bearer t"}
ORDER = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}}


def _config(**more):
    more = {"specs": (spec_of("EUR_USD"),), "start": START, "speed": 0, **more}
    return SimConfig(**more)


@pytest.fixture
def sim():
    with serve(_config()) as running:
        yield running
        assert running.violations() == []


def _post(running, timeout=PATIENCE_S):
    url = f"{running.url}/v3/accounts/{running.account_id}/orders"
    return requests.post(url, json=ORDER, headers=HEADERS, timeout=timeout)


def _summary(running):
    url = f"{running.url}/v3/accounts/{running.account_id}/summary"
    return requests.get(url, headers=HEADERS, timeout=PATIENCE_S)


def _inject(running, kind, fault, **more):
    running.inject(FaultAt(kind, 1, fault, **more))


@pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.RESET])
def test_lost_request_leaves_nothing(sim, fault):
    _inject(sim, "write", fault)
    with pytest.raises(requests.ConnectionError):
        _post(sim)
    assert len(sim.log()) == 3
    assert _post(sim).status_code == 201


@pytest.mark.parametrize("fault", [Fault.DROP_ANSWER, Fault.RESET_AFTER, Fault.CUT_ANSWER])
def test_lost_answer_leaves_the_order(sim, fault):
    _inject(sim, "write", fault)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        _post(sim)
    assert len(sim.log()) == 5


def test_rate_limit_leaves_nothing(sim):
    _inject(sim, "write", Fault.RATE_LIMIT)
    answer = _post(sim)
    assert (answer.status_code, "Retry-After" in answer.headers) == (429, False)
    assert len(sim.log()) == 3


@pytest.mark.parametrize(
    ("fault", "length"), [(Fault.SERVER_ERROR, 3), (Fault.SERVER_ERROR_AFTER, 5)]
)
def test_server_error_has_an_html_body(sim, fault, length):
    _inject(sim, "write", fault, status=502)
    answer = _post(sim)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
    assert answer.text.startswith("<html>")
    assert len(sim.log()) == length


def test_garbled_answer_is_a_201_that_is_no_json(sim):
    _inject(sim, "write", Fault.GARBLED_ANSWER)
    answer = _post(sim)
    assert answer.status_code == 201
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()
    assert len(sim.log()) == 5


def test_delayed_request_is_applied_after_the_client_has_gone(sim):
    _inject(sim, "write", Fault.DELAY_APPLY, seconds=15)
    with pytest.raises(requests.ReadTimeout):
        _post(sim, timeout=0.3)
    _eventually(lambda: sim.call(lambda engine: list(engine.faults.happened)))
    sim.advance(14.9)
    assert len(sim.log()) == 3
    sim.advance(0.2)
    _settled(sim, 5)


def test_delayed_answer_comes_after_the_order_was_applied(sim):
    _inject(sim, "write", Fault.DELAY_ANSWER, seconds=15)
    with ThreadPoolExecutor(1) as poster:
        waiting = poster.submit(_post, sim)
        _settled(sim, 5)
        assert not waiting.done()
        sim.advance(15)
        assert waiting.result().status_code == 201


def _settled(sim, length):
    """Wait for a request in flight to be applied."""
    _eventually(lambda: len(sim.log()) == length)


def _eventually(found):
    """Return once ``found`` is true; the deadline is only a safety net."""
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline


def test_refused_connections_end_after_a_while(sim):
    _inject(sim, "read", Fault.REFUSE, seconds=0.5)
    with pytest.raises(requests.ConnectionError):
        _summary(sim)
    with pytest.raises(requests.ConnectionError) as caught:
        _summary(sim)
    assert "refused" in str(caught.value).lower()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert _summary(sim).status_code == 200
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline


def test_reads_and_writes_are_counted_apart():
    plan = FaultPlan(at=(FaultAt("write", 2, Fault.RATE_LIMIT),))
    with serve(_config(faults=plan)) as running:
        assert _post(running).status_code == 201
        for _ in range(5):
            assert _summary(running).status_code == 200
        assert _post(running).status_code == 429
        assert _post(running).status_code == 201


# Streams


def _stream(running, path="transactions/stream", chunk_size=60, timeout=PATIENCE_S):
    url = f"{running.url}/v3/accounts/{running.account_id}/{path}"
    return requests.get(url, headers=HEADERS, stream=True, timeout=timeout).iter_lines(chunk_size)


def test_stream_cut_in_mid_chunk(sim):
    lines = _stream(sim)
    _inject(sim, "transactions", Fault.CUT)
    _post(sim)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(lines)


def test_stream_ends_cleanly(sim):
    lines = _stream(sim)
    _inject(sim, "transactions", Fault.END)
    _post(sim)
    assert list(lines) == []


def test_stalled_stream_stays_open_without_heartbeats(sim):
    lines = _stream(sim, timeout=3)
    _inject(sim, "transactions", Fault.STALL)
    _post(sim)
    sim.advance(60)
    with pytest.raises(requests.ConnectionError, match="timed out"):
        next(lines)


def test_malformed_line_then_the_true_one(sim):
    lines = _stream(sim)
    _inject(sim, "transactions", Fault.MALFORMED)
    _post(sim)
    with pytest.raises(json.JSONDecodeError):
        json.loads(next(lines))


def test_duplicate_line(sim):
    lines = filter(None, _stream(sim))
    _inject(sim, "transactions", Fault.DUPLICATE)
    _post(sim)
    assert [json.loads(next(lines))["id"] for _ in range(3)] == ["4", "4", "5"]


def test_unknown_type_has_an_id_of_its_own(sim):
    lines = filter(None, _stream(sim))
    _inject(sim, "transactions", Fault.UNKNOWN_TYPE)
    _post(sim)
    sim.advance(0.1)
    got = [json.loads(next(lines)) for _ in range(3)]
    assert [(tx["id"], tx["type"]) for tx in got] == [
        ("4", "MARKET_ORDER"),
        ("5", "ORDER_FILL"),
        ("6", UNKNOWN_TYPE),
    ]


def test_price_stream_cut(sim):
    _inject(sim, "pricing", Fault.CUT)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(_stream(sim, "pricing/stream?instruments=EUR_USD"))


@pytest.mark.parametrize(
    ("kind", "fault"), [("write", Fault.CUT), ("pricing", Fault.DUPLICATE), ("nothing", Fault.END)]
)
def test_a_fault_that_cannot_happen_is_refused(kind, fault):
    with pytest.raises(ConfigError):
        FaultAt(kind, 1, fault)


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.RATE_LIMIT, Fault.DROP_ANSWER])
def test_opening_a_stream_is_a_read_and_may_fail(sim, fault):
    _inject(sim, "read", fault)
    url = f"{sim.url}/v3/accounts/{sim.account_id}/transactions/stream"
    if fault is Fault.DROP_ANSWER:
        with pytest.raises(requests.ConnectionError):
            requests.get(url, headers=HEADERS, timeout=PATIENCE_S)
    else:
        answer = requests.get(url, headers=HEADERS, timeout=PATIENCE_S)
        assert answer.status_code in (429, 503)


# Replay


def _session(seed):
    """Send a fixed sequence of requests into a storm of faults; return the faults and the log."""
    with serve(_config(seed=seed, faults=storm(seed, 0.5))) as running:
        url = f"{running.url}/v3/accounts/{running.account_id}/orders"
        for number in range(30):
            running.advance(1)
            body = {"order": {**ORDER["order"], "units": str(number + 1)}}
            try:
                requests.post(url, json=body, headers=HEADERS, timeout=1)
            except requests.ConnectionError:
                _reachable(running)  # a refusal ends by the wall's clock, which does not replay
            except (requests.Timeout, requests.exceptions.ChunkedEncodingError):
                continue
        running.advance(60)
        happened = running.call(lambda engine: list(engine.faults.happened))
        assert running.violations() == []
        return happened, running.log()


def _reachable(running):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            requests.get(f"{running.url}/sim", timeout=1)
            return
        except requests.ConnectionError:
            continue


def test_one_seed_and_one_sequence_of_requests_replay_exactly(monkeypatch):
    monkeypatch.setattr("mbats.local.oanda_sim.faults._LONGEST_REFUSAL", 0.1)
    first, again, other = _session(11), _session(11), _session(12)
    assert first == again
    assert len({fault.fault for fault in first[0]}) > 5
    assert other[1] != first[1]


def test_decisions_depend_on_seed_kind_and_number_only():
    plan = storm(5, 0.5)
    schedule = FaultSchedule(plan)
    mixed = [
        (kind, schedule.next(kind)) for _ in range(50) for kind in ("write", "read", "pricing")
    ]
    alone = FaultSchedule(plan)
    assert [f for k, f in mixed if k == "write"] == [alone.next("write") for _ in range(50)]
    assert {f.fault for _, f in mixed if f} - set(REQUEST_FAULTS) - set(STREAM_FAULTS) == set()


def test_rates_are_kept():
    schedule = FaultSchedule(FaultPlan(seed=1, write_rates={Fault.DROP_ANSWER: 0.2}))
    hit = sum(schedule.next("write") is not None for _ in range(5000))
    assert 900 < hit < 1100
