"""What tables hold, told by the transactions that wrote their rows, without reading a month or a value.

A committed transaction never gains visible rows, so an equal count of rows for each transaction below a watermark means
that no such row was changed or deleted. Rows at or above the watermark are new. So two states tell that nothing
happened in between, or only that rows arrived: then nothing but the months of these rows needs to be compared.

What is scanned are the relations that hold rows: of a view its tables, where its definition depends on nothing but
them; of a hypertable the rows that are not compressed. For each compressed chunk the catalogue of TimescaleDB has a
status, which changes once rows of the chunk are inserted, updated or deleted, and the name of an ordinary table with a
row for each batch of up to 1,000 rows; that table is scanned in their place.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg2  # type: ignore[import-untyped]
from psycopg import sql

from cleverbetter_dagster.store.postgres.giving_way import ReadSession
from cleverbetter_dagster.store.postgres.transient import sqlstate
from cleverbetter_dagster.store.source import change_query
from cleverbetter_dagster.store.source.layout import SourceLayout
from cleverbetter_dagster.store.source.tables import Relation

NOT_COMPRESSED = "SET LOCAL timescaledb.enable_transparent_decompression = off"
"""Then a query of a hypertable reads the rows that are not compressed, and may read `xmin`."""

_NO_SYSTEM_COLUMN = ("0A000", "42703", "42P10")
"""Feature not supported, undefined column, invalid column reference: `xmin` cannot be read, as in a view."""

_COMPRESSED = "only supports tableoid system column"
"""TimescaleDB's message about `xmin` in a compressed chunk. Some releases send it as an internal error (XX000)."""

# The tables of a view, and of views in it. A view is left alone if it calls a function whose answer may change while
# the tables do not (`now()`), or is a foreign table, or if row security may hide rows.
_HOLDERS = """
WITH RECURSIVE parts(oid) AS (
    SELECT unnest({tables}::regclass[])::oid
    UNION SELECT refobjid FROM parts JOIN pg_rewrite ON ev_class = parts.oid JOIN pg_depend ON objid = pg_rewrite.oid
        AND classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass AND refobjid <> ev_class
    WHERE (SELECT relkind FROM pg_class c WHERE c.oid = parts.oid) = 'v')
SELECT nspname, relname, relkind IN ('r', 'p', 'm') AND has_table_privilege(c.oid, 'SELECT') AND NOT CASE
        WHEN c.oid = ANY({tables}::regclass[]) THEN row_security_active(c.oid) ELSE relrowsecurity END
    OR relkind = 'v' AND NOT row_security_active(c.oid) AND NOT EXISTS (
        SELECT FROM pg_rewrite WHERE ev_class = c.oid AND (ev_action::text ~ '[{{](COERCEVIAIO|SQLVALUEFUNCTION)'
            OR EXISTS (SELECT FROM regexp_matches(ev_action::text, ':(?:opfuncid|funcid) (\\d+)', 'g') called
                JOIN pg_proc p ON p.oid = called[1]::oid WHERE provolatile <> 'i'))), relkind,
    (SELECT md5(string_agg(ev_action::text, '' ORDER BY rulename)) FROM pg_rewrite WHERE ev_class = c.oid)
FROM pg_class c JOIN parts USING (oid) JOIN pg_namespace n ON n.oid = relnamespace ORDER BY 1, 2"""

_CATALOGUE = "SELECT to_regclass('_timescaledb_catalog.chunk') IS NOT NULL"

_CHUNKS = """
SELECT c.id, c.status, n.nspname, k.relname,
    has_table_privilege(k.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
FROM _timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.chunk c ON c.hypertable_id = h.id
JOIN _timescaledb_catalog.chunk compressed ON compressed.id = c.compressed_chunk_id
JOIN pg_namespace n ON n.nspname = compressed.schema_name
JOIN pg_class k ON k.relnamespace = n.oid AND k.relname = compressed.table_name
WHERE (h.schema_name, h.table_name) IN ({tables}) ORDER BY 1"""

_BATCHES = """
SELECT {label}, count(*), coalesce(sum(hash_record_extended(ROW(b.tableoid, b.xmin), 0)), 0)::text FROM {table} b"""

# Hashed are the groups, which are far fewer than the rows.
_ROWS = """
SELECT coalesce(sum(n) FILTER (WHERE {since_then}), 0)::bigint, coalesce(sum(n) FILTER (WHERE {since_now}), 0)::bigint,
    coalesce(sum(hash_record_extended(ROW(part, xmin, n), 0)) FILTER (WHERE NOT {since_then}), 0)::text,
    coalesce(sum(hash_record_extended(ROW(part, xmin, n), 0)) FILTER (WHERE NOT {since_now}), 0)::text
FROM (SELECT tableoid AS part, xmin, count(*) AS n FROM {table} GROUP BY 1, 2) r"""

MOST_CHUNKS_A_QUERY = 200

