"""The SQL that finds what changed in the two tables, by month of window end. Nothing here talks to a server.

Only rows whose window ended in a plausible month count; `instants` selects the others.

`digests` reads content and finds every difference. `versions` and `recent` read which transaction wrote a row (`xmin`)
instead. `versions` reads all rows, much faster than their content; `recent` reads only rows that arrived lately, so it
costs the same in a large table as in a small one.
"""

from collections.abc import Collection, Iterator, Mapping

from psycopg import sql

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.schema import CREATED_AT, ID
from cleverbetter_dagster.store.source.instants import has_month, instant, month_instant
from cleverbetter_dagster.store.source.layout import INSTANTS, NUMBERS, WORDS, Column, SourceLayout
from cleverbetter_dagster.store.source.row_query import joined_on

HASHABLE = {*NUMBERS, *INSTANTS, *WORDS, "bool", "jsonb", "uuid"} - {"citext"}
"""Types that PostgreSQL can hash; values of others are hashed as text."""

# Each table is summed on its own, so that several features rows of one result do not count the result twice. Sums of
# hashes do not depend on the order of the rows, and unlike XOR they notice a row that occurs twice.
_DIGESTS = """
SELECT to_char(month, 'YYYY-MM'), sum(n)::bigint, sum(content)::text
FROM ({parts}) x GROUP BY month ORDER BY month"""

_RESULTS_PART = """
SELECT date_trunc('month', {instant}) AS month, count(*) AS n, sum(hash_record_extended(ROW({content}), 0)) AS content
FROM {results} r WHERE {has_month} {within} GROUP BY 1"""

_FEATURES_PART = """
SELECT date_trunc('month', {instant}), 0, sum(hash_record_extended(ROW({content}), 1))
FROM {results} r JOIN {features} f ON {key} = {id} WHERE {has_month} {within} GROUP BY 1"""

_VERSIONS = """
SELECT to_char(month, 'YYYY-MM'), versions::text
FROM (SELECT date_trunc('month', {instant}) AS month, sum(hash_record_extended(ROW({xmins}), 0)) AS versions
      FROM {results} r {join} WHERE {has_month} {within} GROUP BY 1) x"""

# `age` counts transactions back from now, correctly across a wrap-around of the 32 bits of `xmin`. It is negative for
# rows older than half of all ids (see `_age`).
_RECENT = """
SELECT to_char(month, 'YYYY-MM'), count(DISTINCT id), sum(versions)::text
FROM (SELECT date_trunc('month', {instant}) AS month, r.{id} AS id, {ages} AS age,
          hash_record_extended(ROW(r.{id}, {xmins}), 0) AS versions
      FROM {results} r {join} WHERE {has_month} {within} {recent}) x
LEFT JOIN unnest({months}::text[], {watermarks}::text[]) AS known (key, own) ON key = to_char(month, 'YYYY-MM')
WHERE (coalesce(own, {default}::text) IS NULL OR age <= age(coalesce(own, {default}::text)::xid))
GROUP BY month ORDER BY month"""

_RECENT_MONTHS = """
SELECT DISTINCT to_char(month, 'YYYY-MM')
FROM (SELECT date_trunc('month', {instant}) AS month FROM {results} r WHERE {has_month} {recent}) x ORDER BY 1"""

_MONTHS_SINCE = """
SELECT DISTINCT to_char(month, 'YYYY-MM')
FROM (SELECT date_trunc('month', {instant}) AS month FROM {results} r WHERE {has_month} AND {condition}) x"""


def digests(layout: SourceLayout, months: Collection[str] | None) -> sql.Composed:
    """Month, rows, and sum of hashes of everything that is loaded of a row and its features; of `months`, or of all."""
    content = [_hashable("r", column) for column in (*layout.columns.values(), layout.embedded) if column]
    common = {
        "instant": month_instant(layout),
        "has_month": has_month(layout),
        "results": layout.results.identifier,
        "within": _within(layout, months),
    }
    parts = [sql.SQL(_RESULTS_PART).format(**common, content=sql.SQL(", ").join(content))]
    if features := layout.features:
        columns = (features.key, features.computed_at, features.json, *features.wide, *features.texts)
        content = [_hashable("f", column) for column in columns if column]
        row_id, key = joined_on(layout, features)
        names = {"features": features.relation.identifier, "id": row_id, "key": key}
        parts.append(sql.SQL(_FEATURES_PART).format(**common, **names, content=sql.SQL(", ").join(content)))
    return sql.SQL(_DIGESTS).format(parts=sql.SQL(" UNION ALL ").join(parts))


def versions(layout: SourceLayout, months: Collection[str] | None) -> sql.Composed:
    """Month, and sum of hashes of the transactions that wrote its rows and features, and of their partitions."""
    return sql.SQL(_VERSIONS).format(
        instant=month_instant(layout),
        xmins=sql.SQL("r.tableoid, r.xmin, f.tableoid, f.xmin" if layout.features else "r.tableoid, r.xmin"),
        results=layout.results.identifier,
        join=_features_joined(layout),
        has_month=has_month(layout),
        within=_within(layout, months),
    )


