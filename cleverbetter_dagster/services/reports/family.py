"""What the report on one family at one as_of says."""

from dataclasses import dataclass

import pandas as pd

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
from cleverbetter_dagster.evaluation.intervals.bootstrap import BootstrapSpec
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow, rank_models
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.metrics.shapley import shapley_values
from cleverbetter_dagster.evaluation.report.view import Number, Report, Section, Table, with_interval
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.slices import SEASONS, Slice, quartile_names, sliced
from cleverbetter_dagster.evaluation.texts import decimal, percent
from cleverbetter_dagster.learning.model import PROBABILITY, FittedModel
from cleverbetter_dagster.services.checks import broken_guards
from cleverbetter_dagster.services.evaluation.checks import MODEL_CHECKS
from cleverbetter_dagster.services.records import ChampionRecord, EvaluatedModel
from cleverbetter_dagster.services.reports.parts import decision_of, leaderboard_section, provenance, reproduction
from cleverbetter_dagster.services.training.datasets import Dataset

SLICE_RESAMPLES = 400
SHOWN_STRATEGIES = 10

_SLICED = (
    "The test rows cut by what was known when they were decided. Slices of fewer than 30 rows are left out; of a "
    "single month there is no interval, and so no figure."
)


@dataclass(frozen=True)
class Judged:
    """A judged model with everything its report is made from.

    Attributes:
        scored: the test rows as the model, first, and every baseline scored them.
        outlook: what the model says of every live strategy (`services.scoring.predict`).
        decision: what became of the challenger of its as_of; None where nobody decided.
    """

    model: EvaluatedModel
    fitted: FittedModel
    dataset: Dataset
    scored: dict[str, ScoredRows]
    outlook: pd.DataFrame
    decision: ChampionRecord | None


def family_report(judged: Judged, bootstrap: BootstrapSpec) -> Report:
    """The report on a judged model."""
    model = judged.model
    leaderboard = rank_models(judged.scored, bootstrap)
    own = next(row for row in leaderboard if row.name == model.family)
    broken = broken_guards(MODEL_CHECKS, judged.scored[model.family])
    said = decision_of(judged.decision, model, leaderboard, broken)
    return Report(
        title=f"{model.family} v{model.version}",
        subtitle=f"Evaluation as of {model.as_of}",
        verdict=said.verdict,
        tone=said.tone,
        summary=said.summary,
        reasons=said.reasons,
        sections=(
            _figures(own),
            leaderboard_section(leaderboard, model.family),
            _probabilities(judged),
            _money(judged),
            _importance(judged),
            _slices(judged, bootstrap),
            _strategies(judged),
        ),
        provenance=provenance(model, judged.dataset.record),
        command=reproduction([model], judged.dataset.record),
    )


def _figures(row: LeaderboardRow) -> Section:
    return Section(
        "The figures",
        f"On {row.n_rows:,} test rows of {row.n_months} months, which the model never saw. Below each figure its 95% "
        "interval, by resampling whole months, since strategies bet on the same races.",
        numbers=(
            with_interval("ROC AUC", row.roc_auc),
            with_interval("Brier score", row.brier, 4),
            with_interval("Log loss", row.log_loss, 4),
            with_interval("Calibration error", row.calibration_error),
            with_interval("Return on stakes", row.roi, as_percent=True),
            with_interval("Growth of the bankroll", row.growth, as_percent=True),
            with_interval("Sharpe ratio, a year", row.sharpe_ratio, 2),
            with_interval("Deepest drawdown", row.max_drawdown, as_percent=True),
        ),
    )


def _probabilities(judged: Judged) -> Section:
    rows = judged.scored[judged.model.family]
    text = "Whether a stated probability can be taken at its word, and how well it tells profitable windows apart."
    return Section(
        "Probabilities",
        text,
        charts=(
            reliability_chart(rows.label, rows.probability),
            probability_chart(rows.label, rows.probability),
            roc_chart(judged.scored),
            precision_recall_chart(judged.scored),
        ),
    )


