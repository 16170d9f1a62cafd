"""Monitors the champion of a month: drift since its training, and its predictions against their outcomes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.as_of import AsOf, months_of
from cleverbetter_dagster.dataset.labels import DECISION_TIME, NEXT_ROI
from cleverbetter_dagster.dataset.schema import COMPOSITE_SCORE
from cleverbetter_dagster.dataset.selection import passes_filter
from cleverbetter_dagster.dataset.spec import GUIDE_MIN_COMPOSITE_SCORE, DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition, apply_split
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.charts.probabilities import probability_chart, reliability_chart
from cleverbetter_dagster.evaluation.charts.rows import composite_chart
from cleverbetter_dagster.evaluation.drift import drift_of, drift_of_columns
from cleverbetter_dagster.evaluation.gate import PairedComparison, PromotionPolicy, compare
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.intervals.month_statistics import mean_statistic
from cleverbetter_dagster.evaluation.intervals.months import Months
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow, leaderboard_row
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.services.champion.manual_promotion import recorded_verdict
from cleverbetter_dagster.services.evaluation.scored_table import scored_rows
from cleverbetter_dagster.services.monitoring.past_predictions import BACKTEST_RETURN, closed_predictions, most_decayed
from cleverbetter_dagster.services.records import MonitoringRecord, SplitRecord
from cleverbetter_dagster.services.training.datasets import PanelOf
from cleverbetter_dagster.services.training.split_checks import GROWS_WITH_TIME
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.predictions import made_by
from cleverbetter_dagster.store.tracking.package import StrategyModel, load_model

BASE_RATE = "base_rate"
SHOWN_MONTHS = 36
SHOWN_FEATURES = 10


@dataclass(frozen=True)
class Monitoring:
    """The results of a month, and pictures as PNG by name."""

    record: MonitoringRecord
    pictures: dict[str, bytes]


def monitor(settings: Settings, panel_of: PanelOf, splits: Mapping[str, SplitRecord], as_of: AsOf) -> Monitoring:
    """Monitor the champion of `as_of` with what is known at the end of that month.

    Args:
        panel_of: what is known at the end of the month.
        splits: by as_of; the one of the champion's own month says which rows it learned from.

    Raises:
        DataError: the split of the champion's month is not stored.
    """
    champion = ledger.champion_at(settings, as_of.key)
    if champion is None:
        panel = panel_of(DatasetSpec())
        return Monitoring(MonitoringRecord(as_of=as_of.key, **_composite(panel, as_of)), _scores_picture(panel))
    if champion.as_of not in splits:
        raise DataError(
            f"The champion {champion} is as of {champion.as_of}, whose temporal_split is not stored, so the rows it "
            f"learned from are unknown. Materialise temporal_split of {champion.as_of} with its training's options."
        )
    model = load_model(settings, f"models:/{champion.family}/{champion.version}")
    panel = panel_of(model.spec)
    parts = apply_split(panel, splits[champion.as_of].split)
    closed = closed_predictions(settings, panel, as_of)
    own = made_by(closed, champion.model)
    record = MonitoringRecord(
        as_of=as_of.key,
        family=champion.family,
        version=champion.version,
        champion_as_of=champion.as_of,
        closed=_leaderboard_row("all champions", closed),
        own=_leaderboard_row(str(champion), own),
        decay=_mean_decay(closed),
        decayed=most_decayed(closed),
        **_composite(panel, as_of),
        **_drift(model, parts, _new_rows(panel, as_of, splits[champion.as_of]), AsOf.parse(champion.as_of)),
        **_lead(own, parts, champion.evidence),
    )
    pictures = _scores_picture(panel)
    if len(closed):
        past = scored_rows(closed)
        pictures["reliability of past predictions"] = png(reliability_chart(past))
        pictures["past predictions"] = png(probability_chart(past.label, past.probability))
    return Monitoring(record, pictures)


def _new_rows(panel: pd.DataFrame, as_of: AsOf, split: SplitRecord) -> pd.DataFrame:
    """Rows decided in the month that pass the champion's quality filter."""
    new = panel[panel[DECISION_TIME] >= as_of.start]
    return new[passes_filter(new, split.split.min_composite_score)]


