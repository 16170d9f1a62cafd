import re

from cleverbetter_dagster.evaluation.charts.chart import SERIES, svg
from cleverbetter_dagster.evaluation.charts.estimates import monthly_chart
from cleverbetter_dagster_tests.evaluation.charts.drawn import monthly


def test_a_model_keeps_its_colour_where_others_are_absent() -> None:
    chart = svg(monthly_chart(monthly("fair"), "brier", "Brier", ["good", "fair"]), "c")
    assert set(re.findall(r"stroke: (#\w{6})", chart)) & set(SERIES) == {SERIES[1]}
