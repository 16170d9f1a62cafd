"""The names of a team's tables are settings: no module names the default tables itself."""

import re
from pathlib import Path

import cleverbetter_dagster
from cleverbetter_dagster.settings import Settings

PACKAGE = Path(cleverbetter_dagster.__file__).parent
NAMES = (Settings().results_table, Settings().features_table)

ALLOWED = {
    "settings.py": "the defaults",
    "defs/assets/rows.py": "the keys of two assets, whatever the tables are called",
    "dataset/schema.py": "the JSON column `ml_features` of a results table",
}
FILE_NAMES = re.compile(r"\w+\.parquet")
"""Examples of a command name files after the tables."""


def named_tables(text: str) -> list[str]:
    """The lines that contain a default name as a word, other than as the name of a file."""
    return [line.strip() for line in text.splitlines() if words(FILE_NAMES.sub("", line)) & set(NAMES)]


def words(line: str) -> set[str]:
    return set(re.findall(r"\w+", line))


def test_no_module_names_a_table_of_the_settings() -> None:
    modules = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
    named = {name: lines for name, path in modules.items() if (lines := named_tables(path.read_text()))}
    assert named.keys() == ALLOWED.keys(), {name: named[name] for name in named.keys() - ALLOWED.keys()}


def test_table_names_are_searched_in_sql_and_messages() -> None:
    assert named_tables('"SELECT 1 FROM backtest_results"\n"public.ml_features holds rows"\n"my_backtest_results"') == [
        '"SELECT 1 FROM backtest_results"',
        '"public.ml_features holds rows"',
    ]
    assert named_tables("cleverbetter import --results backtest_results.parquet") == []
