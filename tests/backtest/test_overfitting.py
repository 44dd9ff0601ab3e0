from math import sqrt

import numpy as np
import pytest

from mbats.backtest.overfitting import Returns, deflated_sharpe, expected_best_sharpe


def test_the_example_of_the_paper():
    """Bailey and Lopez de Prado 2014, "A numerical example": 100 trials, five years of days."""
    variance = 0.5 / 250
    best = Returns(sharpe=2.5 / sqrt(250), count=1250, skewness=-3, kurtosis=10)
    assert expected_best_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(best, 100, variance) == pytest.approx(0.9004, abs=5e-5)


def test_the_best_of_worthless_strategies_is_as_good_as_expected():
    ratios = np.random.default_rng(7).normal(0, 0.05, (20_000, 50)).max(axis=1)
    assert expected_best_sharpe(50, 0.05**2) == pytest.approx(ratios.mean(), rel=0.02)


def test_a_single_trial_is_not_deflated():
    best = Returns(sharpe=0.1, count=1001, skewness=0, kurtosis=3)
    assert expected_best_sharpe(1, 0.0) == 0
    found = deflated_sharpe(best, 1, 0.0)
    assert found is not None
    assert found > 0.99


def test_what_has_no_standard_error_has_no_deflated_ratio():
    assert deflated_sharpe(Returns(0.1, 1, 0, 3), 10, 0.01) is None
    assert deflated_sharpe(Returns(1.0, 100, 5, 3), 10, 0.01) is None
