import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mbats.batch.request import _parser, parse
from mbats.config import Settings
from mbats.errors import ConfigError, DataError
from mbats.market.granularity import Granularity

NOW = datetime(2026, 3, 12, 15, tzinfo=UTC)
DESK = Settings(project="a-desk", oanda_token="hush").model_dump_json()


def asked(*arguments, settings=True):
    desk = ["--settings", DESK] if settings else []
    return parse([*desk, *arguments], NOW)[0]


def test_days_are_new_yorks_trading_days():
    request = asked("--first=2026-03-09", "--last=2026-03-10")
    assert request.start == datetime(2026, 3, 8, 21, tzinfo=UTC)  # 17:00 New York, summer time
    assert request.until == datetime(2026, 3, 10, 21, tzinfo=UTC)
    assert asked("--first=2026-03-06").start == datetime(2026, 3, 5, 22, tzinfo=UTC)


def test_nothing_is_made_that_has_not_ended():
    assert asked().until == asked("--last=2026-03-20").until == NOW


def test_bars_never_take_the_name_of_the_vendors_candles():
    assert asked().bars_vendor == "oanda-ticks"
    assert asked("--save_as=mine").bars_vendor == "mine"
    with pytest.raises(ConfigError, match="replace its candles"):
        asked("--save_as=oanda")


def test_what_the_security_master_does_not_keep_goes_to_files_only():
    with pytest.raises(ConfigError, match="keeps no S5, H4 bars"):
        asked("--granularities=S5,H4,D")
    request = asked("--granularities=S5,H4,D", "--output=out")
    assert request.granularities == (Granularity.S5, Granularity.H4, Granularity.D)
    with pytest.raises(DataError, match="W bars"):
        asked("--granularities=W", "--output=out")


def test_tokens_do_not_travel():
    assert asked().settings.oanda_token is None


def test_on_dataflow_the_project_says_where_the_desk_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    request, rest = parse(["--project=theirs", "--location=US", "--runner=DataflowRunner"], NOW)
    assert (request.settings.profile, request.settings.project) == ("gcp", "theirs")
    assert request.settings.location == "US"
    assert rest == ["--project=theirs", "--runner=DataflowRunner"]
    with pytest.raises(ConfigError, match="where the desk is"):
        parse([], NOW)


@pytest.mark.parametrize(
    "arguments", [["--first=soon"], ["--first=2026-03-12", "--last=2026-03-1"]]
)
def test_a_day_that_is_none_is_refused(arguments):
    with pytest.raises(ConfigError, match="not a day"):
        asked(*arguments)


def test_an_empty_span_is_refused():
    with pytest.raises(ConfigError, match="No time lies"):
        asked("--first=2026-03-13")


def test_the_flex_template_offers_every_option_of_the_command_line():
    file = Path(__file__).parents[2] / "containers" / "dataflow" / "metadata.json"
    offered = {parameter["name"] for parameter in json.loads(file.read_text())["parameters"]}
    options = {action.dest for action in _parser()._actions} - {"help", "settings"}
    assert offered == options
