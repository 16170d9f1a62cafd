"""Rows as a table, a file or PostgreSQL's CSV gives them to pandas, made canonical as the loader makes them."""

import json
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.quality.arrow_values import texts
from cleverbetter_dagster.dataset.quality.categories import LONGEST_CATEGORY, category_column
from cleverbetter_dagster.dataset.quality.conversion import canonical_types, gathered, violations_at
from cleverbetter_dagster.dataset.quality.left_out import non_numeric_of, total, without_infinite
from cleverbetter_dagster.dataset.quality.special_values import with_canonical_values
from cleverbetter_dagster.dataset.schema import (
    ALIASES,
    CATEGORY_PREFIX,
    COMPOSITE_SCORE,
    CREATED_AT,
    DATES,
    DEFAULT_METHOD,
    ID,
    JSON_FEATURES,
    MARKET_PREFIX,
    METHOD,
    METRICS,
    OPTIONAL,
    REQUIRED,
    ROI,
    STRATEGY,
    rows_frame,
)
from cleverbetter_dagster.errors import DataError

PART_OF_HISTORY = "part_of_history"
"""Parameter of MLflow's `predict` that lets fewer rows through than the model learned from."""

MOST_NAMED = 20
OWN_NAMES = frozenset(name for column in (*REQUIRED, *OPTIONAL) for name in ALIASES.get(column, (column,)))
"""Names of columns of backtest rows, which are no market features."""


def canonical_rows(rows: pd.DataFrame, market_features: Collection[str]) -> pd.DataFrame:
    """Raw rows under their canonical names and types, on a fresh index.

    Every value becomes what the loader makes of the same value in the database: texts of numbers and dates are read,
    market features also from a column without `ml_`, as the features table calls it, and from a JSON column. A market
    feature that is no finite number is missing, with a warning.

    Args:
        rows: in any order; not mutated.
        market_features: the columns `ml_...` to keep, and indicators such as `ml_country=AU`, for which the texts of
            `ml_country` are kept as `category_country`.

    Raises:
        DataError: a value cannot be read, or an id, a strategy or a date is missing; names row, column and value. Or
            there is neither a column of a market feature nor a JSON column; names the features.

    >>> rows = pd.DataFrame({"total_return": ["0.1"], "features": ['{"avg_odds": 3.5}']})
    >>> canonical_rows(rows, ["ml_avg_odds"]).to_dict("records")
    [{'method': '', 'roi': 0.1, 'ml_avg_odds': 3.5}]
    """
    alias = next((name for name in ALIASES[ROI] if name in rows.columns), ROI)
    frame = rows.rename(columns={alias: ROI}).reset_index(drop=True)
    if METHOD not in frame.columns:
        frame = frame.assign(**{METHOD: DEFAULT_METHOD})
    columns = {name: _arrow(frame[name]) for name in (*REQUIRED, CREATED_AT) if name in frame.columns}
    sources = _sources(frame, market_features)
    market = _market_columns(frame, list(dict.fromkeys(sources.values())))
    columns |= {name: _beginning(name, market[source]) for name, source in sources.items() if source in market}
    table, unread = canonical_types(pa.table(columns))
    table, infinite = without_infinite(table)
    unread, not_numbers = non_numeric_of(unread)
    if left_out := total([not_numbers, infinite]):
        warnings.warn(f"Market features that are no numbers are missing: {left_out.non_numeric_listed}", stacklevel=2)
    needed = [name for name in (ID, STRATEGY, *DATES) if name in columns]
    missing = [violations_at(table, name, table[name].is_null().to_numpy(), f"{name} is missing") for name in needed]
    _refuse(gathered([unread, *missing]))
    if all(name in table.column_names for name in (*METRICS, COMPOSITE_SCORE)):  # else the panel names what is missing
        table = with_canonical_values(table)
    return rows_frame(table)


def require_history(rows: pd.DataFrame, learned: int) -> None:
    """Refuse rows that cannot be all of the table, because the model learned from more.

    Raises:
        DataError: they are fewer than `learned`; names the strategies with the fewest windows.
    """
    if len(rows) >= learned:
        return
    strategies = rows[STRATEGY] if STRATEGY in rows.columns else pd.Series(dtype=object)
    windows = strategies.value_counts(ascending=True).head(MOST_NAMED)
    shortest = ", ".join(f"{strategy} ({count})" for strategy, count in windows.items())
    raise DataError(
        f"{len(rows):,} rows are not the whole history: the model learned from {learned:,}. What it knows of a "
        "strategy comes from its earlier windows, and from the rows of all other strategies: give all rows of the "
        f"table. Windows of the strategies with the fewest: {shortest or 'none'}. To score part of the history, with "
        f'other probabilities than the whole gives, pass params={{"{PART_OF_HISTORY}": True}}.'
    )


