"""The families of one as_of side by side with the baselines, and which of them challenges the champion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.charts.money import bankroll_chart
from cleverbetter_dagster.evaluation.charts.probabilities import roc_chart
from cleverbetter_dagster.evaluation.intervals.bootstrap import BootstrapSpec
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow, leaderboard, with_first
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.staking_comparison import StakingVerdict
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.services.checks import broken_guards
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
        verdict: its own stakes beside rules on its own probability; None where it does not stake by itself.
    """

    rows: pd.DataFrame
    staking: StakingSpec
    verdict: StakingVerdict | None


@dataclass(frozen=True)
class ChallengerChoice:
    """The family that challenges, and why; see `ComparisonRecord` for `staking`, `passed_over` and `broken_guards`.

    Attributes:
        verdicts: by family, every verdict on the stakes it places by itself.
    """

    challenger: str
    staking: dict[str, StakingVerdict]
    verdicts: dict[str, list[StakingVerdict]]
    passed_over: dict[str, list[str]]
    broken_guards: dict[str, list[str]]


@dataclass(frozen=True)
class Comparison:
    """A leaderboard with its pictures."""

    record: ComparisonRecord
    board: list[LeaderboardRow]
    pictures: dict[str, bytes]


def compare_families(evaluations: Mapping[str, pa.Table], spec: BootstrapSpec | None = None) -> Comparison:
    """The leaderboard over all families and baselines, and the family that challenges.

    Args:
        evaluations: scored rows by family, all of one as_of.
    """
    scored = scored_by_model(list(evaluations.values()))
    board = leaderboard(scored, spec)
    models = {family: evaluated_model(table) for family, table in evaluations.items()}
    choice = choose_challenger(
        {
            family: Candidate(rows_of(evaluations[family], family), model.staking, model.staking_verdict)
            for family, model in models.items()
        }
    )
    record = ComparisonRecord(
        as_of=next(iter(models.values())).as_of,
        leaderboard=board,
        models=models,
        challenger=choice.challenger,
        staking=choice.staking,
        passed_over=choice.passed_over,
        broken_guards=choice.broken_guards,
    )
    drawn = {row.name: scored[row.name] for row in with_first(board, choice.challenger)}
    bankrolls = {name: allocation_of(rows) for name, rows in drawn.items()}
    return Comparison(record, board, {"roc": png(roc_chart(drawn)), "bankroll": png(bankroll_chart(bankrolls))})


def choose_challenger(candidates: Mapping[str, Candidate]) -> ChallengerChoice:
    """The family with the lowest Brier score challenges, if its stakes allow it.

    A family that stakes by itself challenges only where its stakes beat rules of thumb on its own probability and on
    that of a family that does not. Where no family is left, the first challenges nevertheless, and the gate says what
    it lacks.
    """
    scored = {family: scored_rows(candidate.rows) for family, candidate in candidates.items()}
    ranked = sorted(candidates, key=lambda family: (_brier(scored[family]), family))
    staking = _beside_yardstick(candidates)
    verdicts = {
        family: [verdict for verdict in (candidates[family].verdict, staking.get(family)) if verdict is not None]
        for family in ranked
    }
    lacks = {family: _lacks(verdicts[family]) for family in ranked}
    challenger = next((family for family in ranked if not lacks[family]), ranked[0])
    broken = {family: broken_guards(MODEL_CHECKS, scored[family]) for family in ranked}
    return ChallengerChoice(
        challenger=challenger,
        staking=staking,
        verdicts=verdicts,
        passed_over={family: lacks[family] for family in ranked[: ranked.index(challenger)]},
        broken_guards={family: sentences for family, sentences in broken.items() if sentences},
    )


def _brier(rows: ScoredRows) -> float:
    return float(np.mean(brier_terms(rows.label, rows.probability)))


def _beside_yardstick(candidates: Mapping[str, Candidate]) -> dict[str, StakingVerdict]:
    """Families that stake by themselves beside rules on the probability of the catalogue's first that does not."""
    yardstick = next((name for name in FAMILIES if name in candidates and candidates[name].verdict is None), None)
    if yardstick is None:
        return {}
    verdicts = {
        family: judge_staking(candidate.rows, candidates[yardstick].rows, candidate.staking)
        for family, candidate in candidates.items()
        if candidate.verdict is not None
    }
    return {family: verdict for family, verdict in verdicts.items() if verdict is not None}


def _lacks(verdicts: Sequence[StakingVerdict]) -> list[str]:
    """What a family's own stakes have not been shown to do, one sentence each."""
    return [sentence for verdict in verdicts for passed, sentence in verdict.findings() if not passed]
