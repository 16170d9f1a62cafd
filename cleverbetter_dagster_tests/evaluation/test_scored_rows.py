import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster_tests.evaluation.scored import decision_months, scored_rows


def test_columns_of_a_frame_are_accepted():
    frame = pd.DataFrame(
        {"when": decision_months(2, 1), "y": np.array([0, 1], dtype="int8"), "roi": [-0.1, 0.2], "p": [0.3, 0.4]},
        index=[7, 3],
    )
    rows = ScoredRows(frame["when"], frame["y"], frame["roi"], frame["p"])

    assert len(rows) == 2
    assert rows.probability.tolist() == [0.3, 0.4]
    assert rows.stake.tolist() == [0, 0]
    assert str(rows.decision_time.tz) == "UTC"


@pytest.mark.parametrize(
    ("field", "values", "named"),
    [
        ("probability", [0.5, 1.2], r"probability\[1\] is 1.2"),
        ("probability", [0.5, np.nan], r"probability\[1\] is nan"),
        ("probability", [0.5], "2 decision times but 1 values of probability"),
        ("label", [0, 0.5], "other than 0 and 1"),
        ("label", [0, np.nan], r"label\[1\] is nan"),
        ("next_roi", [0, np.inf], r"next_roi\[1\] is inf"),
        ("stake", [0, -0.1], r"stake\[1\] is -0.1"),
    ],
)
def test_unusable_values_are_named(field, values, named):
    fields = {"label": [0, 1], "next_roi": [0, 0.1], "probability": [0.5, 0.5], "stake": [0, 0]}

    with pytest.raises(InvalidInput, match=named):
        ScoredRows(decision_months(1, 2), **(fields | {field: values}))


def test_no_rows_and_missing_times_are_refused():
    with pytest.raises(InvalidInput, match="empty"):
        ScoredRows(decision_months(0, 0), *[np.empty(0)] * 3)
    with pytest.raises(InvalidInput, match="missing value"):
        ScoredRows(pd.DatetimeIndex(["NaT", "2022-01-01"], tz="UTC"), [0, 1], [0, 1], [0.5, 0.5])


def test_models_are_paired_on_equal_rows_only():
    rows = scored_rows([0.1, 0.2], [0, 1])

    assert rows.same_rows_as(scored_rows([0.9, 0.9], [0, 1]))
    assert not rows.same_rows_as(scored_rows([0.1, 0.2], [1, 0]))
    assert not rows.same_rows_as(scored_rows([0.1, 0.2, 0.3], [0, 1, 1]))
    assert not rows.same_rows_as(scored_rows([0.1, 0.2], [0, 1], months=decision_months(2, 1)))
    assert not rows.same_rows_as(scored_rows([0.1, 0.2], [0, 1], next_roi=[0.0, 0.3]))
