import signal
from contextlib import ExitStack

import pytest

from mbats.config import Settings
from mbats.desk import bot
from mbats.live.inbox import Continued, Control, Inbox, Stop, Suspending

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGTSTP, signal.SIGCONT)


@pytest.mark.parametrize(
    ("named", "name", "create"),
    [("bot-trend", "bot-trend-ticks", False), ("", "bot-000-001-0000001-001-ticks", True)],
)
def test_a_named_bot_uses_the_subscription_that_was_made_for_it(monkeypatch, named, name, create):
    made = []
    monkeypatch.setattr(bot, "TickSubscription", lambda *a, **more: made.append((a[1], more)))
    settings = Settings(bot_name=named)
    bot.tick_subscription(settings, "000-001-0000001-001", ["EUR_USD"], print)
    assert made == [(name, {"create": create})]


def test_signals_become_items_of_the_inbox_and_are_given_back_at_the_end():
    before = [signal.getsignal(number) for number in SIGNALS]
    inbox = Inbox()
    with ExitStack() as opened:
        bot._take_signals(inbox, opened)
        for number in SIGNALS:
            signal.raise_signal(number)
    items = [item for _ in range(6) if (item := inbox.take(0)) is not None]
    # To have been stopped comes before all that waits.
    assert [type(getattr(item, "payload", item)) for item in items] == [
        Continued, Stop, Stop, Suspending,
    ]  # fmt: skip
    assert [item.reason for item in items[1:3]] == ["SIGTERM", "SIGINT"]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_comes_first_is_taken_before_an_item_that_is_taken_at_that_moment():
    inbox = Inbox()
    real = inbox._queue

    class Interrupted:
        def get(self, timeout):
            item = real.get(timeout=timeout)
            inbox.put_first(Control(Continued()))  # as a signal handler does
            return item

        def put(self, item):
            real.put(item)

    inbox.put(Stop("waits"))
    inbox._queue = Interrupted()
    assert isinstance(inbox.take(1.0), Control)
    assert inbox.take(1.0) == Stop("waits")
