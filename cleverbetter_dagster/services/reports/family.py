"""The report on one family at one as_of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from cleverbetter_dagster.betting.exposure import Exposure
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.evaluation.charts.features import impact_chart
from cleverbetter_dagster.evaluation.charts.money import bankroll_chart, drawdown_chart
from cleverbetter_dagster.evaluation.charts.probabilities import (
    precision_recall_chart,
    probability_chart,
    reliability_chart,
    roc_chart,
)
from cleverbetter_dagster.evaluation.checks import broken_guards
from cleverbetter_dagster.evaluation.intervals.estimate import IntervalSpec
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow, rank_models
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.metrics.shapley import shapley_values
from cleverbetter_dagster.evaluation.report.view import Number, Report, Section, Table, with_interval
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.slices import FEWEST_ROWS, QUARTERS, quartile_names, sliced
from cleverbetter_dagster.evaluation.texts import decimal, percent
from cleverbetter_dagster.learning.model import PROBABILITY, FittedModel
from cleverbetter_dagster.services.evaluation.checks import MODEL_CHECKS
from cleverbetter_dagster.services.records import ChampionRecord, EvaluatedModel
from cleverbetter_dagster.services.reports.parts import decision_summary, leaderboard_section, provenance, reproduction
from cleverbetter_dagster.services.training.datasets import Dataset

SHOWN_STRATEGIES = 10
STAKE = "recommended_stake"


@dataclass(frozen=True)
class FamilyResults:
    """An evaluated model with everything its report is made from.

    Attributes:
        scored: the test rows as the model, first, and every baseline scored them.
        exposures: how much of its stakes moves together, by the day of each round of test rows.
        predictions: of the model for every live strategy (`services.champion.predict`).
        decision: about the challenger of its as_of; None if there is none yet.
    """

    model: EvaluatedModel
    fitted: FittedModel
    dataset: Dataset
    scored: dict[str, ScoredRows]
    exposures: Mapping[str, Exposure]
    predictions: pd.DataFrame
    decision: ChampionRecord | None

    @property
    def own(self) -> ScoredRows:
        """The test rows as the model scored them."""
        return self.scored[self.model.family]


def family_report(results: FamilyResults, spec: IntervalSpec) -> Report:
    """The report on an evaluated model."""
    model = results.model
    leaderboard = rank_models(results.scored, spec)
    summary = decision_summary(results.decision, model, leaderboard, broken_guards(MODEL_CHECKS, results.own))
    return Report(
        title=f"{model.family} v{model.version}",
        subtitle=f"Evaluation as of {model.as_of}",
        headline=summary.headline,
        tone=summary.tone,
        summary=summary.text,
        reasons=summary.reasons,
        sections=(
            _figures(next(row for row in leaderboard if row.name == model.family)),
            leaderboard_section(leaderboard, model.family),
            _probabilities(results),
            _money(results),
            _importance(results),
            _slices(results, spec),
            _strategies(results),
        ),
        provenance=provenance(model, results.dataset.record),
        command=reproduction([model], results.dataset.record),
    )


def _figures(row: LeaderboardRow) -> Section:
    return Section(
        "The figures",
        f"On {row.n_rows:,} test rows of {row.n_months} months, which the model never saw. Below each figure is its "
        "95% interval, from whole months, because strategies bet on the same races, and allowing for months "
        "that depend on the months before; or the reason why there is none.",
        numbers=(
            with_interval("AUC within months", row.auc_within_months),
            with_interval("Brier score", row.brier, 4),
            with_interval("Log loss", row.log_loss, 4),
            with_interval("Return on stakes", row.roi, as_percent=True),
            with_interval("Growth of the bankroll", row.growth, as_percent=True),
            with_interval("Sharpe ratio, a year", row.sharpe_ratio, 2),
            with_interval("Deepest drawdown", row.max_drawdown, as_percent=True),
            with_interval("AUC of all months", row.roc_auc),
            with_interval("Calibration error", row.calibration_error),
        ),
    )


def _probabilities(results: FamilyResults) -> Section:
    return Section(
        "Probabilities",
        "Whether the stated probabilities come true, and how well they separate profitable windows from the others.",
        charts=(
            reliability_chart(results.own),
            probability_chart(results.own.label, results.own.probability),
            roc_chart(results.scored),
            precision_recall_chart(results.scored),
        ),
    )


def _money(results: FamilyResults) -> Section:
    allocations = {name: allocation_of(rows) for name, rows in results.scored.items()}
    own = allocations[results.model.family]
    metrics = own.metrics
    return Section(
        "Money",
        "What the stakes would have earned on the test rows. The returns are those of the backtests, after commission; "
        "they do not show how large a bet the market would have taken.",
        numbers=(
            Number("Stakes placed", f"{metrics.n_bets:,}", "windows with a stake above 0"),
            Number("Windows won", percent(metrics.win_rate), "of those staked"),
            Number("Profit factor", decimal(metrics.profit_factor, 2), "gains over losses"),
            Number("Final bankroll", decimal(own.final_bankroll), "start = 1"),
        ),
        charts=(bankroll_chart(allocations), drawdown_chart(results.model.family, own)),
        tables=(_exposures(results.exposures),),
    )


def _exposures(exposures: Mapping[str, Exposure]) -> Table:
    lines = tuple(
        (
            day,
            f"{exposure.staked:,}",
            percent(exposure.total_fraction),
            percent(exposure.deviation, 2),
            percent(exposure.common_share),
            decimal(exposure.effective_bets, 1),
            str(exposure.months) if exposure.months else "taken as independent",
        )
        for day, exposure in exposures.items()
    )
    heads = ("decided", "strategies", "of the bankroll", "deviation", "common", "independent bets", "months known")
    return Table("How much of the stakes moves together", heads, lines)


def _importance(results: FamilyResults) -> Section:
    parts = results.dataset.parts
    values, explained = shapley_values(
        lambda X: results.fitted.predict_frame(X)[PROBABILITY].to_numpy(), parts.train.X, parts.test.X,
        results.model.seed,
    )  # fmt: skip
    text = (
        "How far each feature moves the probability of single rows away from the average. It describes the model, not "
        "the world: if two features carry the same information, either may get the credit."
    )
    return Section("Which features count", text, charts=(impact_chart(values, explained),))


def _slices(results: FamilyResults, spec: IntervalSpec) -> Section:
    tables = []
    for title, names, by in _cuts(results.dataset.parts.test):
        in_order = list(dict.fromkeys(names.loc[by.sort_values(kind="stable").index]))
        lines = tuple(
            (
                part.name,
                f"{part.row.n_rows:,}",
                percent(part.profitable),
                percent(part.stated),
                with_interval("", part.row.auc_within_months, 2),
                with_interval("", part.row.roi, as_percent=True),
            )
            for part in sliced(results.own, names.tolist(), in_order, spec)
        )
        tables.append(
            Table(title, ("", "rows", "profitable", "stated", "AUC within months", "return on stakes"), lines)
        )
    text = (
        f"The test rows, grouped by facts known when they were decided. Groups of fewer than {FEWEST_ROWS} rows are "
        "left out. A group of few months has no interval."
    )
    return Section("Strong and weak groups", text, tables=tuple(tables))


def _cuts(test: Examples) -> Iterator[tuple[str, pd.Series, pd.Series]]:
    """Title, name of each row's slice, and the value that orders the slices."""
    for title, column, digits in (
        ("By average odds", "ml_avg_odds", 1),
        ("By volume traded", "ml_avg_volume", 0),
        ("By age of the strategy, in windows seen", "windows_seen", 0),
    ):
        if column in test.frame:
            yield title, quartile_names(test.frame[column], digits=digits), test.frame[column]
    quarter = test.frame["decision_time"].dt.month.map(lambda month: (month % 12) // 3)
    yield "By part of the year of the decision", quarter.map(lambda position: QUARTERS[position]), quarter


def _strategies(results: FamilyResults) -> Section:
    predictions, stake = results.predictions, results.predictions[STAKE]
    return Section(
        "The next window",
        f"Of {len(predictions)} strategies still run at the end of {AsOf.parse(results.model.as_of)}, this model would "
        f"stake {int((stake > 0).sum())}, together {percent(float(stake.sum()))} of the bankroll.",
        tables=(
            _strategy_table("The ten to back", predictions[stake > 0].nlargest(SHOWN_STRATEGIES, STAKE)),
            _strategy_table("The ten to stop", predictions[stake == 0].nsmallest(SHOWN_STRATEGIES, "expected_return")),
        ),
    )


def _strategy_table(title: str, chosen: pd.DataFrame) -> Table:
    several_methods = len(set(chosen["method"])) > 1
    lines = tuple(
        (
            f"{row['strategy_id']} ({row['method']})" if several_methods else str(row["strategy_id"]),
            percent(row["probability"]),
            percent(row["expected_return"], 2, signed=True),
            decimal(row["confidence"], 2),
            percent(row[STAKE], 2),
        )
        for row in chosen.to_dict("records")
    )
    return Table(title, ("strategy", "probability", "expected return", "confidence", "stake"), lines)
