"""The simulator's own paths, its command, its clock, and how it starts and stops."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
import requests

from mbats.cli import sim as sim_command
from mbats.errors import ConfigError, NotReadyError
from mbats.local.oanda_sim import (
    AccountSpec,
    Behaviour,
    SimConfig,
    launch,
    serve,
    spec_of,
    with_conversions,
)
from mbats.local.oanda_sim.times import from_datetime, rfc3339
from mbats.market.bars import BAR_SCHEMA

START = datetime(2026, 9, 23, 14, tzinfo=UTC)
HEADERS = {"Authorization": "Bearer t"}
MAIN = [sys.executable, "-c", "from mbats.cli.main import main; main()", "sim"]


def _control(running, path="", **body):
    url = f"{running.url}/sim{path}"
    answer = requests.post(url, json=body, timeout=60) if body else requests.get(url, timeout=60)
    return answer.status_code, answer.json()


def test_at_the_pace_of_the_wall_a_clock_that_was_held_up_does_not_stay_behind():
    with serve(SimConfig(specs=(spec_of("EUR_USD"),), start=START)) as running:
        behind = lambda: running.call(lambda e: time.monotonic() - e.now_ns / 1e9)  # noqa: E731
        before = behind()
        running.call(lambda engine: time.sleep(2))  # the machine was busy with something else
        patience = time.monotonic() + 60
        while behind() - before > 1:
            assert time.monotonic() < patience, "its prices are too old for everybody else"
            time.sleep(0.05)


def test_a_clock_from_outside_is_asked_at_every_request():
    now = from_datetime(START)
    with serve(
        SimConfig(specs=(spec_of("EUR_USD"),), start=START, speed=0), clock=lambda: now
    ) as running:
        for _ in range(2):
            now += 50_000_000
            url = f"{running.url}/v3/accounts/{running.account_id}/orders"
            order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}
            answer = requests.post(url, json={"order": order}, headers=HEADERS, timeout=60).json()
            assert answer["orderFillTransaction"]["time"] == rfc3339(now)


def test_status_advance_price_halt_log_and_invariants(stepped):
    assert _control(stepped, "/advance", seconds=1.5)[1]["time"].startswith("2026-09-23T14:00:01.5")
    price = {"instrument": "EUR_USD", "bids": [["1.10000", 1000]], "asks": "1.10010"}
    made = _control(stepped, "/price", **price)[1]
    assert made["bids"] == [{"price": "1.10000", "liquidity": 1000}]
    assert len(made["asks"]) == 6
    assert _control(stepped, "/halt", instrument="EUR_USD")[1] == {"halted": ["EUR_USD"]}
    assert _control(stepped)[1]["halted"] == ["EUR_USD"]
    assert _control(stepped, "/transfer", amount="-1000")[1]["accountBalance"] == "99000.0000"
    reject = _control(stepped, "/transfer", amount="-1e9")[1]
    assert reject["rejectReason"] == "INSUFFICIENT_FUNDS"
    assert len(_control(stepped, "/log")[1]["transactions"]) == 5
    assert _control(stepped, "/invariants")[1]["hold"] is True
    _control(stepped, "/fault", kind="read", fault="rate_limit")
    url = f"{stepped.url}/v3/accounts"
    assert requests.get(url, headers=HEADERS, timeout=60).status_code == 429
    assert len(_control(stepped, "/faults")[1]["faults"]) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/advance", {"to": "noon"}),
        ("/price", {"instrument": "AAA_BBB"}),
        ("/price", {"instrument": "EUR_USD", "bids": "1.123456", "asks": "1.2"}),
        ("/halt", {"instrument": "AAA_BBB"}),
        ("/fault", {"kind": "read", "fault": "earthquake"}),
        ("/fault", {"kind": "read", "fault": "cut"}),
        ("/nothing", {"a": 1}),
    ],
)
def test_control_requests_that_make_no_sense(stepped, path, body):
    status, said = _control(stepped, path, **body)
    assert status in (400, 404)
    assert said["errorMessage"]


def test_wrong_method_and_path(stepped):
    url = f"{stepped.url}/v3/accounts"
    assert requests.delete(url, headers=HEADERS, timeout=60).status_code == 405
    assert requests.get(f"{stepped.url}/v9", headers=HEADERS, timeout=60).status_code == 404


@pytest.mark.parametrize("body", ["{", "[]", '"x"', '{"order": 5}', ""])
def test_bodies_that_are_no_order(stepped, body):
    url = f"{stepped.url}/v3/accounts/{stepped.account_id}/orders"
    answer = requests.post(url, data=body, headers=HEADERS, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["errorCode"].startswith("oanda::rest::core::")
    assert len(stepped.log()) == 3


def test_a_token_may_be_demanded():
    with serve(SimConfig(token="right", speed=0, specs=(spec_of("EUR_USD"),))) as running:
        url = f"{running.url}/v3/accounts"
        wrong = requests.get(url, headers=HEADERS, timeout=60)
        right = requests.get(url, headers={"Authorization": "Bearer right"}, timeout=60)
        assert (wrong.status_code, right.status_code) == (401, 200)


def test_requests_beyond_the_rate_get_429():
    behaviour = Behaviour(requests_per_second=2, retry_after_seconds=1)
    with serve(SimConfig(behaviour=behaviour, speed=0, specs=(spec_of("EUR_USD"),))) as running:
        url = f"{running.url}/v3/accounts"
        with requests.Session() as session:
            codes = [session.get(url, headers=HEADERS, timeout=60) for _ in range(3)]
        assert [answer.status_code for answer in codes[:2]] == [200, 200]
        assert codes[2].headers["Retry-After"] == "1"


def test_the_clock_runs_as_fast_as_it_is_told():
    config = SimConfig(speed=3600, start=START, walk_step_ms=60_000)
    with serve(config) as running:
        first = running.call(lambda engine: engine.now_ns)
        while running.call(lambda engine: engine.now_ns) < first + 60 * 10**9:
            pass
        assert running.violations() == []


def test_equal_seeds_and_requests_make_equal_logs():
    logs = []
    for _ in range(2):
        config = SimConfig(seed=3, speed=0, start=START)
        with serve(config) as running:
            for number in range(20):
                running.advance(7)
                order = {"type": "MARKET", "instrument": "GBP_JPY", "units": 100 - 13 * number}
                url = f"{running.url}/v3/accounts/{running.account_id}/orders"
                requests.post(url, json={"order": order}, headers=HEADERS, timeout=60)
            logs.append(running.log())
    assert logs[0] == logs[1]


def test_a_simulator_that_fails_inside_does_not_look_well(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("mbats.local.oanda_sim.orders.fill", broken)
    with pytest.raises(ZeroDivisionError):
        _order_meets_a_dropped_connection()


def _order_meets_a_dropped_connection():
    with serve(SimConfig(speed=0)) as running:
        order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}
        url = f"{running.url}/v3/accounts/{running.account_id}/orders"
        with pytest.raises(requests.ConnectionError):
            requests.post(url, json={"order": order}, headers=HEADERS, timeout=60)


def test_two_accounts_keep_apart():
    accounts = (AccountSpec(), AccountSpec(id="101-001-1000001-002", currency="EUR", hedging=True))
    with serve(SimConfig(accounts=accounts, speed=0)) as running:
        order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}
        url = f"{running.url}/v3/accounts/{accounts[1].id}/orders"
        requests.post(url, json={"order": order}, headers=HEADERS, timeout=60).raise_for_status()
        assert (len(running.log()), len(running.log(accounts[1].id))) == (3, 5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"accounts": (AccountSpec(), AccountSpec())},
        {"accounts": (AccountSpec(currency="SEK"),)},
        {"specs": (spec_of("EUR_GBP"),)},
    ],
)
def test_configs_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError):
        SimConfig(**wrong)


def test_a_us_account_cannot_hedge():
    with pytest.raises(ConfigError):
        AccountSpec(hedging=True, fifo=True)


def test_conversion_pairs_are_added():
    assert with_conversions(["GBP/JPY"], "EUR") == ["GBP_JPY", "EUR_USD", "GBP_USD", "USD_JPY"]


# The command


def test_the_command_says_where_it_listens_and_stops_on_ctrl_c():
    options = ["--json", "--seed", "5", "--instruments", "EUR_USD", "--first-id", "995"]
    process = subprocess.Popen([*MAIN, *options], stdout=subprocess.PIPE, text=True)
    ready = json.loads(process.stdout.readline())
    account = requests.get(
        f"{ready['url']}/v3/accounts/{ready['account']}/summary", headers=HEADERS, timeout=60
    ).json()["account"]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    assert (account["lastTransactionID"], ready["seed"]) == ("997", 5)


@pytest.mark.parametrize(("start", "closed"), [("2026-09-26", True), ("2026-09-23", False)])
def test_the_command_says_that_the_week_is_closed(start, closed):
    options = ["--start", f"{start}T12:00:00", "--instruments", "EUR_USD"]
    process = subprocess.Popen([*MAIN, *options], stdout=subprocess.PIPE, text=True)
    said = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    assert ("closed until 2026-09-27T21:05 UTC" in said[1]) == closed


def test_the_command_replays_a_file(tmp_path):
    path = tmp_path / "ticks.csv"
    path.write_text("time,instrument,bid,ask\n2026-09-23T14:00:00Z,EUR_USD,1.10000,1.10010\n")
    with launch(["--prices", str(path), "--instruments", "EUR_USD", "--speed", "0"]) as sim:
        url = f"{sim.url}/v3/accounts/{sim.account_id}/pricing?instruments=EUR_USD"
        price = requests.get(url, headers=HEADERS, timeout=60).json()["prices"][0]
    assert (price["bids"][0]["price"], price["time"][:19]) == ("1.10000", "2026-09-23T14:00:00")


def test_the_command_replays_the_security_master(monkeypatch):
    start = datetime(2026, 9, 23, 14, tzinfo=UTC)
    rows = {
        "instrument": ["EUR_USD"], "start": [start], "end_time": [start + timedelta(minutes=1)],
        "vendor": ["file"], "complete": [True], "volume": [4],
        **{f"mid_{part}": [Decimal("1.1")] for part in ("open", "high", "low", "close")},
    }  # fmt: skip
    held = {
        ("EUR_USD", "M1", "file"): pa.table(
            [rows.get(f.name, pa.nulls(1)) for f in BAR_SCHEMA], schema=BAR_SCHEMA
        )
    }

    class Store:
        def bars(self, *key):
            return held.get(key, BAR_SCHEMA.empty_table())

    class Desk(contextlib.AbstractContextManager):
        security_master = Store()

        def __init__(self, settings):
            pass

        def __exit__(self, *error):
            pass

    monkeypatch.setattr("mbats.desk.Desk", Desk)
    config, source = sim_command._with_prices(
        SimConfig(specs=(spec_of("EUR_USD"),)), None, "file:M1"
    )
    assert (config.start, source.take().best_bid) == (start, Decimal("1.09993"))
    with pytest.raises(ConfigError, match="no M1 bars of USD_JPY"):
        sim_command._with_prices(SimConfig(specs=(spec_of("USD_JPY"),)), None, "file:M1")
    with pytest.raises(ConfigError, match="VENDOR:GRANULARITY"):
        sim_command._with_prices(config, None, "file")


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--faults", "2"], 2), (["--balance", "much"], 2), (["--start", "noon"], 2),
     (["--prices", "nowhere.csv"], 3), (["--instruments", "EURO"], 3)],
)  # fmt: skip
def test_bad_options_are_named(options, code):
    done = subprocess.run([*MAIN, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == code
    assert "Error" in done.stderr


def test_a_taken_port_is_named(stepped):
    options = ["--port", str(stepped.port)]
    done = subprocess.run([*MAIN, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == NotReadyError.exit_code
    assert "cannot listen" in done.stderr
