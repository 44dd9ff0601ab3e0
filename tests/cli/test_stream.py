import json
import os
import signal
import subprocess
import sys
from queue import Empty, SimpleQueue

import pytest

from mbats.gcp.tickbus import TickSubscription
from mbats.live.inbox import PricesBack, PricesLost
from mbats.market.tick import Tick
from tests.vendors.stream_server import HOLD, serving
from tests.vendors.test_oanda_streams import HEARTBEAT, price

pytestmark = pytest.mark.emulators

NAME = "STR_USD"
MBATS = "from mbats.cli.main import main; main()"


def environment(settings, **more):
    names = ("project", "pubsub_endpoint", "storage_endpoint", "bigquery_endpoint", "bigquery_grpc")
    given = {f"MBATS_{n.upper()}": str(getattr(settings, n)) for n in names}
    return {**os.environ, **given, "MBATS_HOME": str(settings.home), **more}


def told(child, bot, server, got):
    """Return all there is to know of a stream that stopped."""
    child.send_signal(signal.SIGTERM)
    server.released.set()
    return f"took {got}; {bot.counts}; the streamer said: {child.communicate(timeout=60)}"


def start(settings, server):
    return subprocess.Popen(
        [sys.executable, "-c", MBATS, "stream", "--instruments", NAME],
        env=environment(settings, MBATS_OANDA_ENDPOINT=server.url, MBATS_OANDA_ACCOUNT="101-001"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_prices_reach_a_subscriber_and_sigterm_drains(settings):
    items = SimpleQueue()
    bot = TickSubscription(settings, "bot-stream-test", [NAME], items.put)
    bot.start()
    take = lambda: items.get(timeout=120)  # noqa: E731
    assert take() == PricesBack()
    first, second = price(instrument=NAME), price("1.2", "1.3", instrument=NAME)
    with serving([HEARTBEAT, first], [second, HOLD]) as server:
        child = start(settings, server)
        got = []
        try:
            while sum(isinstance(item, Tick) for item in got) < 2:
                got.append(take())
            kinds = [type(item) for item in got if not isinstance(item, Tick)]
            assert kinds[:2] == [PricesLost, PricesBack]
            child.send_signal(signal.SIGTERM)
            server.released.set()
            output, errors = child.communicate(timeout=60)
        except Empty:
            pytest.fail(told(child, bot, server, got))
        finally:
            child.kill()
    assert child.returncode == 0, errors
    assert [str(item.bid) for item in got if isinstance(item, Tick)] == ["1.10001", "1.2"]
    assert isinstance(take(), PricesLost)
    lines = [json.loads(line) for line in output.splitlines()]
    assert lines[0]["event"] == "started"
    assert {"stream_connected", "price_stream_broken", "heartbeat"} <= {x["event"] for x in lines}
    assert lines[-1]["event"] == "stopped"
    assert lines[-1]["ticks"] == 2
    bot.delete()
    bot.stop()
    bot.join(30)
