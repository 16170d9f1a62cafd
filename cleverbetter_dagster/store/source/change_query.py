"""The SQL that finds what changed in the two tables, by month of window end. Nothing here talks to a server.

`digests` reads content and finds every difference. `versions` and `recent` read which transaction wrote a row (`xmin`)
instead. `versions` reads all rows, much faster than their content; `recent` reads only rows that arrived lately, so it
costs the same in a large table as in a small one.
"""

from psycopg import sql

from cleverbetter_dagster.dataset.schema import CREATED_AT, ID
from cleverbetter_dagster.store.source.layout import Column, SourceLayout
from cleverbetter_dagster.store.source.row_query import joined_on, window_end_utc

# Each table is summed on its own, so that several features rows of one result do not count the result twice. Sums of
# hashes do not depend on the order of the rows, and unlike XOR they notice a row that occurs twice.
_DIGESTS = """
SELECT to_char(month, 'YYYY-MM'), sum(n)::bigint, sum(content)::text
FROM ({parts}) x WHERE isfinite(month) GROUP BY month ORDER BY month"""

_RESULTS_PART = """
SELECT date_trunc('month', {instant}) AS month, count(*) AS n, sum(hash_record_extended(ROW({content}), 0)) AS content
FROM {results} r {within} GROUP BY 1"""

_FEATURES_PART = """
SELECT date_trunc('month', {instant}), 0, sum(hash_record_extended(ROW({content}), 1))
FROM {results} r JOIN {features} f ON {key} = {id} {within} GROUP BY 1"""

# OFFSET 0 keeps PostgreSQL from evaluating the condition on months for every row.
_VERSIONS = """
SELECT to_char(month, 'YYYY-MM'), versions::text
FROM (SELECT date_trunc('month', {instant}) AS month, sum(hash_record_extended(ROW({xmins}), 0)) AS versions
      FROM {results} r {join} {within} GROUP BY 1 OFFSET 0) x
WHERE isfinite(month)"""

# `age` counts transactions back from now, correctly across a wrap-around of the 32 bits of `xmin`. It is negative for
# rows older than half of all ids (see `_age`).
_RECENT = """
SELECT to_char(month, 'YYYY-MM'), count(DISTINCT id), sum(versions)::text
FROM (SELECT date_trunc('month', {instant}) AS month, r.{id} AS id, {ages} AS age,
          hash_record_extended(ROW(r.{id}, {xmins}), 0) AS versions
      FROM {results} r {join} {where}) x
LEFT JOIN unnest(%(months)s::text[], %(watermarks)s::text[]) AS known (key, own) ON key = to_char(month, 'YYYY-MM')
WHERE isfinite(month)
  AND (coalesce(own, %(default_watermark)s) IS NULL OR age <= age(coalesce(own, %(default_watermark)s)::xid))
GROUP BY month ORDER BY month"""

_RECENT_MONTHS = """
SELECT DISTINCT to_char(month, 'YYYY-MM')
FROM (SELECT date_trunc('month', {instant}) AS month FROM {results} r {where}) x WHERE isfinite(month) ORDER BY 1"""


def digests(layout: SourceLayout, *, some_months: bool) -> sql.Composed:
    """Month, rows, and sum of hashes of everything that is loaded of a row and its features.

    With `some_months` the query takes `starts` and `ends`: arrays of instants in UTC.
    """
    within = _within(layout) if some_months else sql.SQL("")
    content = [_hashable("r", column) for column in (*layout.columns.values(), layout.embedded) if column]
    common = {"instant": window_end_utc(layout), "results": layout.results.identifier, "within": within}
    parts = [sql.SQL(_RESULTS_PART).format(**common, content=sql.SQL(", ").join(content))]
    if features := layout.features:
        columns = (features.key, features.computed_at, features.json, *features.wide)
        content = [_hashable("f", column) for column in columns if column]
        row_id, key = joined_on(layout, features)
        names = {"features": features.relation.identifier, "id": row_id, "key": key}
        parts.append(sql.SQL(_FEATURES_PART).format(**common, **names, content=sql.SQL(", ").join(content)))
    return sql.SQL(_DIGESTS).format(parts=sql.SQL(" UNION ALL ").join(parts))


