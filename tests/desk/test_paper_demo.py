import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from mbats.config import Settings
from mbats.desk.paper_demo import _MarketHours, run_demo
from mbats.errors import DataError, RefusedError
from mbats.live.orders.file_lease import FileLease
from mbats.local.oanda_sim import SimConfig, serve, spec_of
from mbats.local.oanda_sim.times import from_datetime
from mbats.local.paper import FIRST_ACCOUNT, at_broker, is_paper, paper_account
from mbats.market.granularity import Granularity
from mbats.market.newyork import instant
from mbats.market.session import FX
from mbats.market.tick import Tick
from mbats.vendors.oanda_client import connect
from mbats.vendors.oanda_recent import OandaRecent

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
TICK = Tick("EUR_USD", NOW, Decimal("1.10000"), Decimal("1.10010"))


def prices(settings):
    from mbats.vendors.oanda_closer import closer

    return closer(settings).holdings()


def test_a_paper_account_is_priced_by_ticks_and_survives_a_restart(tmp_path):
    settings = Settings(home=tmp_path)
    order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1000"}
    from mbats.local.oanda_sim import orders

    with paper_account(settings, FIRST_ACCOUNT, ["EUR_USD"], now=lambda: NOW) as paper:
        paper.price(TICK)
        paper._running.call(
            lambda e: orders.create(e.accounts[FIRST_ACCOUNT], e.now_ns, {"order": order})
        )
        held = prices(at_broker(settings, FIRST_ACCOUNT)).positions
        assert held == {"EUR_USD": (Decimal(1000), Decimal(0))}
    later = NOW + timedelta(hours=1)
    with paper_account(settings, FIRST_ACCOUNT, ["EUR_USD"], now=lambda: later) as paper:
        assert prices(paper.settings).positions == held
        assert paper._running.call(lambda e: e.now_ns) >= from_datetime(later)
        paper.price(replace(TICK, bid=None))  # an empty book moves nothing


def time_of(paper):
    return paper._running.call(lambda engine: engine.now_ns)


def test_a_paper_account_that_was_left_ahead_of_the_clock_refuses_to_stand_still(tmp_path):
    settings = Settings(home=tmp_path)
    later = NOW + timedelta(hours=2)
    with paper_account(settings, FIRST_ACCOUNT, ["EUR_USD"], now=lambda: later):
        pass
    (file,) = (tmp_path / "paper").iterdir()
    left = file.read_bytes()
    with (
        pytest.raises(RefusedError, match="left at 2026-11-23 14:00:30, 2:00:00 ahead") as refused,
        paper_account(settings, FIRST_ACCOUNT, ["EUR_USD"], now=lambda: NOW),
    ):
        pass
    assert str(file) in refused.value.mend
    assert file.read_bytes() == left
    with pytest.raises(DataError, match="does not run"):
        at_broker(settings, FIRST_ACCOUNT)
    almost = later - timedelta(seconds=5)  # a broker's clock is not the machine's
    with paper_account(settings, FIRST_ACCOUNT, ["EUR_USD"], now=lambda: almost) as paper:
        assert time_of(paper) == from_datetime(later)
    file.rename(tmp_path / "away")
    with paper_account(settings, FIRST_ACCOUNT, ["EUR_USD"], now=lambda: NOW) as paper:
        assert time_of(paper) == from_datetime(NOW)


def test_a_clock_that_is_set_back_under_a_paper_account_is_said_once(tmp_path, caplog):
    clock = [NOW]
    looked = threading.Semaphore(0)

    def now():
        looked.release()
        return clock[0]

    def warnings_after_three_looks():
        for _ in range(3):
            assert looked.acquire(timeout=60)
        return [r.getMessage() for r in caplog.records if "set back" in r.getMessage()]

    with paper_account(Settings(home=tmp_path), FIRST_ACCOUNT, ["EUR_USD"], now=now):
        assert warnings_after_three_looks() == []
        clock[0] = NOW - timedelta(minutes=3)
        while looked.acquire(blocking=False):
            pass
        (said,) = warnings_after_three_looks()
        assert "stands still for 0:03:00, until 2026-11-23 12:00:30" in said


def test_a_tick_of_the_future_does_not_take_a_paper_accounts_clock_with_it(tmp_path):
    now, future = (lambda: NOW), replace(TICK, time=NOW + timedelta(days=1))
    with paper_account(Settings(home=tmp_path), FIRST_ACCOUNT, ["EUR_USD"], now=now) as paper:
        paper.price(replace(TICK, time=NOW + timedelta(seconds=2)))
        assert time_of(paper) == from_datetime(NOW + timedelta(seconds=2))
        paper.price(future)
        assert time_of(paper) == from_datetime(NOW + timedelta(seconds=5))
        quote = paper._running.call(lambda engine: engine.market.quotes["EUR_USD"])
        assert quote.bid == 110_000
    with paper_account(Settings(home=tmp_path), FIRST_ACCOUNT, ["EUR_USD"], now=now):
        pass  # nothing that it was told keeps it from going on


def test_a_paper_account_whose_bot_is_gone_has_no_broker(tmp_path):
    with pytest.raises(DataError, match="does not run"):
        at_broker(Settings(home=tmp_path), FIRST_ACCOUNT)
    real = at_broker(Settings(home=tmp_path), "101-001-1000001-001")
    assert real.oanda_account == "101-001-1000001-001"
    assert is_paper(FIRST_ACCOUNT)
    assert not is_paper("101-001-1000001-001")


def test_recent_bars_are_whole_and_the_open_one_is_marked():
    class Clock:
        def now(self):
            return NOW

    config = SimConfig(start=NOW, speed=0, specs=(spec_of("EUR_USD"),), history_days=1)
    with serve(config) as simulator:
        settings = Settings(
            oanda_environment="sim", oanda_endpoint=simulator.url, oanda_account="x"
        )
        source = OandaRecent(connect(settings), Clock(), bars=20)
        recent = source.recent("EUR_USD", Granularity.M1, None)
        assert len(recent.bars) == 20
        assert recent.bars.end[-1] <= instant(NOW)
        assert recent.empty or recent.forming.end > NOW
        after = NOW - timedelta(minutes=5, seconds=30)
        new = source.recent("EUR_USD", Granularity.M1, after)
        assert len(new.bars) == 5


def test_a_lease_of_this_machine_has_one_holder_and_grows(tmp_path):
    first = FileLease(tmp_path / "lease")
    first.check()
    with pytest.raises(RefusedError, match="Another process"):
        FileLease(tmp_path / "lease")
    first.release()
    with pytest.raises(RefusedError, match="not held"):
        first.check()
    second = FileLease(tmp_path / "lease")
    assert second.fencing == first.fencing + 1
    (tmp_path / "lease").unlink()
    with pytest.raises(RefusedError):
        second.check()
    second.release()


@pytest.mark.parametrize("day", range(7))
def test_a_demo_has_an_open_market_on_every_day_of_the_week(day):
    wall = datetime(2026, 11, 23, 20, tzinfo=UTC) + timedelta(days=day)
    assert FX.is_open(instant(_MarketHours(lambda: wall).now()))


def test_the_demo_ends_in_time_and_leaves_nothing(tmp_path):
    shown = run_demo(tmp_path / "home", seconds=3)
    assert shown.net_asset_value > 0
    assert list((tmp_path / "home").iterdir()) == []
