import struct

import matplotlib
import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.plots import models
from cleverbetter_dagster_tests.evaluation.scored import scored_rows, simulated_models

MODELS = simulated_models()
ONE_ROW = {"alone": scored_rows([0.4], [1])}


def counts(months: int) -> pd.DataFrame:
    index = pd.date_range("2022-01-01", periods=months, freq="MS", tz="UTC")
    return pd.DataFrame({"train": 3, "validation": 0, "test": 2, "purged": 1}, index=index)


DRAWINGS = {
    "reliability": lambda: models.reliability_diagram(MODELS["good"].label, MODELS["good"].probability),
    "reliability of one row": lambda: models.reliability_diagram([1], [0.4]),
    "reliability of a constant": lambda: models.reliability_diagram([1, 0, 0], [0.0] * 3),
    "roc": lambda: models.roc_plot(MODELS),
    "roc of one class": lambda: models.roc_plot(ONE_ROW),
    "precision recall": lambda: models.precision_recall_plot(MODELS),
    "precision recall of one row": lambda: models.precision_recall_plot(ONE_ROW),
    "bankroll": lambda: models.bankroll_plot({name: allocation_of(rows) for name, rows in MODELS.items()}),
    "bankroll of one decision": lambda: models.bankroll_plot({"alone": allocation_of(ONE_ROW["alone"])}),
    "importance": lambda: models.feature_importance_plot(
        pd.Series(np.arange(40.0), index=[f"f{i}" for i in range(40)])
    ),
    "importance of nothing": lambda: models.feature_importance_plot(pd.Series([0.0], index=["a"])),
    "timeline": lambda: models.split_timeline(counts(24)),
    "timeline of one month": lambda: models.split_timeline(counts(1)),
}


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.filterwarnings("error::UserWarning")
def test_every_drawing_is_a_png_770_pixels_wide(name):
    png = DRAWINGS[name]()

    assert png.startswith(b"\x89PNG\r\n")
    assert struct.unpack(">I", png[16:20])[0] == 770


def test_drawing_leaves_no_global_state_behind():
    before = dict(matplotlib.rcParams)
    models.roc_plot(MODELS)

    assert dict(matplotlib.rcParams) == before


def test_the_same_rows_draw_the_same_picture():
    assert DRAWINGS["reliability"]() == DRAWINGS["reliability"]()
    assert DRAWINGS["roc"]() != DRAWINGS["precision recall"]()


def test_wilson_interval_of_a_published_example():
    # 10 of 100: 5.5% to 17.4% (Newcombe 1998, table I gives 0.0552, 0.1744 for the score method).
    low, high = models.wilson_interval(np.array([0.1]), np.array([100]))

    assert (low[0], high[0]) == pytest.approx((0.0552, 0.1744), abs=5e-5)


def test_decision_times_within_a_month_are_drawn_too():
    weekly = pd.DatetimeIndex(pd.date_range("2022-01-01", periods=10, freq="7D", tz="UTC"))
    rows = scored_rows(np.linspace(0.1, 0.9, 10), [0, 1] * 5, stake=np.full(10, 0.1), months=weekly)

    assert models.bankroll_plot({"weekly": allocation_of(rows)})
