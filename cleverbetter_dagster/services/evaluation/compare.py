"""Compares the families of one as_of with each other and the baselines, and chooses the challenger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.charts.money import bankroll_chart
from cleverbetter_dagster.evaluation.charts.probabilities import roc_chart
from cleverbetter_dagster.evaluation.checks import broken_guards
from cleverbetter_dagster.evaluation.leaderboard import rank_models, with_first
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.staking_comparison import StakingComparison
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.services.evaluation.checks import MODEL_CHECKS
from cleverbetter_dagster.services.evaluation.scored_table import evaluated_model, scored_by_model, scored_rows
from cleverbetter_dagster.services.evaluation.stakes import judge_staking, rows_of
from cleverbetter_dagster.services.records import ComparisonRecord


@dataclass(frozen=True)
class Candidate:
    """A family's model on its test rows.

    Attributes:
        rows: as it scored them, with its stakes: its part of a scored table.
        staking: bounds on the stakes.
        comparison: its own stakes against rules on its own probability; None if it does not stake by itself.
    """

    rows: pd.DataFrame
    staking: StakingSpec
    comparison: StakingComparison | None


@dataclass(frozen=True)
class ChallengerChoice:
    """The family that challenges, and why; see `ComparisonRecord` for `staking`, `passed_over` and `broken_guards`.

    Attributes:
        comparisons: by family, every comparison of the stakes it places by itself.
    """

    challenger: str
    staking: dict[str, StakingComparison]
    comparisons: dict[str, list[StakingComparison]]
    passed_over: dict[str, list[str]]
    broken_guards: dict[str, list[str]]


@dataclass(frozen=True)
class Comparison:
    """A comparison with its pictures as PNG, by name."""

    record: ComparisonRecord
    pictures: dict[str, bytes]


def compare_families(evaluations: Mapping[str, pa.Table]) -> Comparison:
    """The leaderboard over all families and baselines, and the family that challenges.

    Args:
        evaluations: scored rows by family, all of one as_of.
    """
    scored = scored_by_model(list(evaluations.values()))
    leaderboard = rank_models(scored)
    models = {family: evaluated_model(table) for family, table in evaluations.items()}
    choice = choose_challenger(
        {
            family: Candidate(rows_of(evaluations[family], family), model.staking, model.staking_comparison)
            for family, model in models.items()
        }
    )
    record = ComparisonRecord(
        as_of=next(iter(models.values())).as_of,
        leaderboard=leaderboard,
        models=models,
        challenger=choice.challenger,
        staking=choice.staking,
        passed_over=choice.passed_over,
        broken_guards=choice.broken_guards,
    )
    drawn = {row.name: scored[row.name] for row in with_first(leaderboard, choice.challenger)}
    bankrolls = {name: allocation_of(rows) for name, rows in drawn.items()}
    return Comparison(record, {"roc": png(roc_chart(drawn)), "bankroll": png(bankroll_chart(bankrolls))})


def choose_challenger(candidates: Mapping[str, Candidate]) -> ChallengerChoice:
    """The family with the lowest Brier score challenges, if its stakes allow it.

    A family that stakes by itself challenges only if its stakes beat rules of thumb on its own probability and on that
    of a family that does not. If no family is left, the first challenges nevertheless, and the gate refuses it.
    """
    scored = {family: scored_rows(candidate.rows) for family, candidate in candidates.items()}
    ranked = sorted(candidates, key=lambda family: (_brier(scored[family]), family))
    staking = _against_yardstick(candidates)
    comparisons = {
        family: [one for one in (candidates[family].comparison, staking.get(family)) if one is not None]
        for family in ranked
    }
    lacks = {family: _lacks(comparisons[family]) for family in ranked}
    challenger = next((family for family in ranked if not lacks[family]), ranked[0])
    broken = {family: broken_guards(MODEL_CHECKS, scored[family]) for family in ranked}
    return ChallengerChoice(
        challenger=challenger,
        staking=staking,
        comparisons=comparisons,
        passed_over={family: lacks[family] for family in ranked[: ranked.index(challenger)]},
        broken_guards={family: sentences for family, sentences in broken.items() if sentences},
    )


def _brier(rows: ScoredRows) -> float:
    return float(np.mean(brier_terms(rows.label, rows.probability)))


def _against_yardstick(candidates: Mapping[str, Candidate]) -> dict[str, StakingComparison]:
    """Stakes of families against rules on the probability of the catalogue's first family without own stakes."""
    yardstick = next((name for name in FAMILIES if name in candidates and candidates[name].comparison is None), None)
    if yardstick is None:
        return {}
    comparisons = {
        family: judge_staking(candidate.rows, candidates[yardstick].rows, candidate.staking)
        for family, candidate in candidates.items()
        if candidate.comparison is not None
    }
    return {family: comparison for family, comparison in comparisons.items() if comparison is not None}


def _lacks(comparisons: Sequence[StakingComparison]) -> list[str]:
    """The findings that a family's own stakes failed."""
    outcomes = [outcome for comparison in comparisons for outcome in comparison.outcomes()]
    return [outcome.message for outcome in outcomes if not outcome.passed]
