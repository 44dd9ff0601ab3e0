"""How good the best of many trials would look by chance alone.

Bailey and Lopez de Prado, *The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest
Overfitting and Non-Normality*, Journal of Portfolio Management 40 (5), 2014. Ratios here are of one
return (a day), not annual. Trials count as independent, as in the paper's simple case; those of
a grid are alike, so the true number is lower and the answer errs on the strict side.
"""

from dataclasses import dataclass
from math import e, sqrt
from statistics import NormalDist

EULER_MASCHERONI = 0.5772156649015329
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Returns:
    """What the deflated ratio needs to know of one trial's returns.

    ``sharpe`` is mean over standard deviation; ``kurtosis`` that of a normal distribution is 3.
    """

    sharpe: float
    count: int
    skewness: float
    kurtosis: float


def expected_best_sharpe(trials: int, variance: float) -> float:
    """Return the Sharpe ratio to expect of the best of ``trials`` worthless strategies.

    ``variance`` is that of the trials' Sharpe ratios. Zero for a single trial. Equation 1 of the
    paper: sqrt(V) * ((1 - g) * Z(1 - 1/N) + g * Z(1 - 1/(N e))), g the Euler-Mascheroni constant
    and Z the inverse of the normal distribution.
    """
    if trials < 2:
        return 0.0
    first = _NORMAL.inv_cdf(1 - 1 / trials)
    second = _NORMAL.inv_cdf(1 - 1 / (trials * e))
    return sqrt(variance) * ((1 - EULER_MASCHERONI) * first + EULER_MASCHERONI * second)


def deflated_sharpe(best: Returns, trials: int, variance: float) -> float | None:
    """Return the probability that ``best`` has a true Sharpe ratio above that of chance.

    Equation 2 of the paper. None where it has no meaning: fewer than two returns, or moments
    that leave the ratio without a standard error.
    """
    ratio = best.sharpe
    spread = 1 - best.skewness * ratio + (best.kurtosis - 1) / 4 * ratio**2
    if best.count < 2 or spread <= 0:
        return None
    excess = ratio - expected_best_sharpe(trials, variance)
    return _NORMAL.cdf(excess * sqrt(best.count - 1) / sqrt(spread))
