"""The SQL that bounds instants before Python sees them. Nothing here talks to a server.

PostgreSQL's instants run from 4714 BC to 294276, and to infinity on both sides. Python's end in 9999, months are made
for 1678 to 2261, and a row from outside the plausible range would choose a month that no partition has. So every query
that turns the end of a window into a month, or asks for the newest instant, reads plausible instants only. Rows whose
window ends outside that range belong to no month; `without_month` selects them.
"""

from collections.abc import Collection

import pandas as pd
from psycopg import sql

from cleverbetter_dagster.dataset.as_of import MONTH_CLOSES, AsOf
from cleverbetter_dagster.dataset.quality.rules import FUTURE, MISSING, RUN_LEEWAY, TOO_EARLY, WINDOW_LEEWAY
from cleverbetter_dagster.dataset.schema import EARLIEST, END_DATE, ID, METHOD
from cleverbetter_dagster.store.source.layout import Column, SourceLayout

_PLAUSIBLE = "({value} >= {earliest} AND {value} <= now() + {leeway} * interval '1 second')"

_WITHOUT_MONTH = """
SELECT r.{id}::text, r.{end}::text, CASE WHEN r.{end} IS NULL THEN {missing} WHEN r.{end} < {earliest} THEN {early}
    ELSE {future} END
FROM {results} r WHERE (r.{end} IS NULL OR NOT {plausible}) AND {backtest} ORDER BY 1, 2"""

# One subquery each, so that an index on the end of windows answers it.
_COUNTS = """
SELECT (SELECT count(*) FROM {results} r WHERE r.{end} IS NULL AND {backtest})
    + (SELECT count(*) FROM {results} r WHERE r.{end} < {earliest} AND {backtest})
    + (SELECT count(*) FROM {results} r WHERE r.{end} > now() + {leeway} * interval '1 second' AND {backtest}),
    (SELECT count(*) FROM {results} r WHERE r.{end} >= {earliest} AND r.{end} < {first} AND {backtest})"""

_LEFT_OUT = """
SELECT to_char(date_trunc('month', {month}), 'YYYY-MM'), {method}, count(*)
FROM {results} r WHERE {conditions} GROUP BY 1, 2 ORDER BY 1, 2"""

_FIRST = "SELECT min(r.{end}) FROM {results} r WHERE {has_month}"

_IDS = "SELECT r.{id}::text FROM {results} r WHERE {has_month} AND {from_start} AND {before_end}"

_UNDATED_FEATURES = """
SELECT count(*) FROM {features} f WHERE f.{time} IS NOT NULL AND NOT {plausible}"""


def month_instant(layout: SourceLayout) -> sql.Composable:
    """An instant in the calendar month that a row `r` belongs to, a timestamp in UTC without time zone.

    Use it within `has_month`.
    """
    instant = sql.Identifier("r", layout.window_end.name)
    zone = sql.SQL(" AT TIME ZONE 'UTC'" if layout.window_end.kind == "timestamptz" else "::timestamp")
    return sql.SQL("({}{} - {} * interval '1 second')").format(instant, zone, _seconds(MONTH_CLOSES))


def has_month(layout: SourceLayout) -> sql.Composable:
    """The condition that a row `r` is a backtest whose window ended in a plausible month: from 1990 to in a year."""
    return sql.SQL("({} AND {})").format(_ends_plausibly(layout), is_backtest(layout))


def is_backtest(layout: SourceLayout) -> sql.Composable:
    """The condition that the method of a row `r` is none of those left out. A row without a method is a backtest."""
    return sql.SQL("NOT {}").format(_is_left_out(layout)) if layout.left_out_methods else sql.SQL("true")


def left_out_rows(layout: SourceLayout, months: Collection[str] | None = None) -> sql.Composed:
    """Month, method and number of rows of the methods left out; of all months, or from the first to the last."""
    known = [AsOf.parse(month) for month in months] if months else []
    bounds = [(">=", min(known).start), ("<", max(known).end)] if known else []
    return sql.SQL(_LEFT_OUT).format(
        month=month_instant(layout),
        method=_method(layout),
        results=layout.results.identifier,
        conditions=sql.SQL(" AND ").join(
            [_ends_plausibly(layout), _is_left_out(layout), *(_end_is(layout, sign, at) for sign, at in bounds)]
        ),
    )