def recent(
    layout: SourceLayout, watermarks: Mapping[str, int], default_watermark: int | None, days: int | None
) -> sql.Composed:
    """Month, rows and sum of hashes of the rows written, or whose features were written, since a watermark.

    Args:
        watermarks: transaction id (64 bits) by month.
        default_watermark: for all other months; None counts all their rows.
        days: only rows that arrived in the last days; None: all rows of the months in `watermarks`.
    """
    ages, xmins = _age("r"), sql.SQL("r.xmin::text")
    if layout.features:
        ages, xmins = sql.SQL("least({}, {})").format(ages, _age("f")), sql.SQL("r.xmin::text, f.xmin::text")
    return sql.SQL(_RECENT).format(
        instant=month_instant(layout),
        id=_name(layout.columns[ID]),
        results=layout.results.identifier,
        has_month=has_month(layout),
        within=_within(layout, watermarks if days is None else None),
        recent=sql.SQL("") if days is None else _recently_created(layout, days),
        ages=ages,
        xmins=xmins,
        join=_features_joined(layout),
        months=list(watermarks),
        watermarks=[xid(watermark) for watermark in watermarks.values()],
        default=None if default_watermark is None else xid(default_watermark),
    )


def recent_months(layout: SourceLayout, days: int) -> sql.Composed:
    """The months of the rows that arrived in the last `days`."""
    return sql.SQL(_RECENT_MONTHS).format(
        instant=month_instant(layout),
        has_month=has_month(layout),
        results=layout.results.identifier,
        recent=_recently_created(layout, days),
    )


def months_since(layout: SourceLayout, watermark: int) -> Iterator[tuple[sql.Composed, bool]]:
    """Queries for the months of rows that arrived, and of rows whose features did, since a watermark.

    Each with whether it reads `xmin` of the results; otherwise it reads that of the features.
    """
    common = {
        "instant": month_instant(layout),
        "has_month": has_month(layout),
        "results": layout.results.identifier,
    }
    yield sql.SQL(_MONTHS_SINCE).format(**common, condition=written_since("r", watermark)), True
    if features := layout.features:
        row_id, key = joined_on(layout, features)
        of_features = sql.SQL("{} IN (SELECT {} FROM {} f WHERE {})").format(
            row_id, key, features.relation.identifier, written_since("f", watermark)
        )
        yield sql.SQL(_MONTHS_SINCE).format(**common, condition=of_features), False


def written_since(alias: str, watermark: int) -> sql.Composable:
    """The condition that a row was written by a transaction at or above a watermark."""
    return sql.SQL("coalesce({} <= age({}::text::xid), false)").format(_age(alias), xid(watermark))


def xid(transaction_id: int) -> str:
    """The 32 bits that a row keeps of a transaction id; PostgreSQL never uses 0 to 2, and 3 follows them."""
    return str(max(transaction_id % 2**32, 3))


def _features_joined(layout: SourceLayout) -> sql.Composable:
    if layout.features is None:
        return sql.SQL("")
    row_id, key = joined_on(layout, layout.features)
    return sql.SQL("LEFT JOIN {} f ON {} = {}").format(layout.features.relation.identifier, key, row_id)


def _age(alias: str) -> sql.Composable:
    """Transactions since a row was written; null if there were too many to count."""
    return sql.SQL("CASE WHEN age({xmin}) >= 0 THEN age({xmin}) END").format(xmin=sql.Identifier(alias, "xmin"))


def _recently_created(layout: SourceLayout, days: int) -> sql.Composable:
    created = layout.columns.get(CREATED_AT)
    if created is None:  # every row may be recent
        return sql.SQL("")
    return sql.SQL("AND r.{} >= now() - {} * interval '1 day'").format(_name(created), days)


def _within(layout: SourceLayout, months: Collection[str] | None) -> sql.Composable:
    if months is None:
        return sql.SQL("")
    # Constants for the raw column, so that the planner knows how few rows they are, and which index or chunks to use.
    end = sql.Identifier("r", layout.window_end.name)
    spans = [
        sql.SQL("{end} >= {first} AND {end} < {past}").format(
            end=end, first=instant(first.start, layout.window_end), past=instant(last.end, layout.window_end)
        )
        for first, last in _spans(months)
    ]
    return sql.SQL("AND ({})").format(sql.SQL(" OR ").join(spans) if spans else sql.SQL("false"))


def _spans(months: Collection[str]) -> Iterator[tuple[AsOf, AsOf]]:
    """First and last month of each run of adjacent months."""
    ordered = sorted(map(AsOf.parse, months))
    starts = [month for month in ordered if month.plus(-1) not in ordered]
    ends = [month for month in ordered if month.plus(1) not in ordered]
    return zip(starts, ends, strict=True)


def _hashable(alias: str, column: Column) -> sql.Composable:
    value = sql.Identifier(alias, column.name)
    return value if column.kind in HASHABLE else sql.SQL("{}::text").format(value)


def _name(column: Column) -> sql.Identifier:
    return sql.Identifier(column.name)
