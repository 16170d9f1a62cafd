"""The checks of a split, before anything is trained on it; and its examples over time."""

import pandas as pd

from cleverbetter_dagster.dataset.as_of import AsOf, months_of
from cleverbetter_dagster.dataset.features import feature_columns
from cleverbetter_dagster.dataset.labels import DECISION_TIME
from cleverbetter_dagster.dataset.schema import COMPOSITE_SCORE, END_DATE, ID, RUN_DATE
from cleverbetter_dagster.dataset.selection import is_usable, live_rows, passes_filter
from cleverbetter_dagster.dataset.spec import GUIDE_MIN_EXAMPLES
from cleverbetter_dagster.dataset.splits import PARTS
from cleverbetter_dagster.evaluation.checks import Check, CheckOutcome
from cleverbetter_dagster.evaluation.drift import columns_stay, values_stay
from cleverbetter_dagster.evaluation.leaks import HIGHEST_FEATURE_AUC, strongest_feature
from cleverbetter_dagster.services.training.datasets import Dataset

LATE_RUN_DAYS = 31
MOST_BULK_ROWS = 0.05
SMALLEST_CLASS = 0.1
NEWEST_MONTHS = 3
"""Composite scores of the last months are compared with those of the months before."""

GROWS_WITH_TIME = ("windows_seen",)
"""A count of a strategy's windows: newer rows have more of them by its nature."""


def late_labels(dataset: Dataset) -> int:
    """Examples whose label was not known in time, counted from the examples themselves.

    A training label must be known when validation starts, a validation label when the test starts, and every label
    before the as_of month ends.
    """
    parts, end = dataset.parts, AsOf.parse(dataset.record.as_of).end
    late = _known_too_late(dataset, pd.Timedelta(0))
    return late + sum(int((part.label_time >= end).sum()) for part in (parts.train, parts.validation, parts.test))


def _known_too_late(dataset: Dataset, embargo: pd.Timedelta) -> int:
    """Labels of train and validation known less than `embargo` before the next part starts."""
    parts = dataset.parts
    neighbours = ((parts.train, parts.validation), (parts.validation, parts.test))
    return sum(int((part.label_time > then.decision_time.min() - embargo).sum()) for part, then in neighbours)


def bulk_share(panel: pd.DataFrame) -> float:
    """Share of rows run more than `LATE_RUN_DAYS` after their window ended: a history backtested in bulk."""
    if panel.empty:
        return 0.0
    return float(((panel[RUN_DATE] - panel[END_DATE]) > pd.Timedelta(days=LATE_RUN_DAYS)).mean())


def unpurged_labels(dataset: Dataset) -> int:
    """Examples that stand twice, and those whose label was known less than the embargo before the next part starts."""
    parts, embargo = dataset.parts, pd.Timedelta(days=dataset.record.spec.embargo_days)
    twice = pd.concat([parts.train.ids, parts.validation.ids, parts.test.ids]).duplicated().sum()
    return _known_too_late(dataset, embargo) + int(twice)


def newest_panel(dataset: Dataset) -> pd.DataFrame:
    """The newest row of every live strategy at the end of as_of that passes the quality filter."""
    live = live_rows(dataset.panel, AsOf.parse(dataset.record.as_of))
    return live[passes_filter(live, dataset.record.spec.min_composite_score)]


def timeline(dataset: Dataset) -> pd.DataFrame:
    """Examples by month of decision, as `evaluation.charts.rows.split_chart` draws them.

    Returns:
        One row per month with any example, ascending; counts in the columns `train`, `validation`, `test`, `purged`.
    """
    panel, parts = dataset.panel, dataset.parts
    part_of = pd.Series("purged", index=panel[ID])
    for name in PARTS:
        part_of[getattr(parts, name).ids] = name
    is_example = is_usable(panel, parts.split.min_composite_score, parts.split.examples_from)
    months = pd.DatetimeIndex(months_of(panel[DECISION_TIME]), tz="UTC")
    counts = pd.crosstab(months[is_example], part_of.to_numpy()[is_example])
    return counts.reindex(columns=[*PARTS, "purged"], fill_value=0)


def _enough(dataset: Dataset) -> CheckOutcome:
    usable, spec = dataset.record.split.usable_rows, dataset.record.spec
    return CheckOutcome(
        passed=usable >= spec.min_examples,
        message=f"{usable:,} usable examples; {spec.min_examples:,} are needed. {dataset.record.quarantine}".strip(),
        facts={"usable_examples": usable, "needed": spec.min_examples},
    )


def _no_late_label(dataset: Dataset) -> CheckOutcome:
    late = late_labels(dataset)
    return CheckOutcome(passed=not late, message=f"{late} labels were known too late.", facts={"late_labels": late})


def _purge_holds(dataset: Dataset) -> CheckOutcome:
    left, purged = unpurged_labels(dataset), dataset.record.split.purged_rows
    message = f"{purged} examples were purged; {left} more should have been."
    return CheckOutcome(passed=not left, message=message, facts={"unpurged": left, "purged": purged})


