"""The same data as CSV, JSON Lines, Parquet and SQL are the same rows, to the bit."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.imports.readers.delimited import NULL_TEXTS
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.giving_way import read_session
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.loader import load_rows
from cleverbetter_dagster.store.source.row_query import RowQuery
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster_tests.support.row_files import Row, insert, write_csv, write_json_lines, write_parquet
from cleverbetter_dagster_tests.support.upstream_rows import upstream_results

NOW = pd.Timestamp("2024-01-01", tz="UTC")
FORMATS = {"csv": write_csv, "jsonl": write_json_lines, "parquet": write_parquet, "sql": None}
EXAMPLES = settings.default.max_examples // 5

ODD_TEXTS = [
    *(
        '"',
        "'",
        "\\",
        "\\N",
        "\\.",
        "\\\\n",
        "\\x41",
        "a\tb",
        "a\nb",
        "a\r\nb",
        "a\rb",
        "\u2028",
        "\x7f",
        "\x01",
        "\ufeff",
    ),
    *(
        "😀",
        "e\u0301",
        "007",
        "1e5",
        "NaN",
        "Infinity",
        "now",
        "true",
        "2023-01-01",
        "{}",
        "x,y",
        "x;y",
        "-",
        "=1+1",
        "%s",
    ),
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ODD_TEXTS
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.1, -0.0, 5e-324, 0.35, 1e22, 2.0**53])
INSTANTS = st.datetimes(datetime(2001, 1, 1), datetime(2020, 1, 1))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
FEATURES = st.dictionaries(
    st.sampled_from(["avg_odds", 'a "b"', "é\\", "x\ty", "", "😀", "A", "a"]),
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | NUMBERS,
    max_size=5,
)


@st.composite
def drawn_rows(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Backtest rows that can be right, and their market features."""
    results, features = [], []
    for number in range(draw(st.integers(1, 12))):
        start, zone = draw(INSTANTS).replace(tzinfo=UTC), draw(ZONES)
        end, run, created = (start + draw(st.timedeltas(timedelta(0), timedelta(days=90))) for _ in range(3))
        row_id = f"{number}|{draw(TEXTS)}"
        results.append(
            {
                "id": row_id,
                "strategy_id": draw(TEXTS.filter(lambda text: text.strip() and text not in NULL_TEXTS)),
                "run_date": run.astimezone(zone),
                "start_date": start.astimezone(zone),
                "end_date": end.astimezone(zone),
                "total_return": draw(st.floats(-1.0, 10.0)),
                "sharpe_ratio": draw(NUMBERS),
                "max_drawdown": draw(st.floats(0.0, 1.0)),
                "total_bets": draw(st.integers(1, 2**53)),
                "win_rate": draw(st.floats(0.0, 1.0)),
                "profit_factor": draw(st.floats(0.0, 1e300)),
                "method": draw(st.sampled_from(["replay", "0", 'a"b', "é"])),
                "composite_score": draw(NUMBERS),
                "created_at": created.astimezone(zone),
            }
        )
        features.append({"backtest_result_id": row_id, "computed_at": created, "features": draw(FEATURES)})
    return results, features


def loaded(settings: Settings) -> pa.Table:
    with read_session(settings) as session:
        rows, violations = load_rows(session, RowQuery(resolve_source(settings)), NOW)
    assert violations.empty, violations
    return rows.sort_by("id").select(sorted(rows.column_names))


def bits(table: pa.Table) -> dict[str, list[Any]]:
    """Columns as what is the same only for the same bits: -0.0 is not 0.0."""
    return {
        name: [None if value is None else value.hex() if isinstance(value, float) else value for value in values]
        for name, values in table.to_pydict().items()
    }


