"""Does an agent's staking earn its place? Its stakes are compared with rules of thumb on the same rows.

Growth is judged by the mean log growth of a month. For the agent, the variance between its seeds is added to that of
the months. The risk of ruin comes from resampled months, each with one of the seeds.
"""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.open_stakes import Size, Windows, replay
from cleverbetter_dagster.betting.staking import StakingSpec, allocate, equal_stakes, return_moments
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.checks import CheckOutcome
from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap, BootstrapSpec
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.intervals.month_statistics import max_drawdown_of
from cleverbetter_dagster.evaluation.intervals.months import growth_interval, mean_interval
from cleverbetter_dagster.evaluation.metrics.allocation import simulate_allocation
from cleverbetter_dagster.evaluation.scored_rows import utc_times

AGENT, SHRUNKEN_KELLY, HALF_KELLY = "agent", "shrunken_kelly", "half_kelly"
TO_BEAT = (SHRUNKEN_KELLY, HALF_KELLY)
"""Rules an agent must beat to be promoted: one that allows for an uncertain mean, and one in common use."""

LEAST_WEALTH = 1e-6
"""Smallest bankroll counted, as a share of the month's first: the logarithm of 0 is infinite."""


class ComparisonSpec(BootstrapSpec):
    """How stakes are compared."""

    ruin_level: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A history is ruined at or below this share of the first bankroll."""
    evidence_windows: Annotated[float, Field(gt=0, le=1e6)] = 12.0
    """Number of windows an edge is estimated from, for shrunken Kelly."""


class StakingRow(BaseModel):
    """The figures of one way of staking: fractions of the first bankroll."""

    model_config = ConfigDict(frozen=True)

    name: str
    final_bankroll: float
    growth: Estimate
    max_drawdown: float = Field(ge=0, le=1, description="mean over the seeds; one history has one deepest fall")
    risk_of_ruin: float = Field(ge=0, le=1, description="share of resampled histories that fall to the ruin level")


class StakingComparison(BaseModel):
    """An agent's stakes beside those of rules, and whether the agent earns its place."""

    model_config = ConfigDict(frozen=True)

    probability_of: str
    """The model whose probability the rules use."""
    seeds: int
    rows: tuple[StakingRow, ...]
    advantages: dict[str, Estimate]
    """By rule: mean monthly log growth of the agent, over its seeds, less the rule's; paired by month."""

    @property
    def earns_its_place(self) -> bool:
        """Whether the agent beats every rule of `TO_BEAT`."""
        return all(outcome.passed for outcome in self.outcomes())

    def outcomes(self) -> tuple[CheckOutcome, ...]:
        """For every rule of `TO_BEAT`, whether the agent beats it."""
        return tuple(self._outcome(rule) for rule in TO_BEAT)

    def _outcome(self, rule: str) -> CheckOutcome:
        advantage = self.advantages[rule]
        against = f"{rule.replace('_', ' ')} on the probability of {self.probability_of}"
        if advantage.low is None:
            message = f"The agent's stakes cannot be compared with {against}: {advantage.reason}."
            return CheckOutcome(passed=False, message=message)
        passed = advantage.low > 0
        result = f"beats {against}" if passed else f"not shown to beat {against}"
        return CheckOutcome(
            passed=passed,
            message=f"The agent's stakes add {advantage} of log growth a month to it over {self.seeds} seeds: {result} "
            "(the lower end must be above 0).",
        )


class StakedRows(NamedTuple):
    """The columns that staking rules need, each of shape (n,), and what the stakes are open for."""

    windows: Windows
    probability: FloatArray
    gain: FloatArray
    loss: FloatArray
    next_roi: FloatArray


