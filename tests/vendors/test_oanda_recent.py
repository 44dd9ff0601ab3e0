"""Recent bars whose answer was long on its way: the process slept between question and answer."""

from datetime import UTC, datetime, timedelta

import pytest

from mbats.market.aggregate import BarBuilder
from mbats.market.granularity import Granularity
from mbats.vendors.oanda_recent import OandaRecent

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Reader:
    """Gives candles of five seconds, those at ``seconds`` after noon."""

    def __init__(self, seconds):
        self._seconds = seconds

    def get(self, make, what):
        price = dict.fromkeys("ohlc", "1.10000")
        return {
            "candles": [
                {
                    "time": f"{NOON + timedelta(seconds=s):%Y-%m-%dT%H:%M:%S}.000000000Z",
                    "bid": price, "ask": price, "mid": price, "volume": 3, "complete": True,
                }
                for s in self._seconds
            ]
        }  # fmt: skip


class Clock:
    def now(self):
        return NOON + timedelta(milliseconds=138)


@pytest.mark.parametrize(
    ("seconds", "forming"), [([-5, 0], 0), ([-5, 0, 20], 0), ([-5, 20, 25], None), ([-5], None)]
)
def test_the_open_bar_is_that_of_the_question_whenever_the_answer_comes(seconds, forming):
    recent = OandaRecent(Reader(seconds), Clock()).recent("EUR_USD", Granularity.S5, None)
    assert len(recent.bars) == 1
    if forming is None:
        assert (recent.forming, recent.empty) == (None, True)
    else:
        assert recent.forming.start == NOON + timedelta(seconds=forming)
    BarBuilder("EUR_USD", Granularity.S5).resume(recent.read_at, recent.forming, empty=recent.empty)
