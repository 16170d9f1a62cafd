"""One HTML file that needs nothing else, shows what the view holds, and takes no HTML from anybody."""

import re

from cleverbetter_dagster.evaluation.charts.chart import Chart
from cleverbetter_dagster.evaluation.report import Number, Report, Section, Table, render
from cleverbetter_dagster.evaluation.report.walk_forward import WalkedModel, WalkForwardView, walk_forward_report
from cleverbetter_dagster_tests.evaluation.charts.drawn import ALLOCATIONS, CHARTS, EVIL, MONTHS, monthly


def report(**changes: object) -> Report:
    section = Section(
        EVIL,
        EVIL,
        numbers=(Number(EVIL, EVIL, EVIL),),
        charts=(Chart(EVIL, EVIL, CHARTS["forest"].figure),) * 2,
        tables=(Table(EVIL, (EVIL, "stake"), ((EVIL, Number("", EVIL, EVIL)),), EVIL),),
    )
    fields = {"title": EVIL, "subtitle": EVIL, "headline": EVIL, "tone": "bad", "summary": EVIL, "reasons": (EVIL,)}
    more = {"sections": (section,), "provenance": ((EVIL, EVIL),), "command": EVIL}
    return Report(**{**fields, **more, **changes})  # type: ignore[arg-type]


def walked(*months: tuple[str, ...]) -> WalkForwardView:
    """A model for each of the given spans of months."""
    models = {f"model {place}": WalkedModel(span, ALLOCATIONS["good"]) for place, span in enumerate(months)}
    return WalkForwardView("It holds up.", models, monthly(*models), by_month=tuple(models))


def test_nothing_a_name_holds_becomes_html() -> None:
    html = render(report())
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 15


def test_nothing_is_fetched() -> None:
    html = render(report())
    # A chart refers to its own parts by `#id`.
    assert not re.findall(r"""(?:src|href)\s*=\s*"(?!#)|url\((?!#)|@import|https?://""", html)


def test_a_chart_drawn_twice_has_ids_of_its_own() -> None:
    ids = re.findall(r'\bid="(.*?)"', render(report()))
    assert len(ids) == len(set(ids)) > 1


def test_a_walk_forward_is_shown_from_a_plain_view() -> None:
    html = render(walk_forward_report(walked(tuple(MONTHS), tuple(MONTHS))))
    assert "2023-01 to 2023-02, 2 months" in html
    assert "It holds up." in html
    assert "model 0, 2023-01: 0.70 (0.60 to 0.80)" in html


def test_models_of_different_months_get_a_note() -> None:
    long, short = ("2023-01", "2023-02"), ("2023-02",)
    assert "do not compare" in render(walk_forward_report(walked(long, short)))
    assert "do not compare" not in render(walk_forward_report(walked(long, long)))