def rule_stakes(rows: StakedRows, staking: StakingSpec, evidence_windows: float) -> dict[str, FloatArray]:
    """Stakes of the rules an agent is compared with, float[n] each, within the bounds of `staking`.

    Shrunken Kelly multiplies every mean by m^2 / (m^2 + s^2); s^2 is its estimation variance, here of a mean over
    `evidence_windows`. Source: Baker and McHale (2013), "Optimal Betting Under Parameter Uncertainty",
    Decision Analysis 10(3).
    """
    mean, variance = return_moments(rows.probability, rows.gain, rows.loss)
    known = np.nan_to_num(mean) != 0
    trust = np.divide(mean**2, mean**2 + variance / evidence_windows, out=np.zeros(len(mean)), where=known)

    def staked(size: Size) -> FloatArray:
        return replay(rows.windows, rows.next_roi, size).stake

    def kelly(share: float, edge: FloatArray) -> FloatArray:
        # Only the mean is shrunk: the second moment stays the same.
        spread = variance + mean**2 - edge**2
        bounds = staking.model_copy(update={"kelly_fraction": share})
        return staked(lambda now, held: allocate(edge[now], spread[now], bounds, open_fraction=held))

    return {
        "flat": staked(lambda now, held: equal_stakes(len(now), staking, held)),
        "full_kelly": kelly(1.0, mean),
        HALF_KELLY: kelly(0.5, mean),
        "quarter_kelly": kelly(0.25, mean),
        SHRUNKEN_KELLY: kelly(1.0, mean * trust),
        "nothing": np.zeros(len(mean)),
    }


def compare_staking(
    rows: StakedRows,
    agent_stakes: ArrayLike,
    rules: Mapping[str, FloatArray],
    probability_of: str,
    spec: ComparisonSpec | None = None,
) -> StakingComparison:
    """Compare an agent's stakes with those of `rules`.

    Args:
        rows: the rows staked on.
        agent_stakes: fractions of the bankroll, shape (seeds, n).
        rules: stakes by rule, as `rule_stakes` gives them; they include `TO_BEAT`.
        probability_of: the model whose probability the rules use.
        spec: resamples, level, seed and the level of ruin.

    Raises:
        InvalidInput: a length differs, a value is not finite, or a rule to beat is missing.
    """
    spec = spec or ComparisonSpec()
    if missing := [name for name in TO_BEAT if name not in rules]:
        raise InvalidInput(f"No {' and no '.join(missing)} among {', '.join(rules)}: take the rules of rule_stakes.")
    bootstrap = BlockBootstrap(utc_times(rows.windows.decided), spec)
    seeds = np.stack([_monthly(rows, stake) for stake in np.atleast_2d(np.asarray(agent_stakes))])
    monthly = {name: _monthly(rows, stake)[None, :] for name, stake in rules.items()}
    return StakingComparison(
        probability_of=probability_of,
        seeds=len(seeds),
        rows=tuple(_row(name, values, bootstrap, spec) for name, values in ({AGENT: seeds} | monthly).items()),
        advantages={name: _mean(_log(seeds) - _log(values), spec.level) for name, values in monthly.items()},
    )


def _monthly(rows: StakedRows, stake: ArrayLike) -> FloatArray:
    return simulate_allocation(rows.windows, stake, rows.next_roi).monthly_return


def _log(returns: FloatArray) -> FloatArray:
    return np.log(np.maximum(1.0 + returns, LEAST_WEALTH))


def _row(name: str, seeds: FloatArray, bootstrap: BlockBootstrap, spec: ComparisonSpec) -> StakingRow:
    resampled = _resampled(bootstrap, seeds)
    return StakingRow(
        name=name,
        final_bankroll=float(np.mean(np.prod(1.0 + seeds, axis=1))),
        growth=_growth(seeds, spec.level),
        max_drawdown=float(max_drawdown_of(seeds).mean()),
        risk_of_ruin=float(np.mean(np.cumprod(1.0 + resampled, axis=1).min(axis=1) <= spec.ruin_level)),
    )


def _resampled(bootstrap: BlockBootstrap, seeds: FloatArray) -> FloatArray:
    """Resampled sequences of months, each of one drawn seed, float[resamples, months], from float[seeds, months]."""
    drawn = np.random.default_rng(bootstrap.spec.seed).integers(0, len(seeds), len(bootstrap.draws))
    return seeds[drawn[:, None], bootstrap.draws]


def _mean(seeds: FloatArray, level: float) -> Estimate:
    """Mean of monthly values, float[seeds, months], of one seed to come: months and seeds are both drawn."""
    return mean_interval(seeds.mean(axis=0), level, _between(seeds))


def _growth(seeds: FloatArray, level: float) -> Estimate:
    """Growth of the bankroll at the mean log growth over the seeds."""
    logs = _log(seeds)
    return growth_interval(np.expm1(logs.mean(axis=0)), level, _between(logs))


def _between(seeds: FloatArray) -> float:
    """Variance between the seeds of their means; 0 for a single seed."""
    return float(np.var(seeds.mean(axis=1), ddof=1)) if len(seeds) > 1 else 0.0
