"""The champion's predictions of every live strategy, in PostgreSQL, for a betting service to read with one SELECT.

The service reads the view `current_predictions`: the champion's rows of the newest month that was scored, with the
staking options they were made with. Between a promotion or rollback and the new champion's first scores the view is
empty: no stakes are better than those of a withdrawn model or of an old month. The owner grants the right to read.
"""

import io
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg import sql
from psycopg.rows import dict_row

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger.table import ensure_ledger
from cleverbetter_dagster.store.postgres.database import advisory_lock, ensure_table, psycopg_connect, table_exists

KEY = ("strategy_id", "method")
TYPES = {
    "strategy_id": pa.string(),
    "method": pa.string(),
    "backtest_result_id": pa.string(),
    "decision_time": pa.timestamp("us", tz="UTC"),
    "probability": pa.float64(),
    "score": pa.float64(),
    "confidence": pa.float64(),
    "recommended_stake": pa.float64(),
    "expected_return": pa.float64(),
}
"""Columns of a frame of predictions, one row per strategy and method."""

FINITE = float(np.finfo(np.float64).max)
BOUNDS = {
    "probability": (0.0, 1.0),
    "recommended_stake": (0.0, 1.0),
    "score": (-FINITE, FINITE),
    "confidence": (0.0, 1.0),
    "expected_return": (-FINITE, FINITE),
}
MAY_BE_MISSING = ("score", "confidence", "expected_return")

DDL = """
CREATE TABLE IF NOT EXISTS strategy_predictions (
    as_of text NOT NULL,
    family text NOT NULL,
    model_version integer NOT NULL,
    run_id text NOT NULL,
    strategy_id text NOT NULL,
    method text NOT NULL,
    backtest_result_id text NOT NULL,
    decision_time timestamptz NOT NULL,
    probability double precision NOT NULL CHECK (probability BETWEEN 0 AND 1),
    score double precision,
    confidence double precision,
    recommended_stake double precision NOT NULL CHECK (recommended_stake BETWEEN 0 AND 1),
    expected_return double precision,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (as_of, family, model_version, strategy_id, method)
);
COMMENT ON TABLE strategy_predictions IS 'One row per strategy and method scored by a model at a month (as_of): '
    'probability that its next window is profitable, and the fraction of the bankroll to give it.';

CREATE TABLE staking_options (
    as_of text NOT NULL,
    family text NOT NULL,
    model_version integer NOT NULL,
    kelly_fraction double precision NOT NULL,
    max_stake_fraction double precision NOT NULL,
    max_total_fraction double precision NOT NULL,
    PRIMARY KEY (as_of, family, model_version)
);
COMMENT ON TABLE staking_options IS 'One row per model and month (as_of) it scored strategies at: the bounds on its '
    'stakes there.';

CREATE OR REPLACE VIEW current_predictions AS
    SELECT p.*, o.kelly_fraction, o.max_stake_fraction, o.max_total_fraction FROM strategy_predictions p
    JOIN current_champion c ON (p.family, p.model_version) = (c.family, c.version)
    LEFT JOIN staking_options o
        ON (o.as_of, o.family, o.model_version) = (p.as_of, p.family, p.model_version)
    WHERE p.as_of = (SELECT max(as_of) FROM strategy_predictions);
"""

UPSERT = """
INSERT INTO strategy_predictions AS known (as_of, family, model_version, run_id, {columns})
SELECT %(as_of)s, %(family)s, %(version)s, %(run_id)s, {columns} FROM scored
ON CONFLICT (as_of, family, model_version, strategy_id, method) DO UPDATE
SET (run_id, {columns}, created_at) = (excluded.run_id, {excluded}, excluded.created_at)
WHERE (known.run_id, {known}) IS DISTINCT FROM (excluded.run_id, {excluded})
"""

DELETE = """
DELETE FROM strategy_predictions known
WHERE as_of = %(as_of)s AND family = %(family)s AND model_version = %(version)s AND NOT EXISTS (
    SELECT FROM scored WHERE (scored.strategy_id, scored.method) = (known.strategy_id, known.method))
"""


UPSERT_OPTIONS = """
INSERT INTO staking_options VALUES (%(as_of)s, %(family)s, %(version)s,
    %(kelly_fraction)s, %(max_stake_fraction)s, %(max_total_fraction)s)
ON CONFLICT (as_of, family, model_version) DO UPDATE
SET (kelly_fraction, max_stake_fraction, max_total_fraction)
    = (excluded.kelly_fraction, excluded.max_stake_fraction, excluded.max_total_fraction)
"""


@dataclass(frozen=True)
class ScoredBy:
    """Which model scored, at which month (as late as its own as_of or later), and the bounds on its stakes."""

    as_of: str
    family: str
    version: int
    run_id: str
    staking: StakingSpec


@dataclass(frozen=True)
class Written:
    """Rows that were new or changed, and rows that were there before and are no longer predicted."""

    written: int
    removed: int


