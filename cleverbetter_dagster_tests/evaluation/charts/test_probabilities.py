import re

import numpy as np
import pytest

from cleverbetter_dagster.evaluation.charts.chart import svg
from cleverbetter_dagster.evaluation.charts.probabilities import reliability_chart
from cleverbetter_dagster_tests.evaluation.scored import decision_months, scored_rows


def test_the_band_of_independent_rows_is_that_of_coins() -> None:
    # Two months alike, 10 of 100 each: 10% plus and minus 1.96 times sqrt(0.1 * 0.9 / 200).
    chart = reliability_chart(
        scored_rows(np.full(200, 0.1), np.tile(np.repeat([1, 0], [10, 90]), 2), months=decision_months(2, 100))
    )
    (note,) = re.findall(r"<title>(.*?)</title>", svg(chart, "c"))

    assert note == "stated 10.0%, profitable 10.0%, 200 rows; calibrated: 5.8% to 14.2%"
    assert "Calibration error 0.000 without chance." in chart.caption


@pytest.mark.parametrize("months", [1, 2])
def test_the_caption_gives_the_error_where_it_is_defined(months: int) -> None:
    rows = scored_rows(np.full(40, 0.5), np.ones(40), months=decision_months(months, 40 // months))

    assert reliability_chart(rows).caption.startswith(f"Calibration error {'–' if months == 1 else '0.500'} without")