def versions(layout: SourceLayout, *, some_months: bool) -> sql.Composed:
    """Month, and sum of hashes of the transactions that wrote its rows and features, and of their partitions.

    Takes `starts` and `ends` as `digests` does.
    """
    return sql.SQL(_VERSIONS).format(
        instant=window_end_utc(layout),
        xmins=sql.SQL("r.tableoid, r.xmin, f.tableoid, f.xmin" if layout.features else "r.tableoid, r.xmin"),
        results=layout.results.identifier,
        join=_features_joined(layout),
        within=_within(layout) if some_months else sql.SQL(""),
    )


def recent(layout: SourceLayout, *, some_months: bool) -> sql.Composed:
    """Month, rows and sum of hashes of the recent rows written, or whose features were written, since a watermark.

    Takes `months` and `watermarks` (transaction ids as text, one for each month), the `default_watermark` of all other
    months (null: every row counts), and `days`: how recent `created_at` must be. In a table without that column all
    rows are recent. With `some_months` it takes `starts` and `ends` as `digests` does, instead of `days`.
    """
    ages, xmins = _age("r"), sql.SQL("r.xmin::text")
    if layout.features:
        ages, xmins = sql.SQL("least({}, {})").format(ages, _age("f")), sql.SQL("r.xmin::text, f.xmin::text")
    return sql.SQL(_RECENT).format(
        instant=window_end_utc(layout),
        id=_name(layout.columns[ID]),
        results=layout.results.identifier,
        where=_within(layout) if some_months else _recently_created(layout),
        ages=ages,
        xmins=xmins,
        join=_features_joined(layout),
    )


def recent_months(layout: SourceLayout) -> sql.Composed:
    """The months of the rows that arrived in the last `days`."""
    return sql.SQL(_RECENT_MONTHS).format(
        instant=window_end_utc(layout), results=layout.results.identifier, where=_recently_created(layout)
    )


def _features_joined(layout: SourceLayout) -> sql.Composable:
    if layout.features is None:
        return sql.SQL("")
    row_id, key = joined_on(layout, layout.features)
    return sql.SQL("LEFT JOIN {} f ON {} = {}").format(layout.features.relation.identifier, key, row_id)


def _age(alias: str) -> sql.Composable:
    """Transactions since a row was written; null where there were too many to count."""
    return sql.SQL("CASE WHEN age({xmin}) >= 0 THEN age({xmin}) END").format(xmin=sql.Identifier(alias, "xmin"))


def _recently_created(layout: SourceLayout) -> sql.Composable:
    created = layout.columns.get(CREATED_AT)
    if created is None:
        return sql.SQL("")
    return sql.SQL("WHERE r.{} >= now() - %(days)s * interval '1 day'").format(_name(created))


def _within(layout: SourceLayout) -> sql.Composable:
    kind = sql.SQL("timestamptz" if layout.window_end.kind == "timestamptz" else "timestamp")
    # On the raw column, so that its index or a hypertable's chunks can be used; the session's time zone is UTC.
    return sql.SQL(
        "JOIN unnest(%(starts)s::{kind}[], %(ends)s::{kind}[]) AS span (first, past) "
        "ON r.{end} >= first AND r.{end} < past"
    ).format(kind=kind, end=_name(layout.window_end))


def _hashable(alias: str, column: Column) -> sql.Composable:
    value = sql.Identifier(alias, column.name)
    return sql.SQL("{}::text").format(value) if column.kind in ("json", "citext") else value


def _name(column: Column) -> sql.Identifier:
    return sql.Identifier(column.name)
