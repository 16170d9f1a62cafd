"""Every chart becomes a PNG for the UI and inline SVG for a page, and both show the same figure."""

import re
import struct
from xml.etree import ElementTree

import matplotlib
import pytest

from cleverbetter_dagster.evaluation.charts.chart import INK, MUTED, RULE, SERIES, png, svg
from cleverbetter_dagster.evaluation.charts.probabilities import roc_chart
from cleverbetter_dagster_tests.evaluation.charts.drawn import CHARTS, EVIL, MODELS, NOTED

STRICT = pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")


def size(content: bytes) -> tuple[int, int]:
    return struct.unpack(">II", content[16:24])


@STRICT
@pytest.mark.parametrize("name", CHARTS)
def test_a_png_is_770_pixels_wide(name: str) -> None:
    content = png(CHARTS[name])
    assert content.startswith(b"\x89PNG\r\n")
    width, height = size(content)
    assert width == 770
    assert 100 < height < 1000


@STRICT
@pytest.mark.parametrize("name", CHARTS)
def test_an_svg_holds_numbers_only_and_has_a_title(name: str) -> None:
    root = ElementTree.fromstring(svg(CHARTS[name], "c"))
    title, description = root[0], root[1]
    assert (title.text, description.text) == (CHARTS[name].title, CHARTS[name].caption)
    assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
    places = [value for one in root.iter() for key in ("d", "x", "y", "points") if (value := one.attrib.get(key))]
    assert places
    assert not [place for place in places if "nan" in place or "inf" in place]


@pytest.mark.parametrize("name", NOTED)
def test_points_have_notes_with_their_numbers(name: str) -> None:
    notes = re.findall(r"<title>(.*?)</title>", svg(NOTED[name], "c"), re.DOTALL)
    assert notes
    assert all(re.search(r"\d", note) for note in notes)


@pytest.mark.parametrize("name", CHARTS)
def test_every_point_lies_inside_the_picture(name: str) -> None:
    root = ElementTree.fromstring(svg(CHARTS[name], "c"))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for point in root.iter("use"):
        assert 0 <= float(point.attrib["x"]) <= width
        assert 0 <= float(point.attrib["y"]) <= height


def test_ids_of_charts_on_one_page_differ() -> None:
    ids = re.findall(r'\bid="(.*?)"', "".join(svg(CHARTS["roc"], name) for name in ("chart1", "chart2")))
    assert len(ids) == len(set(ids)) > 4


def test_references_inside_an_svg_have_a_target() -> None:
    text = svg(CHARTS["bankroll"], "c")
    targets = set(re.findall(r'(?:href="#|url\(#)(.*?)["\)]', text))
    assert targets
    assert targets <= set(re.findall(r'\bid="(.*?)"', text))


def test_an_svg_holds_no_style_sheet() -> None:
    assert "<style" not in svg(CHARTS["roc"], "c")


def test_texts_stay_texts() -> None:
    assert ">false positive rate</text>" in svg(CHARTS["roc"], "c")


def test_a_name_is_neither_html_nor_a_formula() -> None:
    text = svg(CHARTS["forest"], "c")
    assert "<script" not in text
    assert EVIL in [one.text for one in ElementTree.fromstring(text).iter("text")]


def test_drawing_leaves_no_global_state_behind() -> None:
    before = dict(matplotlib.rcParams)
    png(roc_chart(MODELS))
    svg(roc_chart(MODELS), "c")
    assert dict(matplotlib.rcParams) == before


def test_the_same_rows_give_the_same_bytes() -> None:
    first, second = roc_chart(MODELS), roc_chart(MODELS)
    assert png(first) == png(second)
    assert svg(first, "c") == svg(second, "c")


def test_a_png_leaves_the_figure_as_it_was() -> None:
    chart = roc_chart(MODELS)
    before = ElementTree.fromstring(svg(chart, "c"))
    png(chart)
    after = ElementTree.fromstring(svg(chart, "c"))
    assert before.attrib == after.attrib
    assert [text.text for text in before.iter("text")] == [text.text for text in after.iter("text")]


def test_a_model_has_one_colour_in_every_chart() -> None:
    drawn = {name: re.findall(r"stroke: (#\w{6})", svg(CHARTS[name], "c")) for name in ("roc", "bankroll")}
    models = {name: [one for one in colours if one in SERIES] for name, colours in drawn.items()}
    assert set(models["roc"]) == set(models["bankroll"]) == set(SERIES[: len(MODELS)])
    assert {*drawn["roc"], *drawn["bankroll"]} <= {INK, MUTED, RULE, *SERIES}
