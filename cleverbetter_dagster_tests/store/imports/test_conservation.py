"""Whatever a file holds: its rows are loaded, quarantined or there already, and a second import changes nothing."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from cleverbetter_dagster.errors import ImportFileError, RowsRefused
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import FileReport, import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.support.upstream_rows import upstream_features, upstream_results

EXAMPLES = settings.default.max_examples // 5
GOOD_ID = "good"
"""The id of the one row in every file that nothing is wrong with, so that every file has all columns."""

Row = dict[str, Any]

TIME_WORDS = ["now", "today", "tomorrow", "yesterday", "epoch", "infinity", "-infinity", "allballs"]
DATES = ["0000-01-01", "0001-01-01", "10000-01-01", "0044-03-15 BC", "9999-12-31", "2023-02-30", "2023", "1/2/2023"]
NUMBERS = [
    *(float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1e20, 1e308, 2**63, -(2**63) - 1, 2**64, 10**400),
    *("1e999", "-1e-999", "0x10", "1_000", "1,5", "١٢", "+1", ".5", "NaN", "12%"),
]
TEXTS = [
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "\ufffe",
        "\\N",
        "\\.",
        "a\n\\.\nb",
        "NULL",
        '"',
        "'",
        "x" * 3_000,
        "\u202e",
        "{",
        "[1",
    ),
    *("'; DROP TABLE backtest_results; --", '{"a": NaN}', '{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"a": 1, "a": 2}'),
]
NESTED = [True, [], {}, [[1]], {"a": float("nan")}, {"a": {"b": [None]}}, {"a": 10**30}, {"": 1}]
VALUES = (
    st.none() | st.sampled_from([*TIME_WORDS, *DATES, *NUMBERS, *TEXTS, *NESTED]) | st.floats() | st.text(max_size=3)
)
LINES = {
    "a list": "[1, 2]",
    "torn": "{",
    "null": "null",
    "no members": "{}",
    "a key twice": '{"id": 1, "id": 2}',
    "half a surrogate pair": '{"id": "\\ud800"}',
    "NaN": '{"id": NaN}',
    "two objects": '{"id": "x"} {"id": "y"}',
    "lists 5,000 deep": "[" * 5_000,
    "objects 100,000 deep": '{"a":' * 100_000,
    "5,000 digits": '{"a": ' + "9" * 5_000 + "}",
    "a byte order mark": "\ufeff{}",
    "NUL": "\x00",
    "a word": "x",
    "a quote": '"',
    "a tab in a text": '{"id": "a\tb"}',
}
HEADERS = ["id", "Win_Rate", " win_rate", "\ufeffid", "", "line_in_file", "recommendation", "full_results", "x" * 100]


@dataclass(frozen=True)
class Drawn:
    """A file to write.

    Attributes:
        rows: the rows, of which the last is good.
        lines: names of `LINES`, each a line that is no row. In CSV it is a line with too few or too many fields.
        header: a further column of each row, which may make the file unreadable as a whole.
    """

    kind: str
    rows: tuple[Row, ...]
    lines: tuple[str, ...]
    header: str | None

    def write(self, path: Path) -> Path:
        path = path.with_suffix(f".{self.kind}")
        {"csv": self._csv, "jsonl": self._json_lines, "parquet": self._parquet}[self.kind](path)
        return path

    @property
    def count(self) -> int:
        return len(self.rows) + (0 if self.kind == "parquet" else len(self.lines))

    def _csv(self, path: Path) -> None:
        names = [*self.rows[0], *([] if self.header is None else [self.header])]
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            for row in self.rows:
                values = [*row.values(), *([] if self.header is None else ["1"])]
                writer.writerow([json.dumps(value) if isinstance(value, dict | list) else value for value in values])
            for number, _ in enumerate(self.lines):
                writer.writerow(["only", number] if number % 2 else [*names, "too", "long"])

    def _json_lines(self, path: Path) -> None:
        extra = {} if self.header is None else {self.header: 1}
        first, *rest = (json.dumps({**extra, **row}) for row in self.rows)
        path.write_text(
            "\n".join([first, *(LINES[name] for name in self.lines), *rest]), encoding="utf-8", errors="replace"
        )

    def _parquet(self, path: Path) -> None:
        columns = {name: _array([row[name] for row in self.rows]) for name in self.rows[0]}
        arrays, names = list(columns.values()), list(columns)
        if self.header is not None:
            arrays, names = [*arrays, pa.array([1] * len(self.rows))], [*names, self.header]
        parquet.write_table(pa.Table.from_arrays(arrays, names), path)


def _array(values: list[Any]) -> pa.Array:
    """As they are if Arrow has one type for all of them; otherwise as text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeEncodeError):
        texts = [None if value is None else _short(value) for value in values]
        return pa.array([None if text is None else text.encode(errors="replace").decode() for text in texts])


