"""How likely a Sharpe ratio is skill: against zero (probabilistic), and against the best of many trials (deflated).

Sharpe ratios here are per period, never annualised, because the number of periods enters separately. No dependency
offers these formulas.

Sources: Bailey and Lopez de Prado (2012), "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2); the same
(2014), "The Deflated Sharpe Ratio", Journal of Portfolio Management 40(5).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy.stats import kurtosis, skew

from cleverbetter_dagster.betting.performance import finite_vector, sharpe_ratio
from cleverbetter_dagster.errors import InvalidInput


@dataclass(frozen=True)
class SharpeEstimate:
    """A Sharpe ratio with the numbers that its uncertainty depends on.

    Attributes:
        ratio: mean over standard deviation of the returns, per period.
        periods: number of returns, >= 2.
        skewness: of the returns; 0 for normal ones.
        kurtosis: of the returns, not the excess: 3 for normal ones.
    """

    ratio: float
    periods: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    def __post_init__(self) -> None:
        if self.periods < 2:
            raise InvalidInput(f"{self.periods} periods, at least 2 are needed for a Sharpe ratio.")
        if not self.kurtosis >= 1.0 + self.skewness**2 - 1e-9:
            raise InvalidInput(
                f"kurtosis is {self.kurtosis}, must be at least 1 + skewness^2 = {1 + self.skewness**2:g}: "
                "give the kurtosis itself, not the excess over 3."
            )

    @property
    def standard_error(self) -> float:
        """Of the ratio, for returns of any shape that are independent of each other (Mertens, 2002)."""
        variance = 1.0 - self.skewness * self.ratio + (self.kurtosis - 1.0) / 4.0 * self.ratio**2
        return float(np.sqrt(max(variance, 0.0) / (self.periods - 1)))


def sharpe_estimate(returns: ArrayLike) -> SharpeEstimate | None:
    """The Sharpe ratio of returns, shape (n,), with their sample skewness and kurtosis.

    None if it is not defined: fewer than three returns, or no variation that numbers can show.
    """
    values = finite_vector(returns, "returns")
    ratio = sharpe_ratio(values, periods_per_year=1) if len(values) > 2 else None
    if ratio is None:
        return None
    scaled = values / np.abs(values).max()  # powers of very small returns are 0
    skewness, kurtosis_ = float(skew(scaled)), float(kurtosis(scaled, fisher=False))
    return SharpeEstimate(ratio, len(values), skewness, kurtosis_) if math.isfinite(skewness + kurtosis_) else None


def probabilistic_sharpe_ratio(estimate: SharpeEstimate, benchmark: float = 0.0) -> float:
    """Probability, 0..1, that the true Sharpe ratio is above `benchmark` (per period).

    >>> round(probabilistic_sharpe_ratio(SharpeEstimate(0.458, 24, -2.448, 10.164)), 3)
    0.913
    """
    lead = estimate.ratio - benchmark
    if estimate.standard_error == 0.0:
        return 1.0 if lead > 0 else 0.0 if lead < 0 else 0.5
    return float(special.ndtr(lead / estimate.standard_error))


def expected_maximum_sharpe(trials: float, variance: float) -> float:
    """Expected Sharpe ratio of the best of `trials` independent strategies without skill, per period, >= 0.

    Args:
        trials: how many were tried, >= 1; a fraction if correlated ones count as fewer independent ones.
        variance: of the Sharpe ratios among the trials, per period, >= 0.

    >>> round(expected_maximum_sharpe(100, 1 / 2 / 250), 4)
    0.1132
    """
    if not trials >= 1 or not variance >= 0:
        raise InvalidInput(f"{trials} trials with variance {variance}: give at least 1 trial, and a variance >= 0.")
    if trials == 1:
        return 0.0
    luckiest, beyond = special.ndtri([1.0 - 1.0 / trials, 1.0 - 1.0 / (trials * np.e)])
    # Between one trial and two the approximation falls below the one trial's zero.
    return float(np.sqrt(variance) * max((1.0 - np.euler_gamma) * luckiest + np.euler_gamma * beyond, 0.0))


def deflated_sharpe_ratio(estimate: SharpeEstimate, trials: float, variance: float | None = None) -> float:
    """Probability, 0..1, that the true Sharpe ratio is above what the best of the trials would show by luck.

    Args:
        estimate: of the chosen strategy.
        trials: as for `expected_maximum_sharpe`.
        variance: of the trials' Sharpe ratios, per period. None: that of trials without skill and with normal returns,
            1 / (periods - 1).
    """
    spread = 1.0 / (estimate.periods - 1) if variance is None else variance
    return probabilistic_sharpe_ratio(estimate, expected_maximum_sharpe(trials, spread))
