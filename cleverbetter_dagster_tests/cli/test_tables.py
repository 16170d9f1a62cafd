"""Tables are one function, and the names in them are whole at every width of a terminal."""

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from cleverbetter_dagster import cli
from cleverbetter_dagster.cli.output import ResultTable
from cleverbetter_dagster.cli.settings_table import rows as settings_rows
from cleverbetter_dagster.settings import REPOSITORY

WIDTHS = (60, 80, 100, 120, 200)
INTERVAL = "0.7123 [0.6901, 0.7321]"
MODELS = ("shrunk_return", "ensemble", "a_family_with_quite_a_long_name")
WHY = "not shown to beat the bet-weighted return of a strategy: the interval of the difference reaches 0.0012"


def leaderboard() -> ResultTable:
    table = ResultTable("Leaderboard", ("model",), ("rows", "bets", "roc_auc", "brier", "roi", "growth"))
    for name in MODELS:
        table.add_row(Text(name), "12,345", "1,234,567", INTERVAL, INTERVAL, INTERVAL, INTERVAL)
    return table


def champions() -> ResultTable:
    table = ResultTable("Champions", ("champion", "as of", "since", "until", "how", "why", "by"))
    for name in MODELS:
        times = ("2023-12", "2024-01-01 10:00", "2024-02-01 10:00")
        table.add_row(Text(f"{name} v13"), *times, "promoted, gate overridden", WHY, "cleverbetter promote by ann@host")
    return table


def settings() -> ResultTable:
    table = ResultTable("Settings", ("variable", "value", "default", "meaning"))
    for row in settings_rows():
        table.add_row(row.variable, Text(row.value or "unset"), Text(row.default), Text(row.meaning))
    return table


def shown(table: ResultTable, width: int) -> str:
    file = io.StringIO()
    Console(width=width, file=file).print(table)
    assert max(map(len, file.getvalue().splitlines())) <= width
    return file.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", [leaderboard, champions, settings])
def test_every_name_is_on_one_line_at_every_width(make: object, width: int) -> None:
    names = [row.variable for row in settings_rows()] if make is settings else MODELS
    lines = shown(make(), width).splitlines()  # type: ignore[operator]
    for name in names:
        assert any(re.match(rf"\s*{name}\b", line) for line in lines), name


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_is_whole_at_every_width(width: int) -> None:
    text = shown(leaderboard(), width)
    for part in ("0.7123", "[0.6901,", "0.7321]"):
        assert text.count(part) == 4 * len(MODELS)
    assert text.count("1,234,567") == len(MODELS)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_column_of_texts_is_narrower_than_a_few_words(width: int) -> None:
    text = " ".join(shown(champions(), width).split())
    assert text.count("not shown to beat the") == len(MODELS)


def test_wide_terminals_get_one_line_a_row() -> None:
    assert f"ensemble {INTERVAL}".split()[0] in shown(leaderboard(), 200)
    assert all(line.count(INTERVAL) in (0, 4) for line in shown(leaderboard(), 200).splitlines())


def test_no_command_draws_a_table_of_its_own() -> None:
    modules = [path for path in (REPOSITORY / cli.__name__.replace(".", "/")).rglob("*.py") if path.name != "output.py"]
    assert len(modules) > 20
    assert [path.name for path in modules if "rich.table" in path.read_text()] == []
