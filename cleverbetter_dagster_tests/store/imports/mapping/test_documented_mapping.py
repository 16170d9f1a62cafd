"""The example of `docs/importing.md`, "Files of other tools", gives the rows that it promises."""

import re
from pathlib import Path

from cleverbetter_dagster.settings import REPOSITORY, Settings
from cleverbetter_dagster.store.imports.importer import FileForm, import_files
from cleverbetter_dagster.store.imports.mapping.loading import load_mapping
from cleverbetter_dagster.store.postgres.database import psycopg_connect


def block(language: str) -> str:
    """The example's block in this language."""
    section = (REPOSITORY / "docs" / "importing.md").read_text().split("## Files of other tools")[1]
    (text,) = re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)
    return str(text)


def test_the_documented_mapping_gives_rows_in_our_units(database: Settings, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(block("csv"))
    (tmp_path / "runs.toml").write_text(block("toml"))
    mapping = load_mapping(tmp_path / "runs.toml")
    import_files(database, tmp_path / "runs.csv", None, form=FileForm(mapping))
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        rows = connection.execute(
            "SELECT strategy_id, total_return, max_drawdown, win_rate, total_bets, profit_factor, "
            "end_date AT TIME ZONE 'UTC' FROM backtest_results ORDER BY 1"
        ).fetchall()
    assert [row[:-1] for row in rows] == [
        ("favourites", 0.12, 0.085, 0.417, 60, 1.31),
        ("outsiders", -0.045, 0.11, 0.08, 25, 0.84),
    ]
    assert {row[-1].isoformat() for row in rows} == {"2023-07-31T22:59:00"}  # summer time
