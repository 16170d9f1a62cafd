"""The champion's predictions of every live strategy, in PostgreSQL, for a betting service to read with one SELECT.

The service reads the view `current_predictions`: the champion's rows of the newest month that was scored, with the
staking options they were made with. Whoever decides scores the new champion at once; until that is done the view is
empty: no stakes are better than those of a withdrawn model or of an old month. A month without rows, which a model
that was withdrawn since may have scored, does not count. The owner grants the right to read.
"""

from contextlib import closing
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from cleverbetter_dagster.betting.exposure import Exposure
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger.table import ensure_ledger
from cleverbetter_dagster.store.postgres.database import ensure_table, psycopg_connect, table_exists
from cleverbetter_dagster.store.postgres.locks import advisory_lock
from cleverbetter_dagster.store.source.load_log import ensure_load_log

KEY = ["strategy_id", "method"]
FINITE = float(np.finfo(np.float64).max)
NUMBERS = {
    "probability": (0.0, 1.0),
    "score": (-FINITE, FINITE),
    "confidence": (0.0, 1.0),
    "recommended_stake": (0.0, 1.0),
    "expected_return": (-FINITE, FINITE),
}
"""Columns of numbers, with their bounds."""

MAY_BE_MISSING = ["score", "confidence", "expected_return"]
COLUMNS = [*KEY, "backtest_result_id", "decision_time", *NUMBERS]
"""Columns of a frame of predictions, one row per strategy and method."""

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

CREATE TABLE IF NOT EXISTS staking_options (
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

CREATE TABLE stake_exposures (
    as_of text NOT NULL,
    family text NOT NULL,
    model_version integer NOT NULL,
    covariance_months integer NOT NULL,
    common_share double precision,
    effective_bets double precision,
    PRIMARY KEY (as_of, family, model_version)
);
COMMENT ON TABLE stake_exposures IS 'One row per model and month (as_of) it scored strategies at: months of returns '
    'its stakes take the covariance from (0: strategies as if independent), share of the variance of the bankroll that '
    'is common, and independent strategies that would be as diversified.';

CREATE OR REPLACE VIEW current_predictions AS
    SELECT p.*, o.kelly_fraction, o.max_stake_fraction, o.max_total_fraction, e.covariance_months, e.common_share,
        e.effective_bets
    FROM strategy_predictions p
    JOIN current_champion c ON (p.family, p.model_version) = (c.family, c.version)
    LEFT JOIN staking_options o
        ON (o.as_of, o.family, o.model_version) = (p.as_of, p.family, p.model_version)
    LEFT JOIN stake_exposures e
        ON (e.as_of, e.family, e.model_version) = (p.as_of, p.family, p.model_version)
    WHERE p.as_of = (
        SELECT max(scored.as_of) FROM strategy_predictions scored
        WHERE scored.as_of <= greatest(
            c.as_of, (SELECT max(month) FROM load_log WHERE (loaded -> 'digest' ->> 'rows')::bigint > 0)));
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

UPSERT_EXPOSURE = """
INSERT INTO stake_exposures VALUES (%(as_of)s, %(family)s, %(version)s,
    %(covariance_months)s, %(common_share)s, %(effective_bets)s)
ON CONFLICT (as_of, family, model_version) DO UPDATE
SET (covariance_months, common_share, effective_bets)
    = (excluded.covariance_months, excluded.common_share, excluded.effective_bets)
"""


@dataclass(frozen=True)
class ScoredBy:
    """Which model scored, at which month (as late as its own as_of or later), the bounds on its stakes, and how much of
    them moves together.
    """

    as_of: str
    family: str
    version: int
    run_id: str
    staking: StakingSpec
    exposure: Exposure = field(default_factory=Exposure)


def write_predictions(settings: Settings, predictions: pd.DataFrame, by: ScoredBy) -> None:
    """Make the table hold exactly these predictions of this model at this month, in one transaction.

    Writing the same again changes no row, not even `created_at`.

    Args:
        predictions: `COLUMNS`; `probability` and `recommended_stake` in 0..1, never missing; `score`, `confidence` and
            `expected_return` may be NaN. One row per strategy and method.

    Raises:
        DataError: a column is missing, a value is missing or out of range, or a strategy occurs twice.
    """
    rows = _checked(predictions)
    names = [sql.Identifier(name) for name in COLUMNS]
    columns, excluded, known = (
        sql.SQL(", ").join(sql.SQL(prefix) + name for name in names) for prefix in ("", "excluded.", "known.")
    )
    upsert = sql.SQL(UPSERT).format(columns=columns, excluded=excluded, known=known)
    exposure = by.exposure.model_dump(include={"common_share", "effective_bets"})
    values = {**asdict(by), **by.staking.model_dump(), **exposure, "covariance_months": by.exposure.months}
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        _ensure_tables(connection)
        # One writer at a time, or two that write the same month would delete each other's rows.
        with advisory_lock(connection, f"predictions {by.as_of}"), connection.transaction():
            temporary = "CREATE TEMP TABLE scored ON COMMIT DROP AS SELECT {} FROM strategy_predictions WITH NO DATA"
            connection.execute(sql.SQL(temporary).format(columns))
            with connection.cursor().copy("COPY scored FROM STDIN") as copy:
                for row in rows.itertuples(index=False):
                    copy.write_row(row)
            for statement in (upsert, UPSERT_OPTIONS, UPSERT_EXPOSURE, DELETE):
                connection.execute(statement, values)


def read_predictions(
    settings: Settings, first: str | None = None, last: str | None = None, strategy: str | None = None
) -> pd.DataFrame:
    """Predictions of all models at the months `first` to `last`, or at `first` alone, the largest stake first.

    Args:
        strategy: only those of this one.

    Returns:
        Frame of the table's columns; missing numbers are NaN. Without a month it is what `current_predictions` shows,
        the staking options and the exposure included. Empty before the first prediction.
    """
    query = "SELECT * FROM strategy_predictions WHERE as_of BETWEEN %(first)s AND %(last)s"
    query = query if first else "SELECT * FROM current_predictions"
    if strategy is not None:
        query += f" {'AND' if first else 'WHERE'} strategy_id = %(strategy)s"
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        _ensure_tables(connection)
        cursor = connection.cursor(row_factory=dict_row)
        order = "ORDER BY recommended_stake DESC, probability DESC, strategy_id"
        cursor.execute(f"{query} {order}", {"first": first, "last": last or first, "strategy": strategy})
        frame = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])
    times = {name: pd.to_datetime(frame[name], utc=True) for name in ("decision_time", "created_at")}
    return frame.astype(dict.fromkeys(NUMBERS, "float64")).assign(**times)