def first_window_end(layout: SourceLayout) -> sql.Composed:
    """The first end of a window in a plausible month; NULL without any."""
    return sql.SQL(_FIRST).format(**_names(layout), has_month=has_month(layout))


def ids_of_month(layout: SourceLayout, month: AsOf) -> sql.Composed:
    """The ids of the rows of a month."""
    return sql.SQL(_IDS).format(
        **_names(layout),
        id=sql.Identifier(layout.columns[ID].name),
        has_month=has_month(layout),
        from_start=_end_is(layout, ">=", month.start),
        before_end=_end_is(layout, "<", month.end),
    )


def _end_is(layout: SourceLayout, sign: str, at: pd.Timestamp) -> sql.Composed:
    end = layout.window_end
    return sql.SQL("r.{} {} {}").format(sql.Identifier(end.name), sql.SQL(sign), instant(at, end))


def _ends_plausibly(layout: SourceLayout) -> sql.Composable:
    return plausible(sql.Identifier("r", layout.window_end.name), layout.window_end, WINDOW_LEEWAY)


def _is_left_out(layout: SourceLayout) -> sql.Composable:
    left_out = sql.Literal([*layout.left_out_methods])
    return sql.SQL("coalesce({} = ANY ({}), false)").format(_method(layout), left_out)


def _method(layout: SourceLayout) -> sql.Composable:
    return sql.SQL("r.{}::text").format(sql.Identifier(layout.columns[METHOD].name))


def plausible(value: sql.Composable, column: Column, leeway: pd.Timedelta = RUN_LEEWAY) -> sql.Composable:
    """The condition that an instant is neither too early nor in the future; an index on the column helps."""
    return sql.SQL(_PLAUSIBLE).format(value=value, earliest=instant(EARLIEST, column), leeway=_seconds(leeway))


def plausible_or_null(value: sql.Composable, column: Column) -> sql.Composable:
    """The instant, NULL if it is not plausible: `infinity` would otherwise be the newest for ever."""
    return sql.SQL("CASE WHEN {} THEN {} END").format(plausible(value, column), value)


def without_month(layout: SourceLayout) -> sql.Composed:
    """Id, end of the window (as text) and the reason of each row that belongs to no month."""
    return sql.SQL(_WITHOUT_MONTH).format(
        **_names(layout),
        id=sql.Identifier(layout.columns[ID].name),
        plausible=_ends_plausibly(layout),
        missing=sql.Literal(f"{END_DATE} {MISSING}"),
        early=sql.Literal(f"{END_DATE} {TOO_EARLY}"),
        future=sql.Literal(f"{END_DATE} {FUTURE}"),
    )


def counts_without_month(layout: SourceLayout, first: pd.Timestamp) -> sql.Composed:
    """Number of rows that belong to no month, and of plausible rows before `first`, where the partitions start."""
    return sql.SQL(_COUNTS).format(
        **_names(layout), leeway=_seconds(WINDOW_LEEWAY), first=instant(first, layout.window_end)
    )


def count_undated_features(layout: SourceLayout) -> sql.Composed | None:
    """Number of features rows whose time is not plausible; None if the table has no time."""
    features = layout.features
    if features is None or features.computed_at is None:
        return None
    time = sql.Identifier("f", features.computed_at.name)
    return sql.SQL(_UNDATED_FEATURES).format(
        features=features.relation.identifier,
        time=sql.Identifier(features.computed_at.name),
        plausible=plausible(time, features.computed_at),
    )


def instant(at: pd.Timestamp, column: Column) -> sql.Composable:
    """A literal that can be compared with the column without a cast. Dates and naive instants are UTC."""
    kind = "timestamptz" if column.kind == "timestamptz" else "timestamp"
    utc = at.tz_convert("UTC")
    text = sql.Literal(str(utc if kind == "timestamptz" else utc.tz_localize(None)))
    return sql.SQL("({})::{}").format(text, sql.SQL(kind))


def _names(layout: SourceLayout) -> dict[str, sql.Composable]:
    return {
        "results": layout.results.identifier,
        "end": sql.Identifier(layout.window_end.name),
        "earliest": instant(EARLIEST, layout.window_end),
        "backtest": is_backtest(layout),
    }


def _seconds(leeway: pd.Timedelta) -> sql.Composable:
    return sql.Literal(int(leeway.total_seconds()))
