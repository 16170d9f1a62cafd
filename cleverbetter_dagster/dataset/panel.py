"""Panels: the rows known at a moment, with their labels and features. Every later step works on a panel."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.features import add_features, feature_columns
from cleverbetter_dagster.dataset.labels import DECISION_TIME, outcomes
from cleverbetter_dagster.dataset.schema import (
    CREATED_AT,
    DATES,
    EARLIEST,
    END_DATE,
    ID,
    METHOD,
    REQUIRED,
    RUN_DATE,
    START_DATE,
    STRATEGY,
    category_columns,
)
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError

SEQUENCE = [STRATEGY, METHOD]
"""Rows with equal values here are one sequence in time. Histories and labels stay within a sequence."""

WINDOW = [*SEQUENCE, START_DATE, END_DATE]
"""Rows with equal values here are runs of one window."""

ORDER = [DECISION_TIME, STRATEGY, START_DATE, ID]


def build_panel(rows: pd.DataFrame, as_of_end: pd.Timestamp | None, spec: DatasetSpec) -> pd.DataFrame:
    """One row per window known before `as_of_end`, with labels and features.

    With decisions at `end_date`, later rows never change a row after its decision time, nor a label after its label
    time. With `run_date` this holds for panels of the same `as_of_end`, but not between panels: a later panel holds
    only the latest run of a window, so the earlier run is missing from the history of rows decided between the two.

    Args:
        rows: canonical rows (dataset.schema) in any order; not mutated.
        as_of_end: exclusive bound on the decision time, timezone-aware; None takes every row.
        spec: for the decision time and the return threshold. The quality filter is not applied here: it chooses
            examples later, because labels and histories need the full sequence.

    Returns:
        A frame on a fresh index, sorted by (decision_time, strategy_id, start_date, id): the canonical
        columns, then `decision_time`, the outcome columns of `dataset.labels` and the features of
        `dataset.features`. Every label was known before `as_of_end`, since only rows known by then can be a next
        window.

    Raises:
        DataError: columns are missing, an id is repeated, or dates carry no timezone.
    """
    labelled = labelled_windows(rows, as_of_end, spec)
    return add_features(labelled, _sequence_codes(labelled))


def labelled_windows(rows: pd.DataFrame, as_of_end: pd.Timestamp | None, spec: DatasetSpec) -> pd.DataFrame:
    """As `build_panel`, without features: so it may be given the rows of some strategies only."""
    panel = _known_windows(_decided_rows(rows, spec), as_of_end)
    return panel.assign(**outcomes(panel, _sequence_codes(panel), spec.return_threshold))


def feature_frame(rows: pd.DataFrame, spec: DatasetSpec) -> pd.DataFrame:
    """Features of raw rows, on the same index.

    History and population come from `rows` alone: give the whole history, not only the rows to be scored. If a window
    was run more than once, each of its runs gets the features of the latest.

    Returns:
        Frame of `feature_columns`, float64, on `rows.index`; and the categories of the rows, texts.

    Raises:
        DataError: as `build_panel`.
    """
    decided = _decided_rows(rows, spec)
    panel = _known_windows(decided, None)
    featured = add_features(panel, _sequence_codes(panel))
    windows = pd.MultiIndex.from_frame(panel[WINDOW])
    positions = windows.get_indexer(pd.MultiIndex.from_frame(decided[WINDOW]))
    columns = [*feature_columns(featured), *category_columns(featured.columns)]
    return featured[columns].take(positions).set_axis(rows.index)


def _decided_rows(rows: pd.DataFrame, spec: DatasetSpec) -> pd.DataFrame:
    missing = [column for column in REQUIRED if column not in rows.columns]
    if missing:
        raise DataError(f"Rows lack {', '.join(missing)}; give canonical rows with {', '.join(REQUIRED)}.")
    if not rows[ID].is_unique:
        repeated = rows.loc[rows[ID].duplicated(), ID].iloc[0]
        raise DataError(f"Id {repeated!r} occurs more than once; drop or repair the copies, ids are unique.")
    naive = [date for date in DATES if getattr(rows[date].dtype, "tz", None) is None]
    if naive:
        raise DataError(
            f"{', '.join(naive)} carry no timezone; localise them, for example with .dt.tz_localize('UTC')."
        )
    dates = {date: rows[date].dt.tz_convert("UTC").dt.as_unit("us") for date in DATES}
    return rows.assign(**dates, **{DECISION_TIME: dates[spec.decision_time]})


def _known_windows(rows: pd.DataFrame, as_of_end: pd.Timestamp | None) -> pd.DataFrame:
    """The latest run of every window decided before `as_of_end`, in canonical order and on a fresh index."""
    known = rows if as_of_end is None else rows[rows[DECISION_TIME] < as_of_end]
    runs = _sorted_positions(_run_keys(known))
    superseded = known[WINDOW].take(runs).duplicated(keep="last").to_numpy()
    latest = runs[~superseded]
    ordered = latest[_sorted_positions(known[ORDER].take(latest))]
    return known.take(ordered).reset_index(drop=True)


def _run_keys(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns that order the runs of a window: the later run counts, then the row written later."""
    if CREATED_AT not in rows.columns:
        return rows[[RUN_DATE, ID]]
    return rows[[RUN_DATE, CREATED_AT, ID]].fillna({CREATED_AT: EARLIEST})


def _sorted_positions(keys: pd.DataFrame) -> np.ndarray:
    """Positions that sort the rows of `keys`. With Arrow, since pandas takes 15 times as long for texts."""
    table = pa.Table.from_pandas(keys, preserve_index=False)
    return pc.sort_indices(table, sort_keys=[(column, "ascending") for column in keys.columns]).to_numpy()


def _sequence_codes(panel: pd.DataFrame) -> np.ndarray:
    return panel.groupby(SEQUENCE, sort=False).ngroup().to_numpy()
