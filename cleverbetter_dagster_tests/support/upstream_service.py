"""Tables as a backtesting service fills them: everything in `backtest_results`, half-open windows, all run just now.

Beside real backtests there are `aggregated` rows, whose JSON null means no features, and `ml_estimate` rows: a guess
at a return, without a bet. `full_results` is long, and no reader needs it. `strategies` has names.
"""

import json

import numpy as np
import pandas as pd
import psycopg

from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows

TABLES = """
CREATE TABLE strategies (id uuid PRIMARY KEY, name varchar(255) NOT NULL, is_active boolean NOT NULL DEFAULT true);
CREATE TABLE backtest_results (
    id uuid NOT NULL, strategy_id uuid NOT NULL REFERENCES strategies, run_date timestamptz NOT NULL,
    start_date timestamptz NOT NULL, end_date timestamptz NOT NULL, initial_capital numeric(15, 2),
    final_capital numeric(15, 2), total_return numeric(10, 6), sharpe_ratio numeric, max_drawdown numeric(10, 6),
    total_bets integer NOT NULL, win_rate numeric(5, 4), profit_factor numeric, method varchar(50) NOT NULL,
    composite_score numeric(5, 4), recommendation varchar(50), ml_features jsonb, full_results jsonb,
    created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id, run_date))"""

METRICS = ["sharpe_ratio", "max_drawdown", "win_rate", "profit_factor", "composite_score"]
LONG_EVERY = 50
"""One row in so many has its full results here, to keep the sample small; the service writes them into every row."""


def service_rows(spec: SimulationSpec, now: pd.Timestamp) -> pd.DataFrame:
    """The rows of `backtest_results`: for each simulated one a real backtest, and for some also the other methods."""
    results, features = simulate_rows(spec)
    rng = np.random.default_rng(spec.seed)
    real = results.drop(columns=["created_at"]).assign(
        method="real_backtest",
        end_date=(results["start_date"].dt.tz_localize(None) + pd.offsets.MonthBegin()).dt.tz_localize("UTC"),
        run_date=now,
        ml_features=features["features"].to_numpy(),
        full_results=[_long(rng) if number % LONG_EVERY == 0 else None for number in results.index],
    )
    aggregated = _of_method(real.iloc[::3], "aggregated", ml_features="null")
    estimates = _of_method(real.iloc[::5], "ml_estimate", ml_features=None, total_bets=0, **dict.fromkeys(METRICS))
    parts = [rows.astype(object) for rows in (real, aggregated, estimates)]
    return pd.concat(parts, ignore_index=True).infer_objects()


def write_service_rows(connection: psycopg.Connection, rows: pd.DataFrame) -> None:
    """Create the tables and fill them."""
    connection.execute(TABLES)
    names = {strategy: f"Strategy {number}" for number, strategy in enumerate(rows["strategy_id"].unique())}
    with connection.cursor() as cursor:
        with cursor.copy("COPY strategies (id, name) FROM STDIN") as copy:
            for row in names.items():
                copy.write_row(row)
        with cursor.copy(f"COPY backtest_results ({', '.join(rows.columns)}) FROM STDIN") as copy:
            for row in rows.astype(object).where(rows.notna(), None).itertuples(index=False):
                copy.write_row(row)


def _long(rng: np.random.Generator) -> str:
    return json.dumps({"log": rng.bytes(15_000).hex()})


def _of_method(rows: pd.DataFrame, method: str, **values: object) -> pd.DataFrame:
    """The same windows by another method."""
    ids = [f"{number:08x}{row[8:]}" for number, row in enumerate(rows["id"], start=len(method) << 20)]
    return rows.assign(id=ids, method=method, full_results=None, **values)
