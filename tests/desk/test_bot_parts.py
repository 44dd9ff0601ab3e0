import pytest

from mbats.config import Settings
from mbats.desk import bot


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