def _composite(panel: pd.DataFrame, as_of: AsOf) -> dict[str, float | int | None]:
    rows = panel.loc[panel[DECISION_TIME] >= as_of.start, COMPOSITE_SCORE]
    score = rows.dropna()
    if score.empty:
        return {"rows": len(rows), "composite_median": None, "composite_below": None}
    return {
        "rows": len(rows),
        "composite_median": float(score.median()),
        "composite_below": float((score < GUIDE_MIN_COMPOSITE_SCORE).mean()),
    }


def _drift(model: StrategyModel, parts: Partition, new: pd.DataFrame, champion_as_of: AsOf) -> dict[str, object]:
    """Drift of the score since the champion's test rows (on rows it was fitted to it is surer), and of the features."""
    test = parts.test.frame[parts.test.label_time < champion_as_of.end]
    if new.empty or test.empty:
        return {}
    score = drift_of("score", *(model.fitted.predict_frame(rows)["score"] for rows in (test, new)))
    names = list(model.fitted.feature_names)
    learned = parts.past.frame.reindex(columns=names)
    features = drift_of_columns(learned, new, GROWS_WITH_TIME)
    importance = model.fitted.feature_importance()
    moved = [one.column for one in features if one.is_large]
    return {
        "drift_rows": len(new),
        "score_drift": score,
        "feature_drift": tuple(features[:SHOWN_FEATURES]),
        "moved_importance": float(importance.reindex(moved).sum() / (importance.sum() or 1.0)) if features else None,
    }


def _leaderboard_row(name: str, closed: pd.DataFrame) -> LeaderboardRow | None:
    return leaderboard_row(name, scored_rows(closed)) if len(closed) else None


def _mean_decay(closed: pd.DataFrame) -> Estimate | None:
    if closed.empty:
        return None
    months = Months(pd.DatetimeIndex(closed[DECISION_TIME]))
    return months.mean_interval(mean_statistic(months, closed[NEXT_ROI] - closed[BACKTEST_RETURN]))


def _lead(own: pd.DataFrame, parts: Partition, evidence: Mapping[str, object]) -> dict[str, object]:
    """The champion's loss minus the base rate's: on its closed predictions, and when it was promoted."""
    then = _promoted_comparison(evidence)
    if then is None:
        return {}
    lead: dict[str, object] = {"promoted_lead": then.difference}
    if len(own):
        rate = BASELINES[BASE_RATE].fit(parts.past).predict_proba(parts.test.X[:1])[0, 1]
        ours, theirs = scored_rows(own), scored_rows(own.assign(probability=np.full(len(own), rate)))
        lead["lead"] = compare(ours, theirs, BASE_RATE, PromotionPolicy(metric=then.metric)).difference
    return lead


def _promoted_comparison(evidence: Mapping[str, object]) -> PairedComparison | None:
    """None if a person promoted without a verdict, or another release recorded it."""
    verdict = recorded_verdict(evidence)
    return next((one for one in verdict.comparisons if one.against == BASE_RATE), None) if verdict else None


def _scores_picture(panel: pd.DataFrame) -> dict[str, bytes]:
    if panel.empty:
        return {}
    by_month = panel.groupby(months_of(panel[DECISION_TIME]).astype(str))[COMPOSITE_SCORE]
    composite = pd.DataFrame(
        {
            **{name: by_month.quantile(share) for name, share in (("low", 0.25), ("median", 0.5), ("high", 0.75))},
            "below": by_month.agg(lambda score: float((score < GUIDE_MIN_COMPOSITE_SCORE).mean())),
        }
    )
    return {"composite scores": png(composite_chart(composite.tail(SHOWN_MONTHS)))}
