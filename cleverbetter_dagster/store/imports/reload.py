"""Loads quarantined rows into the table they were meant for, by the rules that apply to the rows of any file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from psycopg import sql

from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.dataset.schema import ID
from cleverbetter_dagster.errors import SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.intake import FeatureIntake, Intake, ResultIntake
from cleverbetter_dagster.store.imports.json_objects import flat, table_of
from cleverbetter_dagster.store.imports.staging import LINE, Staging
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.instants import has_month, month_instant
from cleverbetter_dagster.store.source.layout import SourceLayout


@dataclass(frozen=True)
class Loaded:
    """What happened to some rows, by their positions.

    Attributes:
        violations: `conversion.VIOLATION_COLUMNS`, why rows cannot be right; these were not loaded.
        refused: position -> why the table refused a row that can be right.
        months: months, `YYYY-MM`, of the loaded rows, new or in the table already; none for market features.
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
    """Load rows given as JSON objects with the names of their file.

    Args:
        table: `schema.name` of the results or the features table.
        source: the file they are from.

    Raises:
        SchemaError: `table` is no longer one of the two.
        ImportFileError: a column is missing; nothing was loaded.
    """
    parsed = table_of([flat(row, row) for row in rows])
    intake = _intake(settings, layout, table, Path(source), parsed)
    prepared, violations = intake.prepare(parsed)
    refused: dict[int, str] = {}
    with psycopg_connect(settings, "rows") as connection:
        staging = Staging(connection, intake.target, intake.columns)
        staged, violations = staging.add_good(prepared, np.arange(len(rows)), violations)
        if staged.num_rows:
            staging.merge()
            for entries in staging.refused():
                refused |= dict(zip(entries["line"].astype(int), entries["reason"], strict=True))
        connection.commit()
    if table != str(layout.results):
        return Loaded(violations, refused, ())
    loaded = staged.filter(pa.array([line not in refused for line in staged[LINE].to_pylist()], pa.bool_()))
    ends = pd.to_datetime(loaded[layout.window_end.name].to_pandas(), utc=True)
    return Loaded(violations, refused, tuple(np.unique(months_of(ends)).astype(str).tolist()))


def window_end_months(settings: Settings, layout: SourceLayout, ids: Collection[str]) -> list[str]:
    """The plausible months, `YYYY-MM`, of the rows of the results table that have these ids."""
    query = sql.SQL(
        "SELECT DISTINCT to_char(date_trunc('month', {instant}), 'YYYY-MM') FROM {table} r "
        "WHERE r.{key}::text = ANY({ids}) AND {has_month}"
    ).format(
        instant=month_instant(layout),
        has_month=has_month(layout),
        table=layout.results.identifier,
        key=sql.Identifier(layout.columns[ID].name),
        ids=sql.Literal(list(ids)),  # beside a parameter, a name with a per cent sign would be one more
    )
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        return sorted(month for (month,) in connection.execute(query))


def _intake(settings: Settings, layout: SourceLayout, table: str, path: Path, parsed: pa.Table) -> Intake:
    if table == str(layout.results):
        return ResultIntake(settings, layout, path, parsed)
    if layout.features is not None and table == str(layout.features.relation):
        return FeatureIntake(settings, layout, path, parsed)
    raise SchemaError(
        f"The rows were meant for {table}, which is no longer the table of backtests (now {layout.results}) or that of "
        "market features. Set CLEVERBETTER_RESULTS_TABLE and CLEVERBETTER_FEATURES_TABLE as they were then."
    )
