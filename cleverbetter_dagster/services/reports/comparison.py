"""The report on the comparison of one as_of: the families side by side, and the decision about the challenger."""

from collections.abc import Mapping

from cleverbetter_dagster.evaluation.charts.money import bankroll_chart
from cleverbetter_dagster.evaluation.charts.probabilities import precision_recall_chart, roc_chart
from cleverbetter_dagster.evaluation.intervals.estimate import IntervalSpec
from cleverbetter_dagster.evaluation.leaderboard import rank_models, with_first
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.report.view import Report, Section
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.services.records import ChampionRecord, ComparisonRecord, SplitRecord
from cleverbetter_dagster.services.reports.parts import decision_summary, leaderboard_section, provenance, reproduction


def comparison_report(
    comparison: ComparisonRecord,
    scored: Mapping[str, ScoredRows],
    decision: ChampionRecord | None,
    split: SplitRecord,
    spec: IntervalSpec,
) -> Report:
    """The report on all families of one as_of.

    Args:
        scored: the test rows as every family and baseline scored them, by name.
    """
    challenger = comparison.models[comparison.challenger]
    leaderboard = rank_models(scored, spec)
    drawn = {row.name: scored[row.name] for row in with_first(leaderboard, challenger.family)}
    broken = [f"{family}: {message}" for family, messages in comparison.broken_guards.items() for message in messages]
    summary = decision_summary(decision, challenger, leaderboard, broken)
    return Report(
        title="Comparison of the families",
        subtitle=f"As of {comparison.as_of}",
        headline=f"{challenger.family} v{challenger.version}: {summary.headline.lower()}",
        tone=summary.tone,
        summary=summary.text,
        reasons=summary.reasons,
        sections=(
            leaderboard_section(leaderboard, challenger.family),
            Section("Probabilities", charts=(roc_chart(drawn), precision_recall_chart(drawn))),
            Section("Money", charts=(bankroll_chart({name: allocation_of(rows) for name, rows in drawn.items()}),)),
        ),
        provenance=provenance(challenger, split),
        command=reproduction(list(comparison.models.values()), split),
    )
