import re

import numpy as np

from cleverbetter_dagster.evaluation.charts.chart import svg
from cleverbetter_dagster.evaluation.charts.probabilities import reliability_chart


def test_intervals_are_those_of_a_published_example() -> None:
    # 10 of 100: 5.5% to 17.4% (Newcombe 1998, table I gives 0.0552, 0.1744 for the score method).
    chart = reliability_chart(np.repeat([1, 0], [10, 90]), np.full(100, 0.1))
    (note,) = re.findall(r"<title>(.*?)</title>", svg(chart, "c"))
    assert note == "stated 10.0%, profitable 10.0% (5.5% to 17.4%), 100 rows"