def write_predictions(settings: Settings, predictions: pd.DataFrame, by: ScoredBy) -> Written:
    """Make the table hold exactly these predictions of this model at this month, in one transaction.

    Writing the same again changes no row, not even `created_at`.

    Args:
        predictions: columns of `TYPES`; `probability` and `recommended_stake` in 0..1, never missing; `score`,
            `confidence` and `expected_return` may be NaN. One row per strategy and method.

    Raises:
        DataError: a column is missing, a value is missing or out of range, or a strategy occurs twice.
    """
    table = _checked(predictions)
    values = {"as_of": by.as_of, "family": by.family, "version": by.version, "run_id": by.run_id}
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        _ensure_tables(connection)
        # One writer at a time, or two that write the same month would delete each other's rows.
        with advisory_lock(connection, f"predictions {by.as_of}"), connection.transaction():
            _copy(connection, table)
            names = [sql.Identifier(name) for name in TYPES]
            upsert = sql.SQL(UPSERT).format(
                columns=sql.SQL(", ").join(names),
                excluded=sql.SQL(", ").join(sql.SQL("excluded.{}").format(name) for name in names),
                known=sql.SQL(", ").join(sql.SQL("known.{}").format(name) for name in names),
            )
            written = connection.execute(upsert, values).rowcount
            connection.execute(UPSERT_OPTIONS, {**values, **by.staking.model_dump()})
            return Written(written, connection.execute(DELETE, values).rowcount)


def read_predictions(settings: Settings, as_of: str | None = None) -> pd.DataFrame:
    """Predictions, the largest stake first: of all models at `as_of`, or what `current_predictions` shows now.

    Returns:
        Frame of the table's columns; numbers that were missing are NaN. Empty before the first prediction.
    """
    query = (
        "SELECT * FROM current_predictions"
        if as_of is None
        else "SELECT * FROM strategy_predictions WHERE as_of = %(as_of)s"
    )
    return _selected(settings, query, {"as_of": as_of})


def read_predictions_between(settings: Settings, first: str, last: str) -> pd.DataFrame:
    """Predictions made at the months `first` to `last`, both included, by whichever models; as `read_predictions`."""
    query = "SELECT * FROM strategy_predictions WHERE as_of BETWEEN %(first)s AND %(last)s"
    return _selected(settings, query, {"first": first, "last": last})


def made_by(predictions: pd.DataFrame, model: tuple[str | None, int | None]) -> pd.DataFrame:
    """Those of the predictions that one model, a family and a version, made; none where those are None."""
    family, version = model
    return predictions[(predictions["family"] == family) & (predictions["model_version"] == version)]


def _selected(settings: Settings, query: str, values: dict[str, str | None]) -> pd.DataFrame:
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        _ensure_tables(connection)
        cursor = connection.cursor(row_factory=dict_row)
        cursor.execute(f"{query} ORDER BY recommended_stake DESC, probability DESC, strategy_id", values)
        names = [column.name for column in cursor.description or ()]
        frame = pd.DataFrame(cursor.fetchall(), columns=names)
    numbers = [name for name, kind in TYPES.items() if kind == pa.float64()]
    times = ["decision_time", "created_at"]
    return frame.astype(dict.fromkeys(numbers, "float64")).assign(
        **{name: pd.to_datetime(frame[name], utc=True) for name in times}
    )


def _ensure_tables(connection: psycopg.Connection) -> None:
    if not table_exists(connection, "staking_options"):
        ensure_ledger(connection)
        ensure_table(connection, "staking_options", DDL)


def _checked(predictions: pd.DataFrame) -> pa.Table:
    """The predictions as Arrow, once nothing is wrong with them."""
    absent = [name for name in TYPES if name not in predictions.columns]
    if absent:
        raise DataError(f"The predictions lack {', '.join(absent)}; give all of {', '.join(TYPES)}.")
    try:
        table = pa.Table.from_pandas(predictions[list(TYPES)], schema=pa.schema(TYPES), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"The predictions hold a value of the wrong kind: {error}.") from error
    missing = [name for name in TYPES if name not in MAY_BE_MISSING and table[name].null_count]
    if missing:
        raise DataError(f"The predictions miss values in {', '.join(missing)}; these are needed in every row.")
    for name, (low, high) in BOUNDS.items():
        _check_bounds(predictions, name, low, high)
    repeated = predictions.duplicated(list(KEY))
    if repeated.any():
        strategy, method = predictions.loc[repeated, list(KEY)].iloc[0]
        raise DataError(f"Strategy {strategy!r} ({method!r}) is predicted twice; keep its newest row only.")
    return table


def _check_bounds(predictions: pd.DataFrame, name: str, low: float, high: float) -> None:
    values = predictions[name].astype("float64")
    outside = np.flatnonzero((values < low) | (values > high))
    if outside.size:
        strategy, value = predictions["strategy_id"].iloc[outside[0]], values.iloc[outside[0]]
        raise DataError(f"{name} of {strategy!r} is {value}, outside {low:g}..{high:g} ({outside.size} such rows).")


def _copy(connection: psycopg.Connection, table: pa.Table) -> None:
    """Send the rows to the temporary table `scored`, as CSV written by Arrow: NaN is null, an empty text is none."""
    connection.execute(
        sql.SQL("CREATE TEMP TABLE scored ON COMMIT DROP AS SELECT {} FROM strategy_predictions WITH NO DATA").format(
            sql.SQL(", ").join(sql.Identifier(name) for name in TYPES)
        )
    )
    text = io.BytesIO()
    pyarrow.csv.write_csv(table, text, pyarrow.csv.WriteOptions(include_header=False))
    with connection.cursor().copy("COPY scored FROM STDIN (FORMAT csv)") as copy:
        copy.write(text.getvalue())