def made_by(predictions: pd.DataFrame, model: tuple[str | None, int | None]) -> pd.DataFrame:
    """The predictions of one model, a family and a version; none if these are None."""
    family, version = model
    return predictions[(predictions["family"] == family) & (predictions["model_version"] == version)]


def _ensure_tables(connection: psycopg.Connection) -> None:
    if not table_exists(connection, "stake_exposures"):
        ensure_ledger(connection)
        ensure_load_log(connection)
        ensure_table(connection, "stake_exposures", DDL)


def _checked(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions as objects, missing values as None, after every check."""
    absent = [name for name in COLUMNS if name not in predictions.columns]
    if absent:
        raise DataError(f"The predictions lack {', '.join(absent)}; give all of {', '.join(COLUMNS)}.")
    try:
        rows = predictions[COLUMNS].astype(dict.fromkeys(NUMBERS, "float64"))
    except (TypeError, ValueError) as error:
        raise DataError(f"The predictions hold a value of the wrong kind: {error}.") from error
    missing = [name for name in COLUMNS if name not in MAY_BE_MISSING and rows[name].isna().any()]
    if missing:
        raise DataError(f"The predictions miss values in {', '.join(missing)}; these are needed in every row.")
    for name, (low, high) in NUMBERS.items():
        outside = rows[(rows[name] < low) | (rows[name] > high)]
        if len(outside):
            strategy, value = outside[["strategy_id", name]].iloc[0]
            raise DataError(f"{name} of {strategy!r} is {value}, outside {low:g}..{high:g} ({len(outside)} such rows).")
    repeated = rows.duplicated(KEY)
    if repeated.any():
        strategy, method = rows.loc[repeated, KEY].iloc[0]
        raise DataError(f"Strategy {strategy!r} ({method!r}) is predicted twice; keep only its newest row.")
    return rows.astype(object).where(rows.notna(), None)