def _decision_times_agree(dataset: Dataset) -> CheckOutcome:
    share = bulk_share(dataset.panel)
    message = f"{share:.1%} of the rows were run more than {LATE_RUN_DAYS} days after their window ended."
    return CheckOutcome(
        passed=share <= MOST_BULK_ROWS, message=message, facts={"late_share": share, "bound": MOST_BULK_ROWS}
    )


def _no_leaking_feature(dataset: Dataset) -> CheckOutcome:
    return strongest_feature(dataset.parts.validation.X, dataset.parts.validation.y)


def _balanced(dataset: Dataset) -> CheckOutcome:
    parts = dataset.parts
    share = {name: float(getattr(parts, name).y.mean()) for name in PARTS}
    passed = all(SMALLEST_CLASS <= one <= 1 - SMALLEST_CLASS for one in share.values())
    listed = ", ".join(f"{one:.1%} of {name}" for name, one in share.items())
    message = f"Profitable next windows: {listed}; {SMALLEST_CLASS:.0%} to {1 - SMALLEST_CLASS:.0%} passes."
    return CheckOutcome(
        passed=passed, message=message, facts={f"profitable share of {name}": one for name, one in share.items()}
    )


def _features_stay(dataset: Dataset) -> CheckOutcome:
    newest = newest_panel(dataset)
    return columns_stay(dataset.parts.train.X, newest[feature_columns(newest)], GROWS_WITH_TIME)


def _composite_scores_stay(dataset: Dataset) -> CheckOutcome:
    panel = dataset.panel
    new = panel[DECISION_TIME] >= AsOf.parse(dataset.record.as_of).plus(1 - NEWEST_MONTHS).start
    month, score = months_of(panel[DECISION_TIME]).astype(str), panel[COMPOSITE_SCORE]
    what = f"composite scores of the last {NEWEST_MONTHS} months and of those before"
    outcome = values_stay(score[~new], score[new], what)
    means = {f"mean in {key}": float(mean) for key, mean in score.groupby(month).mean().tail(12).items()}
    return outcome.model_copy(update={"facts": outcome.facts | means})


def _stakes_fit(dataset: Dataset) -> CheckOutcome:
    threshold = dataset.record.spec.return_threshold
    return CheckOutcome(
        passed=threshold == 0,
        message=f"The label is a return above {threshold:g}; stakes are right for a return above 0 only.",
        facts={"return_threshold": threshold},
    )


SPLIT_CHECKS = (
    Check[Dataset](
        "enough_examples",
        f"At least min_examples ({GUIDE_MIN_EXAMPLES:,}) labelled rows, as the training guide asks.",
        "load more history, lower min_composite_score, or lower min_examples if a rough model is wanted anyway.",
        _enough,
        guards="training",
    ),
    Check[Dataset](
        "no_label_after_split",
        "Every label a part is fitted on was known when the next part starts, and before the as_of month ended.",
        "check for data leakage: materialise temporal_split again; if it stays, the split is broken.",
        _no_late_label,
        guards="training",
    ),
    Check[Dataset](
        "purge_holds",
        "No example is in two parts, and every label was known embargo_days before the next part starts.",
        "check for data leakage: materialise temporal_split again; if it stays, the purge is broken.",
        _purge_holds,
        guards="training",
    ),
    Check[Dataset](
        "no_feature_is_too_good_to_be_true",
        f"No single feature ranks the validation labels with an AUC above {HIGHEST_FEATURE_AUC}.",
        "check for data leakage: a value this high means a leak. Find out how that column knows the next window, and "
        "take it out of the market features.",
        _no_leaking_feature,
        guards="training",
    ),
    Check[Dataset](
        "stakes_fit_the_label",
        "return_threshold is 0: stakes take the model's probability for that of a return above 0.",
        "train with return_threshold 0 for stakes; a model of another threshold can be evaluated only.",
        _stakes_fit,
        guards="promotion",
    ),
    Check[Dataset](
        "classes_are_balanced",
        f"In every part between {SMALLEST_CLASS:.0%} and {1 - SMALLEST_CLASS:.0%} of the next windows are profitable.",
        "class imbalance makes for a low validation AUC: choose another return_threshold or min_composite_score, or "
        "load more history.",
        _balanced,
    ),
    Check[Dataset](
        "features_have_not_drifted",
        "No feature of the strategies' newest rows is distributed unlike the training rows' by a large effect.",
        "find out whether the market or upstream's computation changed; in the first case train on newer rows, in "
        "the second repair them.",
        _features_stay,
    ),
    Check[Dataset](
        "composite_scores_have_not_drifted",
        f"Composite scores of the last {NEWEST_MONTHS} months are distributed as those before.",
        "monitor composite scores: find out whether upstream's scoring changed, and choose min_composite_score anew.",
        _composite_scores_stay,
    ),
    Check[Dataset](
        "decision_times_agree",
        "run_date lies within a month of end_date for most rows.",
        "the history was backtested in bulk, and decision_time=run_date would order nothing: keep end_date.",
        _decision_times_agree,
    ),
)
"""If one that guards training fails, nothing is trained or promoted; a guard of promotion stops that only."""