Chunks = tuple[tuple[str, int, str], ...]
"""For each compressed chunk its number and status, its batches, and the hash of the transactions that wrote them."""


@dataclass(frozen=True)
class TableState:
    """What tables hold at one moment.

    Attributes:
        identity, watermark: of the snapshot (see `SnapshotId`).
        rows: for each relation that holds rows, the hash of the transactions below the watermark that wrote them;
            for each view the hash of its definition; the methods that are left out.
        in_flight: months of rows at or above the watermark, which `rows` does not tell of.
    """

    identity: str
    watermark: int
    rows: tuple[str, ...]
    chunks: Chunks
    in_flight: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The present state, and how it became of an earlier one.

    Attributes:
        arrived: months of the rows that arrived since; None if that is not known, or if other things happened too.
    """

    state: TableState
    arrived: frozenset[str] | None


def cannot_read_xmin(error: psycopg2.Error) -> bool:
    """Whether a system column of a row cannot be read."""
    return sqlstate(error) in _NO_SYSTEM_COLUMN or (sqlstate(error) == "XX000" and _COMPRESSED in str(error))


def compressed_chunks(session: ReadSession, relations: Iterable[Relation]) -> Chunks | None:
    """The compressed chunks of hypertables among the relations; None if one of their tables may not be read."""
    if not session.rows(sql.SQL(_CATALOGUE))[0][0]:
        return ()
    names = [sql.SQL("({}, {})").format(relation.schema, relation.name) for relation in relations]
    found = session.rows(sql.SQL(_CHUNKS).format(tables=sql.SQL(", ").join(names)))
    if not all(readable for *_, readable in found):
        return None
    queries = [
        sql.SQL(_BATCHES).format(label=f"{number} {status}", table=sql.Identifier(schema, name))
        for number, status, schema, name, _ in found
    ]
    parts = (queries[first : first + MOST_CHUNKS_A_QUERY] for first in range(0, len(queries), MOST_CHUNKS_A_QUERY))
    return tuple(row for part in parts for row in session.rows(sql.SQL(" UNION ALL ").join(part)))


def compare_state(
    session: ReadSession, layout: SourceLayout, identity: str, watermark: int, before: TableState | None
) -> Comparison | None:
    """The state in the session's snapshot, compared with an earlier one of the same identity.

    Args:
        identity, watermark: of the snapshot.
        before: the earlier state; its watermark can be compared with the snapshot. None: only read the present one.

    Returns:
        None where the transactions that wrote the rows cannot be read, or do not tell of every change.
    """
    held = _holders(session, layout)
    if held is None:
        return None
    holders, views = held
    chunks = compressed_chunks(session, holders)
    if chunks is None:
        return None
    options = NOT_COMPRESSED if chunks else ""
    then = watermark if before is None else before.watermark
    since = {
        "since_then": change_query.written_since("r", then),
        "since_now": change_query.written_since("r", watermark),
    }
    counted = []
    for holder in holders:
        query = sql.SQL(_ROWS).format(**since, table=holder.identifier)
        rows = session.rows_or_none(query, cannot_read_xmin, options)
        if rows is None:
            return None
        counted.append(rows[0])
    new, in_flight = sum(row[0] for row in counted), sum(row[1] for row in counted)
    fixed = (*views, *layout.left_out_methods)
    below_then, below_now = ((*(row[place] for row in counted), *fixed) for place in (2, 3))

    def months(watermark: int, rows: int) -> frozenset[str] | None:
        return _months_since(session, layout, watermark, options) if rows else frozenset()

    unfinished = months(watermark, in_flight)
    if unfinished is None:
        return None
    state = TableState(identity, watermark, below_now, chunks, tuple(sorted(unfinished)))
    only_arrivals = before is not None and (before.rows, before.chunks) == (below_then, chunks)
    arrived = months(then, new) if only_arrivals else None
    return Comparison(state, arrived)


def _holders(session: ReadSession, layout: SourceLayout) -> tuple[list[Relation], tuple[str, ...]] | None:
    """The relations that hold the rows, and the hashes of the views between.

    None if one of them may not be read, or does not tell of every change.
    """
    tables = [relation.identifier.as_string() for relation in layout.relations]
    found = session.rows(sql.SQL(_HOLDERS).format(tables=tables))
    if not all(usable for _, _, usable, *_ in found):
        return None
    relations = [Relation(schema, name) for schema, name, _, kind, _ in found if kind != "v"]
    return relations, tuple(definition for *_, kind, definition in found if kind == "v")


def _months_since(session: ReadSession, layout: SourceLayout, watermark: int, options: str) -> frozenset[str] | None:
    """Months of rows that were written, or whose features were written, since a watermark; None if unknown."""
    parts = [
        session.rows_or_none(query, cannot_read_xmin, options if reads_rows else "")
        for query, reads_rows in change_query.months_since(layout, watermark)
    ]
    if None in parts:
        return None
    return frozenset(month for part in parts for (month,) in part or ())
