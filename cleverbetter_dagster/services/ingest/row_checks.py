"""Checks of the rows of a month: quarantined rows, missing measurements, repeated windows."""

import pandas as pd

from cleverbetter_dagster.dataset.panel import WINDOW
from cleverbetter_dagster.dataset.schema import METRICS, market_columns, rows_frame, sentinel_mask
from cleverbetter_dagster.evaluation.checks import Check, CheckOutcome
from cleverbetter_dagster.services.ingest.loading import MonthLoad

MOST_UNMEASURED = 0.2
MOST_REPEATED = 0.05
SHOWN_COLUMNS = 5


def unmeasured_shares(rows: pd.DataFrame) -> pd.Series:
    """Share (0..1) of canonical rows without a measurement (missing, or a sentinel), by column, largest first.

    Covers each metric and market feature. Empty without rows.
    """
    if rows.empty:
        return pd.Series(dtype=float)
    shares = {
        column: float((rows[column].isna() | sentinel_mask(column, rows[column])).mean())
        for column in (*METRICS, *market_columns(rows.columns))
    }
    return pd.Series(shares).sort_values(ascending=False, kind="stable")


def repeated_windows(rows: pd.DataFrame) -> int:
    """Number of rows that repeat the strategy, method and window of an earlier row."""
    return int(rows.duplicated(WINDOW).sum())


def _plausible(load: MonthLoad) -> CheckOutcome:
    return CheckOutcome(
        passed=not load.quarantined,
        message=f"{load.quarantined} rows cannot be right and went to quarantine; {load.table.num_rows} were loaded.",
        facts={"quarantined_rows": load.quarantined},
    )


def _measured(load: MonthLoad) -> CheckOutcome:
    shares = unmeasured_shares(rows_frame(load.table))
    poor = shares[shares > MOST_UNMEASURED]
    named = ", ".join(f"{column} ({share:.0%})" for column, share in poor.items())
    return CheckOutcome(
        passed=poor.empty,
        message=f"More than {MOST_UNMEASURED:.0%} of the rows lack {named}."
        if len(poor)
        else f"Every column is measured in at least {1 - MOST_UNMEASURED:.0%} of the rows.",
        facts={"bound": MOST_UNMEASURED}
        | {f"unmeasured {column}": float(share) for column, share in shares.head(SHOWN_COLUMNS).items()},
    )


def _numeric(load: MonthLoad) -> CheckOutcome:
    counts = load.left_out.non_numeric
    return CheckOutcome(
        passed=not counts,
        message=f"Values of market features that are no numbers, so missing: {load.left_out.non_numeric_listed}."
        if counts
        else "Every value of every market feature is a number.",
        facts={f"no numbers in {name}": count.values for name, count in list(counts.items())[:SHOWN_COLUMNS]},
    )


def _once(load: MonthLoad) -> CheckOutcome:
    rows = rows_frame(load.table)
    repeated = repeated_windows(rows)
    share = repeated / len(rows) if len(rows) else 0.0
    return CheckOutcome(
        passed=share <= MOST_REPEATED,
        message=f"{repeated} of {len(rows)} rows ({share:.1%}) repeat a window; at most {MOST_REPEATED:.0%} may.",
        facts={"repeated_rows": repeated, "share": share, "bound": MOST_REPEATED},
    )


ROW_CHECKS = (
    Check[MonthLoad](
        "rows_are_plausible",
        "No row of the month went to quarantine.",
        "see the quarantined rows (`cleverbetter quarantine list`), repair them upstream, load again.",
        _plausible,
    ),
    Check[MonthLoad](
        "values_are_measured",
        f"No metric or market feature is missing or a sentinel (999 for no losing bet, -999 for not measured) in more "
        f"than {MOST_UNMEASURED:.0%} of a month's rows.",
        "repair what upstream computes; drop a feature that is rarely measured; filter low-quality results "
        "(min_composite_score), many of which have no losing bet.",
        _measured,
    ),
    Check[MonthLoad](
        "market_features_are_numbers",
        "Every value of every market feature of the month is a number, true or false.",
        "have upstream write numbers, or leave the feature as it is: a value that is no number is missing in its row.",
        _numeric,
    ),
    Check[MonthLoad](
        "windows_stand_once",
        f"At most {MOST_REPEATED:.0%} of a month's rows repeat the backtest of a window by the same method.",
        "only the latest run of a window counts; find out why upstream repeats backtests, and whether the runs agree.",
        _once,
    ),
)
