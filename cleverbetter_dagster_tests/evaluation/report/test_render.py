"""One HTML file that needs nothing else, says what the view says, and takes no HTML from anybody."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.report import Chart, Number, Report, Section, Table, charts, render
from cleverbetter_dagster.evaluation.report.svg import Board
from cleverbetter_dagster.evaluation.report.walk_forward import WalkedModel, WalkForwardView, walk_forward_report
from cleverbetter_dagster_tests.evaluation.scored import simulated_models

MODELS = simulated_models()
EVIL = '<script>alert("x")</script>&'
BETWEEN = Interval(point=0.7, low=0.6, high=0.8, level=0.95)
ALLOCATIONS = {name: allocation_of(rows) for name, rows in MODELS.items()}
VALUES = pd.DataFrame(np.random.default_rng(0).normal(0, 0.05, (60, 3)), columns=["odds", EVIL, "age"])

CHARTS = {
    "reliability": charts.reliability_chart(MODELS["good"]),
    "histogram": charts.probability_chart(MODELS["good"]),
    "roc": charts.roc_chart(MODELS),
    "precision_recall": charts.precision_recall_chart(MODELS),
    "bankroll": charts.bankroll_chart(ALLOCATIONS),
    "drawdown": charts.drawdown_chart("good", ALLOCATIONS["good"]),
    "impact": charts.impact_chart(VALUES, VALUES),
    "forest": charts.forest_chart("AUC", [(EVIL, BETWEEN), ("none", None)], str, "c"),
    "monthly": charts.monthly_chart("AUC", "c", {EVIL: (["2023-01", "2023-02"], [BETWEEN, None])}, str, 0.5),
}


def report(**changes: object) -> Report:
    section = Section(
        EVIL,
        EVIL,
        numbers=(Number(EVIL, EVIL, EVIL),),
        charts=(Chart(EVIL, EVIL, CHARTS["forest"].svg, (("#000", EVIL),)),),
        tables=(Table(EVIL, (EVIL, "stake"), ((EVIL, Number("", EVIL, EVIL)),), EVIL),),
    )
    fields = {"title": EVIL, "subtitle": EVIL, "verdict": EVIL, "tone": "bad", "summary": EVIL, "reasons": (EVIL,)}
    more = {"sections": (section,), "provenance": ((EVIL, EVIL),), "command": EVIL}
    return Report(**{**fields, **more, **changes})  # type: ignore[arg-type]


def test_nothing_a_name_holds_becomes_html() -> None:
    html = render(report())
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 15


def test_nothing_is_fetched() -> None:
    html = render(report())
    assert not re.findall(r"""(?:src|href)\s*=|url\(|@import|https?://""", html)


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_sound_svg_without_a_place_that_is_no_number(name: str) -> None:
    svg = str(CHARTS[name].svg)
    ElementTree.fromstring(svg)
    assert "nan" not in svg
    assert "inf" not in re.sub(r"<title>.*?</title>", "", svg)


@pytest.mark.parametrize("name", sorted(set(CHARTS) - {"monthly"}))
def test_hovering_tells_the_numbers(name: str) -> None:
    titles = re.findall(r"<title>(.*?)</title>", str(CHARTS[name].svg))
    assert titles
    assert all(re.search(r"\d", title) for title in titles)


def test_every_coordinate_lies_inside_the_picture() -> None:
    for chart in CHARTS.values():
        root = ElementTree.fromstring(str(chart.svg))
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for circle in root.iter("circle"):
            assert 0 <= float(circle.attrib["cx"]) <= width
            assert 0 <= float(circle.attrib["cy"]) <= height


def test_a_board_puts_values_where_they_belong() -> None:
    board = Board((0.0, 10.0), (0.0, 1.0), height=248, left=50, bottom=38)
    assert [board.x(0), board.x(10)] == [50, 382]
    assert [board.y(0), board.y(0.5), board.y(1)] == [210, 110, 10]


def test_a_walk_forward_is_told_from_a_plain_view() -> None:
    months = ("2023-01", "2023-02")
    walked = WalkedModel(months, (BETWEEN, None), (BETWEEN, BETWEEN), ALLOCATIONS["good"], promoted=1)
    other = WalkedModel(months, (None, None), (None, None), ALLOCATIONS["blind"])
    html = render(walk_forward_report(WalkForwardView("It holds up.", {"good": walked, "blind": other})))
    assert "2023-01 to 2023-02, 2 months" in html
    assert "It holds up." in html
    assert "good, 2023-01: 0.70 (0.60 to 0.80)" in html


def test_models_judged_in_different_months_are_said_not_to_compare() -> None:
    walked = [WalkedModel(months, (None,) * len(months), (None,) * len(months), ALLOCATIONS["good"])
              for months in (("2023-01", "2023-02"), ("2023-02",))]  # fmt: skip
    said = "do not compare"
    assert said in render(walk_forward_report(WalkForwardView("", {"long": walked[0], "short": walked[1]})))
    assert said not in render(walk_forward_report(WalkForwardView("", {"long": walked[0], "same": walked[0]})))
