"""Why a strategy has its stake: every bound that held it, and the features that moved its probability."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.metrics.shapley import shapley_values
from cleverbetter_dagster.evaluation.texts import percent
from cleverbetter_dagster.learning.model import PROBABILITY, FittedModel
from cleverbetter_dagster.services.champion.stake_inputs import STEPS, ScoringFacts, StakeInputs

SHOWN_FEATURES = 10
ORDERS = 16
"""Pairs of orders of the features that a row's influences are averaged over."""

NOTICEABLE = 0.005
"""Share by which two steps of a stake must differ to be told apart: stakes come from a solver."""

TOLERANCE = 1e-9
"""Largest difference between a stored probability and the model's answer for the stored features."""


@dataclass(frozen=True)
class Step:
    """One step to a stake: the stake after it, a fraction of the bankroll, and whether it changed anything."""

    name: str
    stake: float
    bound: bool
    text: str


@dataclass(frozen=True)
class Influence:
    """What one feature adds to a probability or takes from it. `value` is None where the row has none."""

    feature: str
    value: float | None
    effect: float


@dataclass(frozen=True)
class Reasons:
    """Why this probability, and why this stake.

    Attributes:
        mean, variance: of the return of the next window; None if the strategy's history gives none.
        refusal: why there is no stake whatever the probability; None if that is not so.
        steps: from full Kelly to the stake.
        usual: mean probability of the strategies that the influences are measured against.
        influences: of the features that moved it most, strongest first.
        others: sum of the influences of all other features.
    """

    probability: float
    mean: float | None
    variance: float | None
    refusal: str | None
    steps: tuple[Step, ...]
    usual: float
    influences: tuple[Influence, ...]
    others: float


def reasons_of(inputs: StakeInputs, position: int, fitted: FittedModel) -> Reasons:
    """The reasons for the stake of the row at a position.

    Raises:
        DataError: the model gives another probability for the stored features than was stored with them.
    """
    row: dict[Any, Any] = inputs.rows.iloc[position].to_dict()
    own = inputs.features.iloc[[position]]
    answer = float(fitted.predict_frame(own)[PROBABILITY].iloc[0])
    if abs(answer - row["probability"]) > TOLERANCE:
        raise DataError(
            f"The model gives {row['strategy_id']!r} a probability of {answer:.6f}, and {row['probability']:.6f} was "
            "stored when it was scored: the stored features are not those of this model."
        )
    values, _ = shapley_values(
        lambda X: fitted.predict_frame(X)[PROBABILITY].to_numpy(),
        inputs.features,
        pd.concat([own] * ORDERS, ignore_index=True),
    )
    effects = values.mean()
    strongest = effects.abs().nlargest(SHOWN_FEATURES).index
    influences = tuple(
        Influence(str(name), _number(own[name].iloc[0]), float(effects[name])) for name in strongest if effects[name]
    )
    return Reasons(
        probability=answer,
        mean=_number(row["mean"]),
        variance=_number(row["variance"]),
        refusal=_refusal(row, inputs.facts),
        steps=tuple(_steps(row, inputs.facts)),
        usual=answer - float(effects.sum()),
        influences=influences,
        others=float(effects.sum()) - sum(one.effect for one in influences),
    )


def _refusal(row: dict[Any, Any], facts: ScoringFacts) -> str | None:
    if not row["passes_filter"]:
        return (
            f"Its newest window is below the quality filter ({facts.spec.min_composite_score:g}) of the model's "
            "training, which never learned from such rows."
        )
    if _number(row["mean"]) is None:
        return "Nothing is known of how much it gains or loses."
    if row["mean"] <= 0:
        return f"The return to expect is {percent(row['mean'], 2, signed=True)}: only one above 0 is staked on."
    return None


def _steps(row: dict[Any, Any], facts: ScoringFacts) -> Iterator[Step]:
    bounds, share = facts.staking, _number(row["kelly_share"])
    kelly, part, capped, together, stake = (float(row[name]) for name in STEPS)
    yield Step("full Kelly", kelly, False, "the most growth if the mean were known: mean / (variance + mean²)")
    chosen = "the agent's share" if share is not None else "kelly_fraction"
    yield Step(
        f"{percent(bounds.kelly_fraction if share is None else share, 0)} of it",
        part,
        False,
        f"{chosen}: the mean is an estimate",
    )
    most = percent(bounds.max_stake_fraction, 2)
    yield _bound("cap on one strategy", part, capped, f"max_stake_fraction: at most {most}")
    months = facts.covariance_months
    known = f"by {months} months of returns" if months else "strategies are taken to be independent: too few months"
    yield _bound("beside the others", capped, together, f"what moves together shares its risk; {known}")
    held = f", {percent(facts.open_fraction, 1)} are open from earlier" if facts.open_fraction else ""
    total = f"max_total_fraction: at most {percent(bounds.max_total_fraction, 0)}{held}"
    yield _bound("bound on all stakes", together, stake, total)


def _bound(name: str, before: float, after: float, text: str) -> Step:
    return Step(name, after, abs(after - before) > NOTICEABLE * max(before, after), text)


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
