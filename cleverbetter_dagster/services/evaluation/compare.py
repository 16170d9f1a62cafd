"""The families of one as_of side by side with the baselines, and which of them challenges the champion."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from cleverbetter_dagster.evaluation.intervals.bootstrap import BootstrapSpec
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow, leaderboard
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.plots.models import bankroll_plot, roc_plot
from cleverbetter_dagster.evaluation.staking_comparison import StakingVerdict
from cleverbetter_dagster.services.checks import broken_guards
from cleverbetter_dagster.services.evaluation.checks import MODEL_RULES
from cleverbetter_dagster.services.evaluation.scored_table import evaluated_model, scored_by_model
from cleverbetter_dagster.services.evaluation.stakes import judge_staking, rows_of
from cleverbetter_dagster.services.records import ComparisonRecord, EvaluatedModel

YARDSTICK = "ensemble"
"""The family on whose probability rules of thumb stake when they are compared with an agent."""


@dataclass(frozen=True)
class Comparison:
    """A leaderboard with its pictures."""

    record: ComparisonRecord
    board: list[LeaderboardRow]
    pictures: dict[str, bytes]


def compare_families(evaluations: Mapping[str, pa.Table], spec: BootstrapSpec | None = None) -> Comparison:
    """The leaderboard over all families and baselines; the family with the lowest Brier score challenges.

    A family that stakes by itself challenges only where its stakes beat rules of thumb on its own probability and on
    the ensemble's. Where no family is left, the first challenges nevertheless, and the gate says what it lacks.

    Args:
        evaluations: scored rows by family, all of one as_of.
    """
    scored = scored_by_model(list(evaluations.values()))
    board = leaderboard(scored, spec)
    models = {family: evaluated_model(table) for family, table in evaluations.items()}
    ranked = [row.name for row in board if row.name in models]
    record = ComparisonRecord(
        as_of=next(iter(models.values())).as_of,
        leaderboard=[row.model_dump(mode="json") for row in board],
        models=models,
        challenger=ranked[0],
        staking=_staking(evaluations, models),
    )
    lacks = {family: _lacks(record, family) for family in ranked}
    challenger = next((family for family in ranked if not lacks[family]), ranked[0])
    passed_over = {family: lacks[family] for family in ranked[: ranked.index(challenger)]}
    found = {family: broken_guards(MODEL_RULES, scored[family]) for family in ranked}
    guards = {family: broken for family, broken in found.items() if broken}
    record = record.model_copy(update={"challenger": challenger, "passed_over": passed_over, "broken_guards": guards})
    bankrolls = {row.name: allocation_of(scored[row.name]) for row in board}
    return Comparison(record, board, {"roc": roc_plot(scored), "bankroll": bankroll_plot(bankrolls)})


def _staking(evaluations: Mapping[str, pa.Table], models: Mapping[str, EvaluatedModel]) -> dict[str, StakingVerdict]:
    """Families that stake by themselves beside rules on the ensemble's probability; none without an ensemble."""
    if YARDSTICK not in evaluations:
        return {}
    forecast = rows_of(evaluations[YARDSTICK], YARDSTICK)
    verdicts = {
        family: judge_staking(rows_of(evaluations[family], family), forecast, model.staking)
        for family, model in models.items()
        if model.staking_verdict is not None
    }
    return {family: verdict for family, verdict in verdicts.items() if verdict is not None}


def _lacks(record: ComparisonRecord, family: str) -> list[str]:
    """What a family's own stakes have not been shown to do, one sentence each."""
    findings = [finding for verdict in record.staking_verdicts(family) for finding in verdict.findings()]
    return [sentence for passed, sentence in findings if not passed]
