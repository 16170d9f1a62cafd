"""What becomes of a metric without a value: the table of docs/importing.md, line by line."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.quality.rules import examine
from cleverbetter_dagster.dataset.schema import rows_frame
from cleverbetter_dagster.dataset.selection import passes_filter
from cleverbetter_dagster_tests.dataset.panels import spec
from cleverbetter_dagster_tests.dataset.quality.test_rules import NOW, rows

PAGE = Path(__file__).parents[3] / "docs" / "importing.md"

SITUATIONS = {
    "bets": {},
    "no bet": {"total_bets": 0.0, "roi": 0.0, "max_drawdown": 0.0, "win_rate": None},
    "a positive return": {"roi": 0.01},
    "a negative return": {"roi": -0.01},
    "a win rate of 1": {"win_rate": 1.0},
}


def documented() -> Iterator[tuple[str, str, str, str]]:
    section = PAGE.read_text().split("## Missing kinds and special values")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| ") and not line.startswith(("| column", "| ---")):
            column, written, situation, becomes, _ = (cell.strip() for cell in line.strip("|").split("|"))
            yield {"total_return": "roi"}.get(column, column), written, situation, becomes


def number(text: str) -> float | None:
    return None if text == "missing" else float(text)


def one_row(**values: float | None) -> pa.Table:
    return rows(1, **{name: pa.array([value], pa.float64()) for name, value in values.items()})


@pytest.mark.parametrize(("column", "written", "situation", "becomes"), list(documented()))
def test_a_special_value_becomes_what_the_table_says(column: str, written: str, situation: str, becomes: str) -> None:
    ways = [None, float("nan")] if written == "missing" else [float(written)]
    for way in ways:
        good, violations = examine(one_row(**{**SITUATIONS[situation], column: way}), NOW)
        assert violations.empty
        assert good[column].to_pylist() == [number(becomes)]


def test_the_table_has_every_metric_but_the_count() -> None:
    assert {column for column, *_ in documented()} == {
        "profit_factor",
        "sharpe_ratio",
        "win_rate",
        "roi",
        "max_drawdown",
        "composite_score",
    }


@pytest.mark.parametrize(
    ("values", "features"),
    [
        ({}, {"no_bet": 0, "no_sharpe_ratio": 0, "no_profit_factor": 0, "no_losing_bet": 0, "profit_factor": 1.25}),
        ({"profit_factor": float("inf")}, {"no_losing_bet": 1, "no_profit_factor": 0, "profit_factor": 10.0}),
        ({"profit_factor": None}, {"no_losing_bet": 0, "no_profit_factor": 1, "profit_factor": 1.0}),
        ({"sharpe_ratio": -100.0}, {"no_sharpe_ratio": 1, "sharpe_ratio": 0.0, "mean_sharpe_12": 0.0}),
        ({"sharpe_ratio": float("-inf")}, {"no_sharpe_ratio": 0, "sharpe_ratio": -20.0}),
        (
            SITUATIONS["no bet"] | {"sharpe_ratio": None, "profit_factor": None},
            {"no_bet": 1, "no_sharpe_ratio": 0, "no_profit_factor": 0, "win_rate": 0.5, "roi": 0.0},
        ),
    ],
)
def test_features_say_which_kind_is_missing(values: dict[str, float | None], features: dict[str, float]) -> None:
    panel = build_panel(rows_frame(examine(one_row(**values), NOW)[0]), None, spec())
    assert panel.loc[0, list(features)].to_dict() == features


@pytest.mark.parametrize(("score", "passes"), [(None, True), (float("inf"), True), (0.5, True), (0.2, False)])
def test_a_score_that_is_not_known_is_not_low(score: float | None, passes: bool) -> None:
    panel = build_panel(rows_frame(examine(one_row(composite_score=score), NOW)[0]), None, spec())
    assert passes_filter(panel, 0.3).tolist() == [passes]
