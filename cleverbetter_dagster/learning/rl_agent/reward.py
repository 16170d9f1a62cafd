"""What a betting agent is rewarded for: the worth of a round's return on the whole bankroll.

One function of the return so far. A decision is paid the difference it makes to it, so that the rewards of all
decisions of one round add up to the worth of what they earned together, and each is credited with its own share.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.arrays import FloatArray

LEAST_WEALTH = 1e-6
"""Share of the bankroll below which a loss counts as no worse: the logarithm of nothing is infinite."""


class RewardSpec(BaseModel):
    """Weights of the four terms; all in units of log growth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    growth_weight: float = Field(1.0, ge=0, le=1000, description="of the log growth of the bankroll")
    drawdown_weight: float = Field(
        0.1, ge=0, le=1000, description="of how much further the bankroll fell below its peak, 0..1"
    )
    risk_weight: float = Field(
        0.0, ge=0, le=1000, description="of half the squared return: aversion beyond Kelly's own"
    )
    ruin_cost: float = Field(1.0, ge=0, le=1000, description="of a bankroll at or below the level of ruin")
    ruin_level: float = Field(0.1, ge=0, lt=1, description="bankroll, as a share of the first, that is ruin")


def drawdown(bankroll: FloatArray, peak: FloatArray) -> FloatArray:
    """Fall below the peak, as a fraction of it, 0..1; elementwise."""
    return np.maximum(1.0 - bankroll / peak, 0.0)


def utility(period_return: FloatArray, bankroll: FloatArray, peak: FloatArray, spec: RewardSpec) -> FloatArray:
    """Worth of a return on the whole bankroll; 0 for a return of 0 above ruin. Elementwise.

    Args:
        period_return: of all stakes of one round together, >= -1.
        bankroll: before it, as a share of the first bankroll, > 0.
        peak: highest bankroll before it.
        spec: weights.

    >>> one = np.ones(1)
    >>> utility(np.array([0.1]), one, one, RewardSpec()).round(4).tolist()  # log(1.1)
    [0.0953]
    """
    wealth = bankroll * (1.0 + period_return)
    fell = np.maximum(drawdown(wealth, peak) - drawdown(bankroll, peak), 0.0)
    worth = spec.growth_weight * np.log(np.maximum(1.0 + period_return, LEAST_WEALTH))
    worth -= spec.drawdown_weight * fell + 0.5 * spec.risk_weight * period_return**2
    return worth - spec.ruin_cost * (wealth <= spec.ruin_level)
