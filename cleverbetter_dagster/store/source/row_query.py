"""The query that reads canonical rows: the SQL of each column. Nothing here talks to a server.

Columns are not cast: formatting numbers limits the server's speed, and every cast adds to it. Range predicates are on
the raw column, so that its index or a hypertable's chunks can be used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from psycopg import sql

from cleverbetter_dagster.dataset.quality.categories import LONGEST_CATEGORY
from cleverbetter_dagster.dataset.schema import CATEGORY_PREFIX, ID, MARKET_PREFIX, TEXTS, TIMESTAMP, column_type
from cleverbetter_dagster.store.source.instants import has_month, instant, is_backtest, month_instant, plausible_or_null
from cleverbetter_dagster.store.source.layout import WORDS, Column, FeatureTable, SourceLayout

UNKNOWN_KEYS = "unknown_keys"
"""Column of the JSON features that are not among the wanted keys, as the start of a JSON text; null for none."""

MARKET_OBJECTS = "market_objects"
"""Column of all JSON features of a row as one JSON object."""

_REST = """left((CASE jsonb_typeof({value}) WHEN 'object' THEN NULLIF({value} - {known}::text[], '{{}}')
    WHEN 'null' THEN NULL ELSE {value} END)::text, {length})"""

_NO_OBJECT = """left((CASE WHEN jsonb_typeof({value}) NOT IN ('object', 'null') THEN {value} END)::text, {length})"""

_OBJECT = """CASE jsonb_typeof({value}) WHEN 'object' THEN jsonb_strip_nulls({value} - {known}::text[])
    ELSE '{{}}' END"""

_KEYS = """SELECT key, bool_and(jsonb_typeof(value) IN ('number', 'null')) FROM ({rows}) x,
    jsonb_each(CASE jsonb_typeof(x.json) WHEN 'object' THEN x.json END) GROUP BY key ORDER BY key"""

_COUNTS = """SELECT to_char(month, 'YYYY-MM'), count(*)
    FROM (SELECT date_trunc('month', {instant}) AS month FROM {results} r WHERE {has_month}) x
    GROUP BY month ORDER BY month"""

LONGEST_NUMBER = 1_000
"""Characters of a text that are read to see whether it is a number: more digits do not change a float."""

# Of several features rows for one id the newest counts; a row whose time cannot be right counts as one without a time.
# Only ids of the range are read. The last sort key makes the choice among equally new rows the same every time.
_NEWEST = """(SELECT DISTINCT ON ({key}) {columns} FROM {features} f
    WHERE {key} IN (SELECT {id} FROM {results} r {where}) ORDER BY {key}, {newest} ROW({columns})::text)"""


@dataclass(frozen=True)
class RowQuery:
    """Canonical rows whose window ends in `[start, end)`, UTC instants; None leaves a side open.

    Attributes:
        json_keys: keys of the JSON features to read, each as its own column.
        text_keys: those of them that also hold values other than numbers. They are read as text, as are the columns
            `FeatureTable.texts`.
        whole_objects: read all keys, in one column `MARKET_OBJECTS`.
        categories: market features that are read as texts, each as a column `category_...`.
    """

    layout: SourceLayout
    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None
    json_keys: tuple[str, ...] = ()
    text_keys: frozenset[str] = frozenset()
    whole_objects: bool = False
    categories: tuple[str, ...] = ()

    @property
    def column_types(self) -> dict[str, pa.DataType]:
        """Name -> Arrow type to parse the column's text as, in the order of the query."""
        types = {name: _parsed_type(name, column) for name, column in self.layout.columns.items()}
        texts = {*self.text_keys, *(column.name for column in self._texts)}
        types |= {MARKET_PREFIX + key: pa.string() if key in texts else pa.float64() for key in self._market_keys}
        types |= {CATEGORY_PREFIX + name: pa.string() for name in self._categories}
        objects = [MARKET_OBJECTS] if self.whole_objects else []
        return types | (dict.fromkeys([*objects, UNKNOWN_KEYS], pa.string()) if self._json else {})

    def select(self) -> sql.Composed:
        """The rows, in the columns of `column_types`."""
        listed: list[sql.Composable] = [_of("r", column.name) for column in self.layout.columns.values()]
        listed += [self._market_value(key) for key in self._market_keys]
        listed += [self._category_value(name) for name in self._categories]
        if self.whole_objects:  # of two objects with one key, the best has the last word
            known = sql.Literal([*self.categories])
            objects = [sql.SQL(_OBJECT).format(value=value, known=known) for value in reversed(self._json)]
            listed.append(sql.SQL(" || ").join(sql.SQL("({})").format(one) for one in objects))
        if self._json:
            rest = sql.SQL(_NO_OBJECT if self.whole_objects else _REST)
            known = sql.Literal([*self.json_keys, *self.categories])
            length = sql.Literal(LONGEST_NUMBER)
            listed.append(_coalesced([rest.format(value=value, known=known, length=length) for value in self._json]))
        return sql.SQL("SELECT {} {}").format(sql.SQL(", ").join(listed), self._from())

    def keys(self, sampled_rows: int | None) -> sql.Composed:
        """The distinct keys of the JSON features, sorted, and whether all their values are numbers.

        Args:
            sampled_rows: look at so many rows only; None: at all.
        """
        rows = sql.SQL(" UNION ALL ").join(
            sql.SQL("(SELECT {} AS json {} LIMIT {})").format(value, self._from(), sql.Literal(sampled_rows))
            for value in self._json
        )
        return sql.SQL(_KEYS).format(rows=rows)

    def embedded_used(self, embedded: Column) -> sql.Composed:
        """Whether any row has market features in the results table's own JSON column."""
        return sql.SQL(
            "SELECT EXISTS (SELECT 1 FROM (SELECT {} AS json FROM {} r {}) x WHERE json IS NOT NULL)"
        ).format(_of("r", embedded.name), self.layout.results.identifier, self._where())

    def counts(self) -> sql.Composed:
        """Each plausible month in which a window ended, as 2023-11, and its number of rows, whatever the range."""
        results, month = self.layout.results.identifier, has_month(self.layout)
        return sql.SQL(_COUNTS).format(instant=month_instant(self.layout), results=results, has_month=month)

    @property
    def reads_json(self) -> bool:
        return bool(self._json)

    @property
    def _market_keys(self) -> list[str]:
        columns = [column.name for column in (*self._wide, *self._texts)]
        return sorted({*columns, *self.json_keys} - {*self.categories})

    @property
    def _wide(self) -> tuple[Column, ...]:
        return self.layout.features.wide if self.layout.features else ()

    @property
    def _texts(self) -> tuple[Column, ...]:
        return self.layout.features.texts if self.layout.features else ()

    @property
    def _json(self) -> tuple[sql.Composable, ...]:
        """The JSON values of market features, best first."""
        features = self.layout.features
        sources = [("f", features.json if features else None), ("r", self.layout.embedded)]
        return tuple(
            _of(alias, column.name) if column.kind == "jsonb" else _cast(_of(alias, column.name), "jsonb")
            for alias, column in sources
            if column
        )

    def _market_value(self, key: str) -> sql.Composable:
        values: list[sql.Composable] = [
            _cast(_of("f", column.name), "int") if column.kind == "bool" else _of("f", column.name)
            for column in self._wide
            if column.name == key
        ]
        texts = [_cast(_of("f", column.name), "text") for column in self._texts if column.name == key]
        values += [_beginning(text, LONGEST_NUMBER) for text in texts]
        if key in self.json_keys:
            members = [sql.SQL("{}->>{}").format(value, sql.Literal(key)) for value in self._json]
            values += [_beginning(one, LONGEST_NUMBER) for one in members] if key in self.text_keys else members
        # A single value keeps its type; a number and a JSON text only have text in common.
        return values[0] if len(values) == 1 else _coalesced([_cast(value, "text") for value in values])

    @property
    def _categories(self) -> tuple[str, ...]:
        """The categories that have a place in these tables."""
        columns = {column.name for column in (*self._wide, *self._texts)}
        return tuple(name for name in self.categories if self._json or name in columns)

    def _category_value(self, name: str) -> sql.Composable:
        columns = [_of("f", column.name) for column in (*self._wide, *self._texts) if column.name == name]
        members = [sql.SQL("{}->>{}").format(value, sql.Literal(name)) for value in self._json]
        texts = [*(_cast(column, "text") for column in columns), *members]
        return _coalesced([_beginning(text, LONGEST_CATEGORY) for text in texts])

    def _from(self) -> sql.Composable:
        parts = {"results": self.layout.results.identifier, "where": self._where()}
        features = self.layout.features
        if features is None:
            return sql.SQL("FROM {results} r {where}").format(**parts)
        parts["id"], parts["key"] = joined_on(self.layout, features)
        parts["features"] = features.relation.identifier
        if not features.one_per_key:
            time = features.computed_at
            newest = [plausible_or_null(_of("f", time.name), time)] if time else []
            parts["newest"] = sql.SQL("").join(sql.SQL("{} DESC NULLS LAST, ").format(at) for at in newest)
            read = [features.key, *([features.json] if features.json else []), *features.wide, *features.texts]
            parts["columns"] = sql.SQL(", ").join(_of("f", column.name) for column in read)
            parts["features"] = sql.SQL(_NEWEST).format(**parts)
        return sql.SQL("FROM {results} r LEFT JOIN {features} f ON {key} = {id} {where}").format(**parts)

    def _where(self) -> sql.Composable:
        window_end = self.layout.window_end
        column = _of("r", window_end.name)
        conditions: list[sql.Composable] = [
            sql.SQL("{} {} {}").format(column, sql.SQL(sign), instant(at, window_end))
            for sign, at in ((">=", self.start), ("<", self.end))
            if at is not None
        ]
        if self.layout.left_out_methods:
            conditions.append(is_backtest(self.layout))
        return sql.SQL("WHERE {}").format(sql.SQL(" AND ").join(conditions)) if conditions else sql.SQL("")


