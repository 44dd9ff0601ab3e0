import pytest
from typer.testing import CliRunner

from mbats.cli.live import _assignments
from mbats.cli.main import app
from mbats.errors import ConfigError, RefusedError

TWO = (["sma_reversal", "rsi_stochastic"], ["EUR_USD,USD_JPY", "GBP_USD"], "M1")


def test_a_parameter_is_for_one_strategy_or_for_all_that_have_it():
    given = ["sma_reversal.period=20", "rsi_low=35"]
    sma, rsi = _assignments(*TWO, given, "units:1000")
    assert sma.loaded.parameters["period"] == 20
    assert rsi.loaded.parameters["rsi_low"] == 35.0
    assert list(sma.instruments) == ["EUR_USD", "USD_JPY"]


def test_what_is_said_of_one_strategy_wins_over_what_is_said_of_all():
    given = ["sma_reversal.period=20", "period=30"]
    (sma,) = _assignments(["sma_reversal"], ["EUR_USD"], "M1", given, "units:1000")
    assert sma.loaded.parameters["period"] == 20


@pytest.mark.parametrize("given", ["model_id=runs:/1", "rsi_stochastic.period=3", "other.period=3"])
def test_a_parameter_that_nobody_has_is_refused(given):
    with pytest.raises(ConfigError, match="No strategy has a parameter"):
        _assignments(*TWO, [given], "units:1000")


def test_the_job_of_a_live_bot_arms_it_and_nothing_else_may_be_armed(tmp_path):
    asked = ["--home", str(tmp_path / ".mbats"), "live", "sma_reversal", "--instruments", "EUR_USD"]
    refused = CliRunner().invoke(app, asked, env={"BOT_ARM": "1"})
    assert isinstance(refused.exception, RefusedError)
    assert "--arm has no meaning with --paper" in str(refused.exception)
