"""Rows out of quarantine into the table they were meant for, by the rules any file's rows are loaded by."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from psycopg import sql

from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.dataset.schema import ID, TEXTS
from cleverbetter_dagster.errors import SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import feature_intake, result_intake
from cleverbetter_dagster.store.imports.json_objects import parse_objects
from cleverbetter_dagster.store.imports.staging import LINE, Staging
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.layout import FEATURE_KEYS, SourceLayout


@dataclass(frozen=True)
class Loaded:
    """What became of some rows, by their positions.

    Attributes:
        violations: `conversion.VIOLATION_COLUMNS`, why those that cannot be right cannot; they were not loaded.
        refused: position -> why the table refused a row that can be right.
        months: months, `YYYY-MM`, whose windows' rows are new or were there already; none for market features.
    """

    violations: pd.DataFrame
    refused: Mapping[int, str]
    months: tuple[str, ...]

    @property
    def left_out(self) -> set[int]:
        """Positions of the rows that are not in the table."""
        return {*self.violations["position"].tolist(), *self.refused}


def load_objects(
    settings: Settings, layout: SourceLayout, table: str, source: str, rows: Sequence[Mapping[str, Any]]
) -> Loaded:
    """Load rows given as JSON objects under the names their file had.

    Args:
        table: `schema.name` of the results or the features table.
        source: the file they are from.

    Raises:
        SchemaError: `table` is neither, by now.
        ImportFileError: a column is missing, or the table cannot hold a value; nothing was loaded.
    """
    texts = [json.dumps(row).encode() for row in rows]
    known = dict.fromkeys(name for row in rows for name in row)
    # Ids that look like dates or numbers are kept as they are written.
    types = {name: pa.string() for name in known if name in (*TEXTS, *FEATURE_KEYS)}
    parsed = parse_objects(texts, types).table
    intake = _intake(settings, layout, table, Path(source), parsed)
    prepared = intake.prepare(parsed)
    good = np.setdiff1d(np.arange(len(rows)), prepared.violations["position"].to_numpy(dtype=int))
    numbered = prepared.rows.append_column(LINE, pa.array(np.arange(len(rows)))).take(pa.array(good))
    refused: dict[int, str] = {}
    with psycopg_connect(settings, "rows") as connection:
        staging = Staging(connection, intake.target, intake.columns)
        if len(good):
            staging.add(numbered)
            staging.merge()
            for found in staging.refused():
                refused |= dict(zip(found["line"].astype(int), found["reason"], strict=True))
        connection.commit()
    loaded = numbered.filter(pa.array([line not in refused for line in numbered[LINE].to_pylist()], pa.bool_()))
    return Loaded(prepared.violations, refused, _months(layout, table, loaded))


def decision_months(settings: Settings, layout: SourceLayout, ids: Collection[str]) -> list[str]:
    """Decision months, `YYYY-MM`, of the rows of the results table that have these ids."""
    decided = layout.columns[layout.decision_time]
    instant = sql.Identifier(decided.name)
    utc = sql.SQL("{} AT TIME ZONE 'UTC'").format(instant) if decided.kind == "timestamptz" else instant
    query = sql.SQL(
        "SELECT DISTINCT to_char({utc}, 'YYYY-MM') FROM {table} WHERE {key}::text = ANY(%s) AND isfinite({instant})"
    ).format(utc=utc, table=layout.results.identifier, key=sql.Identifier(layout.columns[ID].name), instant=instant)
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        return sorted(month for (month,) in connection.execute(query, [list(ids)]))


def _intake(settings: Settings, layout: SourceLayout, table: str, path: Path, parsed: pa.Table) -> Any:
    if table == str(layout.results):
        return result_intake(settings, path, parsed, layout)
    if layout.features is not None and table == str(layout.features.relation):
        return feature_intake(settings, path, parsed, layout)
    raise SchemaError(
        f"The rows were meant for {table}, which is neither the table of backtests ({layout.results}) nor that of "
        "market features by now. Set CLEVERBETTER_RESULTS_TABLE and CLEVERBETTER_FEATURES_TABLE as they were then."
    )


def _months(layout: SourceLayout, table: str, rows: pa.Table) -> tuple[str, ...]:
    if table != str(layout.results):
        return ()
    ends = rows[layout.columns[layout.decision_time].name].to_pandas()
    return tuple(np.unique(months_of(pd.to_datetime(ends, utc=True))).astype(str).tolist())