def joined_on(layout: SourceLayout, features: FeatureTable) -> tuple[sql.Composable, sql.Composable]:
    """The id of a row `r` and the key of its features `f`, in comparable types."""
    row_id, key = layout.columns[ID], features.key
    row_side, feature_side = _of("r", row_id.name), _of("f", key.name)
    if _family(row_id) == _family(key):
        return row_side, feature_side
    # A text key is not cast, so that its index can be used.
    return _cast(row_side, "text"), feature_side if _family(key) == "text" else _cast(feature_side, "text")


def _parsed_type(name: str, column: Column) -> pa.DataType:
    if name in TEXTS or column.kind in WORDS:
        return pa.string()
    if column_type(name) == TIMESTAMP and column.kind != "timestamptz":
        return pa.timestamp("us")  # without a zone it is UTC
    return column_type(name)


def _family(column: Column) -> str:
    """Columns of one family can be compared without a cast."""
    if column.kind in WORDS:
        return "text"
    return "int" if column.kind.startswith("int") else column.kind


def _of(alias: str, name: str) -> sql.Composable:
    return sql.Identifier(alias, name)


def _cast(value: sql.Composable, kind: str) -> sql.Composable:
    return sql.SQL("({})::{}").format(value, sql.SQL(kind))


def _beginning(text: sql.Composable, length: int) -> sql.Composable:
    return sql.SQL("left({}, {})").format(text, sql.Literal(length))


def _coalesced(values: Sequence[sql.Composable]) -> sql.Composable:
    return values[0] if len(values) == 1 else sql.SQL("COALESCE({})").format(sql.SQL(", ").join(values))
