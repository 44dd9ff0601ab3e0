"""The risk guard through a real push: a broken limit halts and flattens, once, whatever fails."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from mbats.desk import Desk
from mbats.desk.switch import state_switch
from mbats.errors import DataError, NotReadyError
from mbats.gcp.connection import subscriber_client
from mbats.gcp.control import ControlObject
from mbats.gcp.messages import decode_event, encode_event
from mbats.gcp.records import Record
from mbats.live.control import set_state
from mbats.live.events import UNCLAIMED
from mbats.live.portfolio_watch import Watched, take
from mbats.local.oanda_sim import AccountSpec, SimConfig, orders, serve, spec_of
from mbats.trading.risk.context import TradingState
from tests.functions.rig import eventually, publish

pytestmark = pytest.mark.emulators

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LOSS = "drawdown=0.1"


@pytest.fixture
def broker():
    """A simulator with an open position and an order that waits."""
    config = SimConfig(
        start=NOON, speed=0, accounts=(AccountSpec(),), specs=(spec_of("EUR_USD"),), history_days=0
    )
    bodies = [
        {"type": "MARKET", "instrument": "EUR_USD", "units": "1000"},
        {"type": "LIMIT", "instrument": "EUR_USD", "units": "500", "price": "0.90000"},
    ]
    with serve(config) as simulator:
        simulator.advance(5)
        for body in bodies:
            simulator.call(
                lambda e, body=body: orders.create(
                    e.accounts[simulator.account_id], e.now_ns, {"order": body}
                )
            )
        yield simulator


def left(simulator):
    account = simulator.call(lambda e: e.accounts[simulator.account_id].state)
    return len(account.open_trades), len(account.pending)


@pytest.fixture
def guarded(project, broker):
    more = {
        "oanda_endpoint": broker.url,
        "oanda_account": broker.account_id,
        "guard_limits": LOSS,
    }
    return project.model_copy(update=more)


def beat(account, seconds, value, **positions):
    rates = {"USD": "1", "EUR": "1.1"}
    worth = {"currency": "USD", "net_asset_value": str(value), "rates": rates}
    row = {
        "source": f"bot-{account}",
        "time": NOON + timedelta(seconds=seconds),
        "transaction_id": "5",
        "detail": {"positions": {n: str(u) for n, u in positions.items()}, "worth": worth},
    }
    return encode_event("heartbeat", row)


def fill(account, transaction, units, strategy="s", seconds=0):
    row = {
        "event_id": f"{account}-{transaction}-fill",
        "run_id": "r",
        "time": NOON + timedelta(seconds=seconds),
        "order_key": "k",
        "strategy": strategy,
        "instrument": "EUR_USD",
        "side": "buy",
        "units": Decimal(units),
        "price": Decimal("1.1"),
        "spread_cost": Decimal(0),
        "slippage_cost": Decimal(0),
        "commission": Decimal(0),
        "realised_pnl": Decimal(0),
        "conversion_rate": Decimal(1),
        "position_units": Decimal(units),
        "broker_transaction_id": str(transaction),
    }
    return encode_event("fill", row)


class Ear:
    """Hears the risk events of a project."""

    def __init__(self, settings):
        self.codes, self._settings = [], settings
        self._name = f"projects/{settings.project}/subscriptions/ear"
        with subscriber_client(settings) as client:
            topic = f"projects/{settings.project}/topics/risk-events"
            client.create_subscription(name=self._name, topic=topic)

    def heard(self):
        """Return the ids of the events so far, by code."""
        with subscriber_client(self._settings) as client:
            answer = client.pull(subscription=self._name, max_messages=100, timeout=5)
            found = answer.received_messages
            if found:
                ids = [received.ack_id for received in found]
                client.acknowledge(subscription=self._name, ack_ids=ids)
        for received in found:
            if received.message.attributes["table"] == "risk_event":
                row = decode_event("risk_event", received.message.data)
                self.codes.append((row["code"], row["event_id"], row["actor"]))
        return self.codes

    def once(self, code):
        """Return whether the code came, under one id."""
        return len({key for found, key, _ in self.heard() if found == code}) == 1


def order(desk, account):
    return ControlObject(desk.objects, account).read()[0]


def watched(desk, account):
    document, _ = Record(desk.objects, "state", f"guard/{account}.json").read()
    return Watched.from_record(document) if document else Watched(account)


def pulled(desk, account):
    pull = watched(desk, account).pull
    return pull is not None and pull.done


def test_a_drawdown_halts_and_flattens_once_however_often_it_is_told(guarded, desk, start, broker):
    account, ear = broker.account_id, Ear(guarded)
    start("risk_guard", guarded).hears("risk-events", ack_s=60)

    publish(guarded, "risk-events", beat(account, 0, 10_000, EUR_USD=1000), table="heartbeat")
    for seconds, value in ((10, 8_900), (10, 8_900), (20, 8_800), (5, 9_990)):
        data = beat(account, seconds, value, EUR_USD=1000)
        publish(guarded, "risk-events", data, table="heartbeat")

    eventually(lambda: pulled(desk, account))
    assert left(broker) == (0, 0)
    assert (order(desk, account).state, order(desk, account).by) == ("halted", "risk-guard")
    assert "below the peak, limit 10.0%" in order(desk, account).why
    assert order(desk, account).number == 1
    eventually(lambda: ear.once("GUARD_PULLED") and ear.once("FLATTENED"))
    assert ear.once("STATE_HALTED")


def test_a_fill_over_the_gross_limit_is_enough(guarded, desk, start, broker):
    guarded = guarded.model_copy(update={"guard_limits": "gross_exposure=50000"})
    start("risk_guard", guarded).hears("order-events", ack_s=60)

    publish(guarded, "order-events", fill(broker.account_id, 9, 60_000), table="fill")

    eventually(lambda: pulled(desk, broker.account_id))
    assert left(broker) == (0, 0)
    assert "GROSS_EXPOSURE" in order(desk, broker.account_id).why


def test_a_guard_killed_at_work_or_before_it_answers_has_one_effect(guarded, desk, start, broker):
    account, ear = broker.account_id, Ear(guarded)
    Record(desk.objects, "state", f"guard/{account}.json").write(
        take(
            Watched(account), "heartbeat", decode_event("heartbeat", beat(account, 0, 10_000))
        ).to_record(),
        0,
    )
    guard = start("risk_guard", guarded, dying=True).hears("risk-events", ack_s=60)

    publish(guarded, "risk-events", beat(account, 10, 8_900, EUR_USD=1000), table="heartbeat")

    eventually(lambda: pulled(desk, account))
    eventually(lambda: "was sent SIGKILL" in guard.log.read_text())
    publish(guarded, "risk-events", beat(account, 20, 8_800), table="heartbeat")
    eventually(lambda: watched(desk, account).valued_at > NOON + timedelta(seconds=15))
    assert order(desk, account).number == 1
    # Its own audit events come to it as well, and kill it in the middle of the pull.
    eventually(lambda: ear.once("STATE_HALTED") and ear.once("GUARD_PULLED"))
    assert left(broker) == (0, 0)


def test_what_is_malformed_is_a_dead_letter_with_its_cause(guarded, desk, start, broker):
    start("risk_guard", guarded).hears("risk-events")

    publish(guarded, "risk-events", b"{", table="heartbeat")
    publish(guarded, "risk-events", b"{}", table="nonsense")
    publish(guarded, "risk-events", b"{}", table="fill")

    def letters():
        found = [o.name for o in desk.objects.list("data", "dead-letters/risk-events/")]
        return [json.loads(desk.objects.read("data", name)[0]) for name in found]

    eventually(lambda: len(letters()) == 3)
    assert {letter["kept_by"] for letter in letters()} == {"risk-guard"}
    assert any("nonsense" in letter["reason"] for letter in letters())
    assert order(desk, broker.account_id).state == "active"


# In process, where the second between two steps can be stopped.


class Delivered:
    """A delivery by hand."""

    def __init__(self, data, table="heartbeat", topic="risk-events"):
        self.data, self.attributes, self.topic = data, {"table": table}, topic


class Bench:
    """A guard whose switch is real and whose broker is a list."""

    def __init__(self, desk, account, limits=LOSS):
        from mbats.desk.events.risk_guard import Guard

        self.flattened, self.published, self.broken = [], [], []
        self.now = NOON
        self.desk, self.account = desk, account
        self.guard = Guard(
            desk.objects,
            lambda account: ControlObject(desk.objects, account),
            lambda account, why: state_switch(desk, account, "risk-guard").halt(why, flat=True),
            self._flatten,
            self.published.append,
            limits,
            lambda: self.now,
            lambda *_, **__: None,
        )

    def _flatten(self, account, why):
        if self.broken:
            raise self.broken.pop()
        self.flattened.append(account)
        return "closed"

    def fill(self, transaction, units, strategy, seconds):
        row = fill(self.account, transaction, units, strategy, seconds)
        self.guard.take(Delivered(row, "fill"))

    def beat(self, seconds, value, **positions):
        self.guard.take(Delivered(beat(self.account, seconds, value, **positions)))


@pytest.fixture
def bench(desk):
    return Bench(desk, "101-001-1234567-001")


def test_an_account_that_cannot_be_flattened_is_halted_and_the_event_comes_back(bench):
    bench.broken = [NotReadyError("the broker does not answer")] * 2
    bench.beat(0, 10_000)

    for _ in range(2):
        with pytest.raises(NotReadyError, match="not fully pulled"):
            bench.beat(10, 8_000)
    assert order(bench.desk, bench.account).state == "halted"
    bench.beat(10, 8_000)

    assert bench.flattened == [bench.account]
    assert len({event.row["event_id"] for event in bench.published}) == 1
    assert pulled(bench.desk, bench.account)


def test_a_pull_that_failed_is_taken_up_by_the_next_event_whatever_it_says(bench):
    bench.broken = [NotReadyError("down")]
    bench.beat(0, 10_000)
    with pytest.raises(NotReadyError):
        bench.beat(10, 8_000)

    bench.beat(20, 9_900)

    assert bench.flattened == [bench.account]


def test_a_pull_under_way_is_waited_for_by_its_own_event_and_one_that_died_is_taken_up(bench):
    bench.beat(0, 10_000)
    bench.broken = [KeyboardInterrupt()]  # it dies: nothing is written down
    with pytest.raises(KeyboardInterrupt):
        bench.beat(10, 8_000)

    bench.now += timedelta(seconds=1)
    with pytest.raises(NotReadyError, match="for this very event"):
        bench.beat(10, 8_000)
    bench.beat(20, 7_900)
    assert bench.flattened == []
    bench.now += timedelta(minutes=1)
    bench.beat(10, 8_000)

    assert bench.flattened == [bench.account]
    assert pulled(bench.desk, bench.account)


def test_a_paper_account_without_its_bot_is_halted_and_that_is_all(bench):
    bench.broken = [DataError("The bot does not run.")]
    bench.beat(0, 10_000)
    bench.beat(10, 8_000)

    assert pulled(bench.desk, bench.account)


def test_after_a_person_resumes_the_guard_begins_anew_and_guards_again(bench):
    bench.beat(0, 10_000)
    bench.beat(10, 8_000)
    bench.beat(20, 7_000)
    control = ControlObject(bench.desk.objects, bench.account)
    set_state(control, TradingState.ACTIVE, "a person", "looked", NOON + timedelta(seconds=30))

    bench.beat(40, 7_000)
    bench.beat(50, 6_900)
    assert order(bench.desk, bench.account).state == "active"
    bench.beat(60, 6_200)

    assert bench.flattened == [bench.account] * 2
    assert order(bench.desk, bench.account).number == 3


@pytest.mark.parametrize(
    ("flat", "by", "again"), [(True, "s", 1), (False, "s", 0), (True, UNCLAIMED, 0)]
)
def test_what_fills_after_a_person_has_flattened_is_closed_if_the_desk_had_sent_it(
    bench, flat, by, again
):
    control = ControlObject(bench.desk.objects, bench.account)
    bench.fill(7, 1000, by, seconds=-60)
    set_state(control, TradingState.HALTED, "a person", "drill", NOON, flat=flat)
    bench.beat(1, 10_000, EUR_USD=1000)
    bench.fill(6, 500, by, seconds=-90)
    assert bench.flattened == [], "all of that is of before"

    bench.fill(9, 1000, by, seconds=8)
    assert bench.flattened == [bench.account] * again
    bench.fill(9, 1000, by, seconds=8)
    bench.fill(10, 0, UNCLAIMED, seconds=9)
    assert bench.flattened == [bench.account] * again

    bench.now += timedelta(minutes=1)
    bench.fill(11, 700, by, seconds=60)
    assert bench.flattened == [bench.account] * again * 2, "one more had been on its way"
    assert order(bench.desk, bench.account).number == 1


def test_events_of_other_tables_and_of_streamers_are_left_alone(bench):
    bench.guard.take(Delivered(b"{}", "risk_event"))
    row = {"source": "streamer", "time": NOON}
    bench.guard.take(Delivered(encode_event("heartbeat", row)))

    assert not list(bench.desk.objects.list("state", "guard/"))


def test_the_heartbeat_of_a_real_bot_carries_what_the_guard_reads():
    from mbats.live.worth import Worth

    told = Worth("USD", Decimal("9999.5"), {"EUR": Decimal("1.1")})

    assert Worth.from_detail(json.loads(json.dumps(told.to_detail()))) == told


def test_the_desk_closes_through_the_halt_job_where_there_is_one(project, monkeypatch):
    from mbats.desk.events import wiring

    asked = []
    monkeypatch.setattr(wiring, "run_job", lambda job, args: asked.append((job, args)) or "e-1")
    with Desk(project.model_copy(update={"guard_limits": LOSS})) as desk:
        guard = wiring.guard(desk, "projects/p/locations/l/jobs/halt")
        guard.take(Delivered(beat("101-1", 0, 10_000)))
        guard.take(Delivered(beat("101-1", 10, 8_000)))

    ((job, args),) = asked
    assert job.endswith("/jobs/halt")
    assert args[:3] == ("flatten", "--account", "101-1")
    assert args[-1] == "--yes"