def _arrow(values: pd.Series) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError):  # values of several kinds
        return pa.array([None if missing else str(value) for value, missing in zip(values, values.isna(), strict=True)])


def _sources(frame: pd.DataFrame, market_features: Collection[str]) -> dict[str, str]:
    """Canonical name -> the column `ml_...` it is made of: of an indicator, the category."""
    sources = {}
    for name in market_features:
        category = None if name in frame.columns else category_column(name)
        sources[category or name] = MARKET_PREFIX + category.removeprefix(CATEGORY_PREFIX) if category else name
    return sources


def _beginning(name: str, values: Any) -> Any:
    """The values; of a category as many characters as the loader reads."""
    if not name.startswith(CATEGORY_PREFIX):
        return values
    chunked = pa.chunked_array([values]) if isinstance(values, pa.Array) else values
    return pc.utf8_slice_codeunits(texts(chunked), 0, LONGEST_CATEGORY)


def _market_columns(frame: pd.DataFrame, names: Collection[str]) -> dict[str, Any]:
    """The market features, each from its own column and else from a JSON column, row by row."""
    objects = [_objects(frame[name]) for name in JSON_FEATURES if name in frame.columns and name not in names]
    columns, absent = {}, []
    for name in names:
        key = name.removeprefix(MARKET_PREFIX)
        sources = [_arrow(frame[column]) for column in (name, bare_name(name)) if column in frame.columns]
        sources += [_arrow(each.map(lambda values, key=key: values.get(key))) for each in objects]
        present = [source for source in sources if not pa.types.is_null(source.type)]
        if sources:
            columns[name] = _first_known(present) if present else sources[0]
        else:
            absent.append(name)
    if absent:
        raise DataError(
            f"The rows lack {len(absent)} market features of the model: {', '.join(absent[:MOST_NAMED])}"
            f"{', ...' if len(absent) > MOST_NAMED else ''}. Give each as a column, with or without {MARKET_PREFIX}, "
            f"or all in a JSON column {' or '.join(map(repr, JSON_FEATURES))}; an empty column if nothing was measured."
        )
    return columns


def bare_name(market_feature: str) -> str | None:
    """The column of a market feature in the features table, unless backtest rows have one of that name.

    >>> bare_name("ml_avg_odds"), bare_name("ml_total_bets")
    ('avg_odds', None)
    """
    bare = market_feature.removeprefix(MARKET_PREFIX)
    return None if bare in OWN_NAMES else bare


def _first_known(sources: list[Any]) -> Any:
    """Per row the first value that is not missing. Values of several kinds are compared as texts."""
    if len(sources) == 1:
        return sources[0]
    chunked = [pa.chunked_array([source]) if isinstance(source, pa.Array) else source for source in sources]
    return pc.coalesce(*map(texts, chunked))


def _objects(column: pd.Series) -> pd.Series:
    """A JSON column as mappings; what is missing is an empty one."""
    parsed = [{} if missing else _object(value) for value, missing in zip(column, column.isna(), strict=True)]
    odd = next((position for position, value in enumerate(parsed) if value is None), None)
    if odd is not None:
        raise DataError(
            f"Row {odd + 1}: {column.name} is no JSON object, got {str(column.iloc[odd])[:80]!r}. Write "
            '{"avg_odds": 3.5}, or leave it empty.'
        )
    return pd.Series(parsed, dtype=object)


def _object(value: object) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    try:
        parsed = json.loads(str(value), parse_float=str, parse_int=str, parse_constant=str)  # digits, as the loader
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _refuse(violations: pd.DataFrame) -> None:
    if violations.empty:
        return
    first = violations.iloc[0]
    more = f" (the first of {len(violations)} such values)" if len(violations) > 1 else ""
    raise DataError(
        f"Row {first['position'] + 1}, id {first['id']!r}: {first['reason']}; got {first['value']!r}{more}."
    )