def _short(value: Any) -> str:
    return hex(value) if isinstance(value, int) and abs(value) > 10**100 else str(value)


def drawn_files(good: Row, key: str) -> st.SearchStrategy[Drawn]:
    """Files with copies of a good row, in which some values are replaced."""
    ids = st.sampled_from(["r1", "r2", "r3", "007", " r1"])
    changes = st.dictionaries(st.sampled_from(list(good)), VALUES, max_size=3)
    rows = st.tuples(ids, changes).map(lambda drawn: {**good, key: drawn[0], **drawn[1]})
    return st.builds(
        Drawn,
        kind=st.sampled_from(["csv", "jsonl", "parquet"]),
        rows=st.lists(rows, max_size=6).map(lambda some: (*some, {**good, key: GOOD_ID})),
        lines=st.lists(st.sampled_from(sorted(LINES)), max_size=3).map(tuple),
        header=st.none() | st.sampled_from(HEADERS),
    )


def good_row(frame: Any) -> Row:
    """The first row as JSON has it."""
    return json.loads(frame.to_json(orient="records", date_format="iso"))[0]


class Imports:
    """Imports drawn files into empty tables, and checks what must hold after each."""

    def __init__(self, database: Settings, folder: Path, connection: psycopg.Connection) -> None:
        self._settings, self._folder, self._connection = database, folder, connection
        self.rows = self.refused_files = self.quarantined = self.examples = 0

    def check(self, results: list[Drawn], features: list[Drawn]) -> None:
        self._connection.execute("TRUNCATE backtest_results, ml_features")
        self.examples += 1
        files = [*(("r", drawn) for drawn in results), *(("f", drawn) for drawn in features)]
        paths = [(kind, drawn.write(self._folder / f"{kind}{at}"), drawn) for at, (kind, drawn) in enumerate(files)]
        for path in paths:
            self._import(*path)
        stored = self._content()
        for path in paths:
            again = self._import(*path)
            assert again is None or (again.inserted, again.updated) == (0, 0), again
        assert self._content() == stored

    def _import(self, kind: str, path: Path, drawn: Drawn) -> FileReport | None:
        before = self._count(kind)
        try:
            report = import_files(self._settings, *((path, None) if kind == "r" else (None, path))).files[0]
        except ImportFileError:
            assert drawn.header is not None, "only names of columns may make a whole file unreadable"
            assert self._count(kind) == before
            self.refused_files += 1
            return None
        except RowsRefused:  # its numbers are in other units, or say so
            assert self._count(kind) == before
            self.refused_files += 1
            return None
        self.rows += drawn.count
        self.quarantined += report.quarantined
        assert report.rows_read == drawn.count, report
        assert report.inserted + report.updated + report.unchanged + report.quarantined == drawn.count, report
        assert self._count(kind) == before + report.inserted, report
        table, key = ("backtest_results", "id") if kind == "r" else ("ml_features", "backtest_result_id")
        good = self._connection.execute(f"SELECT count(*) FROM {table} WHERE {key} = %s", [GOOD_ID]).fetchone()
        assert good == (1,), report
        return report

    def _count(self, kind: str) -> int:
        table = "backtest_results" if kind == "r" else "ml_features"
        (count,) = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        return count

    def _content(self) -> list[tuple[str, ...]]:
        return self._connection.execute(
            "SELECT r::text FROM backtest_results r UNION ALL SELECT f::text FROM ml_features f ORDER BY 1"
        ).fetchall()


def test_rows_are_loaded_quarantined_or_there_already(database: Settings, tmp_path: Path) -> None:
    ensure_source_tables(database)
    results = drawn_files(good_row(upstream_results(1)), "id")
    features = drawn_files(good_row(upstream_features(1)), "backtest_result_id")
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        imports = Imports(database, tmp_path, connection)

        @settings(max_examples=EXAMPLES, deadline=None)
        @given(st.lists(results, min_size=1, max_size=2), st.lists(features, max_size=2))
        def check(drawn_results: list[Drawn], drawn_features: list[Drawn]) -> None:
            imports.check(drawn_results, drawn_features)

        check()
    print(
        f"{imports.rows:,} rows in {imports.examples:,} examples: {imports.quarantined:,} quarantined; "
        f"{imports.refused_files:,} files refused for their columns or units"
    )
