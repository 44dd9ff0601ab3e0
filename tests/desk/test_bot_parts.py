import signal
from contextlib import ExitStack

import pytest

from mbats.config import Settings
from mbats.desk import bot
from mbats.live.inbox import Continued, Stop, Suspending

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
    items = []
    with ExitStack() as opened:
        bot._take_signals(items.append, opened)
        for number in SIGNALS:
            signal.raise_signal(number)
    assert [type(getattr(item, "payload", item)) for item in items] == [
        Stop, Stop, Suspending, Continued,
    ]  # fmt: skip
    assert [item.reason for item in items[:2]] == ["SIGTERM", "SIGINT"]
    assert [signal.getsignal(number) for number in SIGNALS] == before
