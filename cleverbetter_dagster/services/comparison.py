"""The families of one as_of side by side with the baselines, and which of them challenges the champion."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from cleverbetter_dagster.evaluation.allocation import allocation_of
from cleverbetter_dagster.evaluation.bootstrap import BootstrapSpec
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow, leaderboard
from cleverbetter_dagster.evaluation.plots import bankroll_plot, roc_plot
from cleverbetter_dagster.services.records import ComparisonRecord
from cleverbetter_dagster.services.scored_table import evaluated_model, scored_by_model


@dataclass(frozen=True)
class Comparison:
    """A leaderboard with its pictures."""

    record: ComparisonRecord
    board: list[LeaderboardRow]
    pictures: dict[str, bytes]


def compare_families(evaluations: Mapping[str, pa.Table], spec: BootstrapSpec | None = None) -> Comparison:
    """The leaderboard over all families and baselines; the family with the lowest Brier score challenges.

    Args:
        evaluations: scored rows by family, all of one as_of.
    """
    scored = scored_by_model(list(evaluations.values()))
    board = leaderboard(scored, spec)
    models = {family: evaluated_model(table) for family, table in evaluations.items()}
    record = ComparisonRecord(
        as_of=next(iter(models.values())).as_of,
        leaderboard=[row.model_dump(mode="json") for row in board],
        models=models,
        challenger=next(row.name for row in board if row.name in models),
    )
    bankrolls = {row.name: allocation_of(scored[row.name]) for row in board}
    return Comparison(record, board, {"roc": roc_plot(scored), "bankroll": bankroll_plot(bankrolls)})