def expected(results: Sequence[Row], features: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Some columns of the rows by their ids, as Python has them."""
    values = {}
    for row, each in zip(results, features, strict=True):
        numbers = {f"ml_{key}": float(value) + 0.0 for key, value in each["features"].items() if value is not None}
        values[row["id"].strip()] = {
            "composite_score": row["composite_score"].hex(),
            "end_date": row["end_date"].astimezone(UTC),
            **{key: number.hex() for key, number in numbers.items()},
        }
    return values


class Formats:
    """Tables of their own for each format, in one database."""

    def __init__(self, database: Settings, folder: Path) -> None:
        self._folder = folder
        names = {name: {"results_table": f"r_{name}", "features_table": f"f_{name}"} for name in FORMATS}
        self._settings = {name: database.model_copy(update=update) for name, update in names.items()}
        for tables in self._settings.values():
            ensure_source_tables(tables)

    def rows(self, results: Sequence[Row], features: Sequence[Row]) -> dict[str, pa.Table]:
        return {name: loaded(self._stored(name, results, features)) for name in FORMATS}

    def _stored(self, name: str, results: Sequence[Row], features: Sequence[Row]) -> Settings:
        settings, write = self._settings[name], FORMATS[name]
        with psycopg_connect(settings, "rows", autocommit=True) as connection:
            connection.execute(f"TRUNCATE r_{name}, f_{name}")
            if write is None:
                insert(connection, f"r_{name}", results)
                insert(connection, f"f_{name}", features)
                return settings
        paths = [write(rows, self._folder / f"{kind}.{name}") for kind, rows in (("r", results), ("f", features))]
        report = import_files(settings, *paths)
        assert report.total("inserted") == len(results) + len(features), report
        return settings


def test_four_formats_give_the_same_bits(database: Settings, tmp_path: Path) -> None:
    formats, counted = Formats(database, tmp_path), []

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(drawn_rows())
    def check(drawn: tuple[list[Row], list[Row]]) -> None:
        tables = formats.rows(*drawn)
        counted.append(len(drawn[0]))
        for name, table in tables.items():
            assert table.schema == tables["sql"].schema, name
            assert bits(table) == bits(tables["sql"]), name
        by_id = {row["id"]: row for row in tables["sql"].to_pylist()}
        for row_id, values in expected(*drawn).items():
            row = by_id[row_id]
            assert {key: value.hex() if isinstance(value := row[key], float) else value for key in values} == values

    check()
    print(f"{sum(counted):,} rows in {len(counted):,} examples, by four formats each")


def test_one_format_after_another_changes_nothing(database: Settings, tmp_path: Path) -> None:
    frame = upstream_results(1).drop(columns=["initial_capital", "final_capital"])
    result = json.loads(frame.to_json(orient="records", date_format="iso"))[0]
    results = [{**result, "id": f"r{n}", "total_return": number} for n, number in enumerate((0.35, 0.1, 1e-7, -0.0))]
    features = [{"backtest_result_id": row["id"], "features": {"a": 0.35, "b": None, "c": 1e22}} for row in results]
    decimals = [Decimal("0.3500000"), Decimal("0.1"), Decimal("1E-7"), Decimal(0)]
    exact = pa.table({**pa.Table.from_pylist(results).to_pydict(), "total_return": pa.array(decimals)})
    objects = pa.table({**pa.Table.from_pylist(features).to_pydict(), "features": [{"a": 0.35, "c": 1e22}] * 4})
    parquet.write_table(exact, tmp_path / "decimals.parquet")
    parquet.write_table(objects, tmp_path / "objects.parquet")
    files = [
        (write_csv(results, tmp_path / "r.csv"), write_csv(features, tmp_path / "f.csv")),
        (write_json_lines(results, tmp_path / "r.jsonl"), write_json_lines(features, tmp_path / "f.jsonl")),
        (write_parquet(results, tmp_path / "r.parquet"), write_parquet(features, tmp_path / "f.parquet")),
        (tmp_path / "decimals.parquet", tmp_path / "objects.parquet"),
    ]
    reports = [import_files(database, *pair) for pair in files]
    assert [(report.total("inserted"), report.total("unchanged")) for report in reports] == [(8, 0)] + [(0, 8)] * 3
