"""What must hold of a split before anything is trained on it, and how it looks over time."""

import pandas as pd

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL
from cleverbetter_dagster.dataset.schema import COMPOSITE_SCORE, END_DATE, ID, RUN_DATE
from cleverbetter_dagster.dataset.splits import PARTS
from cleverbetter_dagster.services.datasets import Dataset

LATE_RUN_DAYS = 31
MOST_BULK_ROWS = 0.05


def late_labels(dataset: Dataset) -> int:
    """Examples whose label was not known when it had to be: counted from the examples, not taken from the split's word.

    A training label must be known when validation starts, a validation label when the test starts, and every label
    before the as_of month ends.
    """
    parts = dataset.parts
    bounds = (
        (parts.train, parts.validation.decision_time.min()),
        (parts.validation, parts.test.decision_time.min()),
    )
    end = AsOf.parse(dataset.record.as_of).end
    late = sum(int((part.label_time > bound).sum()) for part, bound in bounds)
    return late + sum(int((part.label_time >= end).sum()) for part in (parts.train, parts.validation, parts.test))


def bulk_share(panel: pd.DataFrame) -> float:
    """Share of rows run more than `LATE_RUN_DAYS` after their window ended: a history backtested in bulk."""
    if panel.empty:
        return 0.0
    return float(((panel[RUN_DATE] - panel[END_DATE]) > pd.Timedelta(days=LATE_RUN_DAYS)).mean())


def timeline(dataset: Dataset) -> pd.DataFrame:
    """Examples by month of decision, as `evaluation.plots.split_timeline` draws them.

    Returns:
        One row per month with any example, ascending; counts in the columns `train`, `validation`, `test`, `purged`.
    """
    panel, parts = dataset.panel, dataset.parts
    part_of = pd.Series("purged", index=panel[ID])
    for name in PARTS:
        part_of[getattr(parts, name).ids] = name
    minimum = dataset.record.spec.min_composite_score
    is_example = panel[LABEL].notna()
    if minimum is not None:
        is_example &= panel[COMPOSITE_SCORE] >= minimum
    if parts.split.examples_from is not None:
        is_example &= panel[DECISION_TIME] >= parts.split.examples_from
    months = panel[DECISION_TIME].dt.tz_localize(None).dt.to_period("M").dt.to_timestamp().dt.tz_localize("UTC")
    counts = pd.crosstab(months[is_example], part_of.to_numpy()[is_example])
    return counts.reindex(columns=[*PARTS, "purged"], fill_value=0)