def _money(judged: Judged) -> Section:
    allocations = {name: allocation_of(rows) for name, rows in judged.scored.items()}
    own = allocations[judged.model.family]
    metrics = own.metrics
    return Section(
        "Money",
        "What the stakes would have earned on the test rows. The returns are those of the backtests, commission "
        "deducted; nothing is assumed about how large a bet the market would have taken.",
        numbers=(
            Number("Stakes placed", f"{metrics.n_bets:,}", "windows with a stake above 0"),
            Number("Windows won", percent(metrics.win_rate), "of those staked"),
            Number("Profit factor", decimal(metrics.profit_factor, 2), "gains over losses"),
            Number("Final bankroll", decimal(own.final_bankroll), "start = 1"),
        ),
        charts=(bankroll_chart(allocations), drawdown_chart(judged.model.family, own)),
    )


def _importance(judged: Judged) -> Section:
    parts = judged.dataset.parts
    values, asked = shapley_values(
        lambda X: judged.fitted.predict_frame(X)[PROBABILITY].to_numpy(),
        parts.train.X,
        parts.test.X,
        judged.model.seed,
    )
    text = (
        "How far each feature moves the probability of single rows away from the average. It describes the model, not "
        "the world: of two features that say the same, either may get the credit."
    )
    return Section("What it goes by", text, charts=(impact_chart(values, asked),))


def _slices(judged: Judged, bootstrap: BootstrapSpec) -> Section:
    rows = judged.scored[judged.model.family]
    spec = bootstrap.model_copy(update={"resamples": min(SLICE_RESAMPLES, bootstrap.resamples)})
    tables = tuple(
        _slice_table(title, sliced(rows, names.tolist(), _in_order(names, by), spec))
        for title, names, by in _cuts(judged.dataset.parts.test)
    )
    return Section("Where it is good, and where not", _SLICED, tables=tables)


def _cuts(test: Examples) -> list[tuple[str, pd.Series, pd.Series]]:
    """Title, name of each row's slice, and the value that orders the slices."""
    frame = test.frame
    quarters = {
        "By average odds": ("ml_avg_odds", 1),
        "By volume traded": ("ml_avg_volume", 0),
        "By age of the strategy, in windows seen": ("windows_seen", 0),
    }
    cuts = [
        (title, quartile_names(frame[column], digits=digits), frame[column])
        for title, (column, digits) in quarters.items()
        if column in frame
    ]
    month = frame["decision_time"].dt.month
    seasons = month.map(SEASONS)
    return [*cuts, ("By season of the decision (southern)", seasons, month.map(lambda m: (m % 12) // 3))]


def _in_order(names: pd.Series, by: pd.Series) -> list[str]:
    """Names of the slices, in the order of the values they were cut by."""
    return list(dict.fromkeys(names.loc[by.sort_values(kind="stable").index]))


def _slice_table(title: str, slices: list[Slice]) -> Table:
    headings = ("", "rows", "profitable", "stated", "AUC", "return on stakes")
    lines = tuple(
        (
            one.name,
            f"{one.row.n_rows:,}",
            percent(one.profitable),
            percent(one.stated),
            with_interval("", one.row.roc_auc, 2),
            with_interval("", one.row.roi, as_percent=True),
        )
        for one in slices
    )
    return Table(title, headings, lines)


def _strategies(judged: Judged) -> Section:
    outlook = judged.outlook
    backed = outlook[outlook["recommended_stake"] > 0].nlargest(SHOWN_STRATEGIES, "recommended_stake")
    stopped = outlook[outlook["recommended_stake"] == 0].nsmallest(SHOWN_STRATEGIES, "expected_return")
    staked = outlook["recommended_stake"]
    return Section(
        "The next window",
        f"Of {len(outlook)} strategies still run at the end of {AsOf.parse(judged.model.as_of)}, this model would "
        f"stake {int((staked > 0).sum())}, together {percent(float(staked.sum()))} of the bankroll.",
        tables=(
            _strategy_table("The ten it would back", backed),
            _strategy_table("The ten it would stop", stopped),
        ),
    )


def _strategy_table(title: str, chosen: pd.DataFrame) -> Table:
    methods = len(set(chosen["method"])) > 1
    headings = ("strategy", "probability", "expected return", "confidence", "stake")
    lines = tuple(
        (
            str(row["strategy_id"]) + (f" ({row['method']})" if methods else ""),
            percent(row["probability"]),
            percent(row["expected_return"], 2, signed=True),
            decimal(row["confidence"], 2),
            percent(row["recommended_stake"], 2),
        )
        for row in chosen.to_dict("records")
    )
    return Table(title, headings, lines)
