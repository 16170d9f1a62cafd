"""The rules for rows that cannot be right, over whole columns, without I/O.

The store applies them once, when rows come in, and quarantines the others. All code above relies on what `examine`
returns.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.quality.contradictions import OwnCapital, Rule, contradictions
from cleverbetter_dagster.dataset.quality.conversion import canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.quality.special_values import floats, with_canonical_values
from cleverbetter_dagster.dataset.quality.unit_evidence import UnitEvidence
from cleverbetter_dagster.dataset.schema import (
    BOUNDS,
    COMPARED,
    CREATED_AT,
    DATES,
    EARLIEST,
    END_DATE,
    ID,
    MARKET_SENTINELS,
    MAX_DRAWDOWN,
    METHOD,
    NO_DENOMINATOR,
    OPTIONAL,
    PROFIT_FACTOR,
    REQUIRED,
    ROI,
    RUN_DATE,
    START_DATE,
    TOTAL_BETS,
    UNDEFINED_AT_TIMES,
    UNDEFINED_WITHOUT_BETS,
)

RUN_LEEWAY = pd.Timedelta(days=1).as_unit("us")
"""A backtest cannot have run in the future, but clocks and time zones differ."""

WINDOW_LEEWAY = pd.Timedelta(days=366).as_unit("us")
"""A window may end after today if a backtest names a whole period by its last day, but never by years."""

MISSING = "is missing: every row needs it"
TOO_EARLY = f"is before {EARLIEST.year}: no exchange existed then"
FUTURE = "is in the future: no backtest can know it"
"""Reasons, which follow the name of a column."""

MAY_BE_NAN = (*OPTIONAL, *COMPARED)
"""Numbers that a row may lack; pandas writes NaN for them."""


def examine(
    table: pa.Table, now: pd.Timestamp, unreadable: pd.DataFrame | None = None
) -> tuple[pa.Table, pd.DataFrame]:
    """The rows that can be right, in canonical types and their order, and every reason why the others cannot.

    In the returned rows no required value is missing (see `schema.REQUIRED`), every number is finite or missing, dates
    are in order and plausible, `schema.BOUNDS` hold (except where the capital says that more than everything was lost),
    no value contradicts its row, and no id occurs twice. Special values have the forms of `special_values`. Of rows
    identical in every column the first is returned; that is no violation. A column that is in other units in most
    rows is a violation in every row: to keep the few whose value could be right would choose them by their outcome.

    Args:
        table: columns with canonical names, of any Arrow type, among them every name of `schema.REQUIRED`. The rows
            are judged together: those of a month, for instance.
        now: UTC instant; later dates are in the future.
        unreadable: violations that were found when the table was read.

    Returns:
        The rows, and a frame of `conversion.VIOLATION_COLUMNS` with at most one violation for each cell.
    """
    rows, violations = find_violations(table, now)
    evidence = UnitEvidence()
    evidence.add(rows)
    repeated, conflicting = _sharing_an_id(rows)
    reason = "id occurs more than once with different content: keep the right one"
    known = [] if unreadable is None else [unreadable]
    doubted = [
        violations_at(rows, doubt.column, rows[doubt.column].is_valid().to_numpy(), f"{doubt.column} {doubt.in_table}")
        for doubt in evidence.doubts()
    ]
    violations = gathered([*known, violations, *doubted, violations_at(rows, ID, conflicting, reason)])
    good = ~repeated
    good[violations["position"].to_numpy(dtype=int)] = False
    right = rows if good.all() else rows.filter(pa.array(good))
    return with_canonical_values(right), violations


def first_due(violations: pd.DataFrame) -> datetime | None:
    """When the first row can be right whose only violations are dates in the future; None without such rows.

    Args:
        violations: all that `examine` returned.

    >>> wrong = ["run_date is in the future: no backtest can know it"]
    >>> columns = {"position": [0], "column": ["run_date"], "value": ["2030-01-05 06:00:00Z"], "reason": wrong}
    >>> first_due(pd.DataFrame(columns))
    Timestamp('2030-01-04 06:00:00+0000', tz='UTC')
    """
    if violations.empty:
        return None
    future = violations["reason"].str.endswith(FUTURE)
    waiting = violations[future & ~violations["position"].isin(violations.loc[~future, "position"])]
    if waiting.empty:
        return None
    texts = pa.table({CREATED_AT: pa.array(waiting["value"], pa.string())})
    instants, _ = canonical_types(texts)  # pandas reads years to 2262 only
    leeways = waiting["column"].map(_leeway).dt.as_unit("us")
    right_at = instants[CREATED_AT].to_pandas().set_axis(waiting.index) - leeways
    return right_at.groupby(waiting["position"]).max().min()


def find_violations(
    table: pa.Table, now: pd.Timestamp, left_out_methods: Sequence[str] = ()
) -> tuple[pa.Table, pd.DataFrame]:
    """All rows in canonical types with their values as they are, and their violations.

    The rules are those of `examine`, except those on ids and on all rows together. Of rows of the methods left out,
    which are no backtests, only the dates are judged.
    """
    rows, unreadable = canonical_types(table)
    capital, judged = OwnCapital(rows), ~of_methods(rows, left_out_methods)
    metrics = chain(_missing(rows), _numbers(rows, capital), contradictions(rows, capital))
    rules = chain(((column, mask & judged, reason) for column, mask, reason in metrics), _dates(rows, now))
    violations = [violations_at(rows, column, mask, f"{column} {reason}") for column, mask, reason in rules]
    return rows, gathered([unreadable, *violations])


def of_methods(rows: pa.Table, methods: Sequence[str]) -> np.ndarray:
    """Which canonical rows have one of the methods, bool[n]."""
    found = pc.is_in(rows[METHOD], pa.array(methods, pa.string()))
    return found.to_numpy()


def implausible_instants(table: pa.Table, column: str, now: pd.Timestamp) -> pd.DataFrame:
    """The violations of one column of UTC instants: too early, or in the future."""
    rules = _implausible(column, table[column].to_numpy(), now)
    return gathered([violations_at(table, name, mask, f"{name} {reason}") for name, mask, reason in rules])


def _missing(table: pa.Table) -> Iterator[Rule]:
    bet = floats(table, TOTAL_BETS) != 0
    for column in REQUIRED:
        if column in (METHOD, *UNDEFINED_AT_TIMES) or not table[column].null_count:
            continue
        missing = table[column].is_null().to_numpy()
        if column in UNDEFINED_WITHOUT_BETS:
            yield column, missing & bet, "is missing: every row with a bet has it"
        else:
            yield column, missing, MISSING


def _numbers(table: pa.Table, capital: OwnCapital) -> Iterator[Rule]:
    bets = floats(table, TOTAL_BETS)
    for column in table.column_names:
        if not pa.types.is_floating(table[column].type) or column in UNDEFINED_AT_TIMES:
            continue
        values = table[column].to_numpy()
        written_nan = pc.is_nan(table[column]).fill_null(False).to_numpy()
        if column in UNDEFINED_WITHOUT_BETS:
            written_nan &= bets != 0
        elif column in MAY_BE_NAN:
            written_nan[:] = False
        yield column, written_nan | np.isinf(values), "is NaN or infinite: write the number that was measured"
    for column, bounds in BOUNDS.items():
        values = floats(table, column)
        outside = (values < bounds.low) | ((values > bounds.high) & np.isfinite(values))
        if column in (ROI, MAX_DRAWDOWN):
            outside &= ~capital.confirms_ruin
        if column == PROFIT_FACTOR:
            outside &= np.isfinite(values) & ~np.isin(values, (NO_DENOMINATOR, *MARKET_SENTINELS))
        yield column, outside, f"must be {bounds}: it is {bounds.meaning}"
    yield TOTAL_BETS, (bets != np.floor(bets)) & np.isfinite(bets), "must be a whole number: it is a count of bets"


def _dates(table: pa.Table, now: pd.Timestamp) -> Iterator[Rule]:
    instants = {column: table[column].to_numpy() for column in (*DATES, CREATED_AT) if column in table.column_names}
    for column, instant in instants.items():
        yield from _implausible(column, instant, now)
    start = instants[START_DATE]
    yield END_DATE, instants[END_DATE] < start, "is before start_date: a window ends after it starts"
    yield RUN_DATE, instants[RUN_DATE] < start, "is before start_date: nothing was there to backtest yet"


def _implausible(column: str, instants: np.ndarray, now: pd.Timestamp) -> Iterator[Rule]:
    yield column, instants < _numpy_instant(EARLIEST), TOO_EARLY
    yield column, instants > _numpy_instant(now + _leeway(column)), FUTURE


def _leeway(column: str) -> pd.Timedelta:
    return WINDOW_LEEWAY if column == END_DATE else RUN_LEEWAY


def _sharing_an_id(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the rows that repeat an earlier row, and of those whose id has several contents."""
    repeated, conflicting = np.zeros((2, table.num_rows), dtype=bool)
    ids = table[ID]
    if pc.count_distinct(ids).as_py() < len(ids) - ids.null_count:  # counting first is cheap in the usual case
        series = ids.to_pandas()
        positions = np.flatnonzero(series.duplicated(keep=False) & series.notna())
        frame = table.take(positions).to_pandas()
        repeated[positions] = frame.duplicated()
        versions = frame.drop_duplicates().groupby(ID).size()
        conflicting[positions] = frame[ID].isin(versions.index[versions > 1])
    return repeated, conflicting


def _numpy_instant(instant: pd.Timestamp) -> np.datetime64:
    # In the unit of the rows: numpy compares in the finer unit, and nanoseconds wrap around in 2262.
    return instant.tz_convert("UTC").tz_localize(None).as_unit("us").to_datetime64()
