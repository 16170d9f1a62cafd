"""Writes drawn rows as CSV, JSON Lines and Parquet, and into the tables by plain SQL."""

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.types.json import Jsonb
from pyarrow import parquet

Row = Mapping[str, Any]
"""Column -> text, float, int, bool, None, an aware datetime, or a dict of JSON."""


def write_csv(rows: Sequence[Row], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return path


def write_json_lines(rows: Sequence[Row], path: Path) -> Path:
    path.write_text("".join(json.dumps(row, default=datetime.isoformat) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(rows: Sequence[Row], path: Path) -> Path:
    """Objects are a MAP of float64, as DuckDB and Spark write it."""
    columns = {name: _array([row[name] for row in rows]) for name in rows[0]}
    parquet.write_table(pa.table(columns), path)
    return path


def insert(connection: psycopg.Connection, table: str, rows: Sequence[Row]) -> None:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, rows[0])),
        sql.SQL(", ").join([sql.Placeholder()] * len(rows[0])),
    )
    values = [[Jsonb(value) if isinstance(value, dict) else value for value in row.values()] for row in rows]
    connection.cursor().executemany(statement, values)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, dict) else value


def _array(values: list[Any]) -> pa.Array:
    known = [value for value in values if value is not None]
    if known and isinstance(known[0], dict):
        numbers = [[(key, None if each is None else float(each)) for key, each in value.items()] for value in values]
        return pa.array(numbers, pa.map_(pa.string(), pa.float64()))
    if known and isinstance(known[0], datetime):
        return pa.array(values, pa.timestamp("us", "Australia/Sydney"))
    return pa.array(values)
