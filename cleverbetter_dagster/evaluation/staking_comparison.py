"""Does an agent's staking earn its place? Its stakes beside rules of thumb on the same rows and probabilities.

Intervals come from resampled months, or blocks of them, which are histories that began and went on otherwise; the
agent's are over its seeds as well, each resample drawing one of them.
"""

from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.performance import finite_vector
from cleverbetter_dagster.betting.segments import FloatArray
from cleverbetter_dagster.betting.staking import StakingSpec, allocate, equal_stakes, return_moments
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.allocation import monthly_returns, simulate_allocation
from cleverbetter_dagster.evaluation.bootstrap import BlockBootstrap, BootstrapSpec, Interval, Statistic
from cleverbetter_dagster.evaluation.month_statistics import growth_of, max_drawdown_of

AGENT, SHRUNKEN_KELLY, NOTHING = "agent", "shrunken_kelly", "nothing"
_LEAST_WEALTH = 1e-6


class ComparisonSpec(BootstrapSpec):
    """How stakes are compared."""

    ruin_level: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the first bankroll below which a history counts as ruined."""
    evidence_windows: Annotated[float, Field(gt=0)] = 12.0
    """Windows an edge counts as estimated from, for shrunken Kelly."""


class StakingRow(BaseModel):
    """One way of staking in figures: fractions of the first bankroll, with intervals where there are two months."""

    model_config = ConfigDict(frozen=True)

    name: str
    final_bankroll: float
    growth: Interval | None
    max_drawdown: Interval | None
    risk_of_ruin: float = Field(ge=0, le=1, description="share of resampled histories that fall to the ruin level")


class StakingVerdict(BaseModel):
    """The comparison, and whether the agent earns its place."""

    model_config = ConfigDict(frozen=True)

    rows: tuple[StakingRow, ...]
    advantages: dict[str, Interval | None]
    """By rule: mean monthly log growth of the agent, over its seeds, less the rule's; paired by month."""
    beats_shrunken_kelly: bool
    """The whole interval of that advantage lies above 0."""


def rule_stakes(
    probability: ArrayLike, magnitudes: tuple[ArrayLike, ArrayLike], group: ArrayLike, spec: StakingSpec, windows: float
) -> dict[str, FloatArray]:
    """Stakes of the rules an agent is compared with, float[n] each, within the bounds of `spec`.

    Shrunken Kelly multiplies every mean by m^2 / (m^2 + s^2), s^2 being its estimation variance, here that of a mean
    over `windows`. Source: Baker and McHale (2013), "Optimal Betting Under Parameter Uncertainty", Decision Analysis.
    """
    mean, variance = return_moments(probability, *magnitudes)
    known = np.nan_to_num(mean) != 0
    trust = np.divide(mean**2, mean**2 + variance / windows, out=np.zeros(len(mean)), where=known)

    def kelly(share: float, edge: FloatArray) -> FloatArray:
        # The mean is doubted, not the spread: the second moment stays as it is.
        doubted = variance + mean**2 - edge**2
        return allocate(edge, doubted, spec.model_copy(update={"kelly_fraction": share}), group)

    return {
        "flat": equal_stakes(np.ones(len(mean), dtype=bool), spec, group),
        "full_kelly": kelly(1.0, mean),
        "half_kelly": kelly(0.5, mean),
        "quarter_kelly": kelly(0.25, mean),
        SHRUNKEN_KELLY: kelly(1.0, mean * trust),
        NOTHING: np.zeros(len(mean)),
    }


def compare_staking(
    decision_time: pd.DatetimeIndex,
    next_roi: ArrayLike,
    agent_stakes: ArrayLike,
    rules: dict[str, FloatArray],
    spec: ComparisonSpec | None = None,
) -> StakingVerdict:
    """Judge an agent's stakes beside `rules`.

    Args:
        decision_time: of every row, shape (n,).
        next_roi: return of the staked window, shape (n,).
        agent_stakes: fractions of the bankroll, shape (seeds, n), or (n,) of a single seed.
        rules: stakes of every rule, as `rule_stakes` gives them; shrunken Kelly among them.
        spec: resamples, level, seed and the level of ruin.

    Raises:
        InvalidInput: a length differs, a value is not finite, or shrunken Kelly is missing.
    """
    spec = spec or ComparisonSpec()
    if SHRUNKEN_KELLY not in rules:
        raise InvalidInput(f"No {SHRUNKEN_KELLY} among {', '.join(rules)}: take the rules of rule_stakes.")
    bootstrap = BlockBootstrap(decision_time, spec)
    roi = finite_vector(next_roi, "next_roi")
    seeds = np.stack([_monthly(decision_time, stake, roi) for stake in np.atleast_2d(np.asarray(agent_stakes))])
    monthly = {name: _monthly(decision_time, stake, roi)[None, :] for name, stake in rules.items()}
    rows = tuple(_row(name, values, bootstrap, spec) for name, values in ({AGENT: seeds} | monthly).items())
    advantages = {
        name: _interval(bootstrap, _log(seeds) - _log(values), lambda months: months.mean(axis=1))
        for name, values in monthly.items()
    }
    decisive = advantages[SHRUNKEN_KELLY]
    beats = decisive is not None and decisive.low > 0
    return StakingVerdict(rows=rows, advantages=advantages, beats_shrunken_kelly=beats)


def _monthly(decision_time: pd.DatetimeIndex, stake: ArrayLike, roi: FloatArray) -> FloatArray:
    result = simulate_allocation(decision_time, stake, roi)
    return monthly_returns(result.decision_time, result.period_return)


def _log(returns: FloatArray) -> FloatArray:
    return np.log(np.maximum(1.0 + returns, _LEAST_WEALTH))


def _row(name: str, seeds: FloatArray, bootstrap: BlockBootstrap, spec: ComparisonSpec) -> StakingRow:
    lowest = np.cumprod(1.0 + _resampled(bootstrap, seeds), axis=1).min(axis=1)
    return StakingRow(
        name=name,
        final_bankroll=float(np.mean(np.prod(1.0 + seeds, axis=1))),
        growth=_interval(bootstrap, seeds, growth_of),
        max_drawdown=_interval(bootstrap, seeds, max_drawdown_of),
        risk_of_ruin=float(np.mean(lowest <= spec.ruin_level)),
    )


def _resampled(bootstrap: BlockBootstrap, seeds: FloatArray) -> FloatArray:
    """Resampled sequences of months, each of one drawn seed, float[resamples, months]; `seeds` float[seeds, months]."""
    drawn = np.random.default_rng(bootstrap.spec.seed).integers(0, len(seeds), len(bootstrap.draws))
    return seeds[drawn[:, None], bootstrap.draws]


def _interval(bootstrap: BlockBootstrap, seeds: FloatArray, statistic: Statistic) -> Interval | None:
    """Interval over months and seeds; its point is the mean over the seeds."""
    samples = statistic(_resampled(bootstrap, seeds))
    return bootstrap._expanded_percentiles(samples, float(statistic(seeds).mean()))
