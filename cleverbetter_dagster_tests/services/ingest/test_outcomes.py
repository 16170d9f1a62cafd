"""Windows that won, lost or had no bet, with every way of writing a ratio that has no value: all of them are rows.

Through a file and the table, and from tables whose columns are of other types.
"""

from itertools import product
from pathlib import Path

import pandas as pd
import psycopg
import pyarrow as pa
import pytest

from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.support.upstream_rows import upstream_results

WRITTEN = ("inf", "-inf", "NaN", "999", "-100", "0", "")
"""How exporters write a ratio without a denominator; nothing is NULL."""

OUTCOMES = {
    "every bet won": {"total_return": 0.2, "win_rate": 1.0, "max_drawdown": 0.0, "final_capital": 1200.0},
    "every bet lost": {"total_return": -0.2, "win_rate": 0.0, "max_drawdown": 0.2, "final_capital": 800.0},
    "won": {"total_return": 0.2},
    "lost": {"total_return": -0.2},
    "no bet": {"total_bets": 0, "total_return": None, "win_rate": None, "max_drawdown": None, "final_capital": None},
}
RATIOS = ["profit_factor", "sharpe_ratio", "composite_score"]
MONTH = "2023-01"


def named(outcome: str, written: str) -> str:
    return f"{outcome}: {written or 'NULL'}"


def every_outcome() -> pd.DataFrame:
    """Each outcome with each way of writing all three ratios."""
    plain = upstream_results(1).iloc[0].to_dict() | {"initial_capital": None, "final_capital": None}
    rows = [
        plain | values | dict.fromkeys(RATIOS, written) | dict.fromkeys(["id", "strategy_id"], named(name, written))
        for (name, values), written in product(OUTCOMES.items(), WRITTEN)
    ]
    return pd.DataFrame(rows)


def loaded(settings: Settings) -> pa.Table:
    month = load_months(settings, [MONTH]).months[MONTH]
    assert month.quarantined == 0
    return month.table.sort_by("id")


def test_every_outcome_is_a_row_whatever_its_ratios(database: Settings, tmp_path: Path) -> None:
    results = every_outcome()
    results.to_csv(tmp_path / "results.csv", index=False)
    assert import_files(database, tmp_path / "results.csv", None).total("inserted") == len(results)
    rows = loaded(database).to_pandas().set_index("id")
    assert len(rows) == len(results)
    lossless = [named("every bet won", written) for written in WRITTEN]
    assert rows.loc[lossless, "profit_factor"].tolist() == [999.0] * len(WRITTEN)
    assert rows.filter(like="no bet", axis="index")[["profit_factor", "sharpe_ratio", "win_rate"]].isna().all(axis=None)
    assert (rows.filter(like="no bet", axis="index")[["roi", "max_drawdown"]] == 0).all(axis=None)


@pytest.mark.parametrize("kind", ["numeric", "text", "real"])
def test_ratios_of_any_type_mean_the_same(database: Settings, tmp_path: Path, kind: str) -> None:
    every_outcome().to_csv(tmp_path / "results.csv", index=False)
    import_files(database, tmp_path / "results.csv", None)
    before = loaded(database)
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        _change_types(connection, kind)
    assert loaded(database).equals(before)


def _change_types(connection: psycopg.Connection, kind: str) -> None:
    for column in [*RATIOS, "total_return", "win_rate", "max_drawdown"]:
        connection.execute(f"ALTER TABLE backtest_results ALTER COLUMN {column} DROP NOT NULL")
        connection.execute(f"ALTER TABLE backtest_results ALTER COLUMN {column} TYPE {kind} USING {column}::{kind}")
    for column in RATIOS:  # NaN stood for NULL
        missing = "'NaN'" if kind == "text" else f"'NaN'::{kind}"
        connection.execute(f"UPDATE backtest_results SET {column} = NULL WHERE {column} = {missing}")
