"""Examples are labelled rows; too few of them are refused with advice."""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.examples import Examples, check_enough, pooled
from cleverbetter_dagster.dataset.features import feature_columns
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.errors import DataError, NotEnoughRows
from cleverbetter_dagster_tests.dataset.panels import example_row, frame, spec


def panel_of(*returns: float) -> pd.DataFrame:
    rows = [example_row(id=f"w{n}", start_day=10 * n, end_day=10 * n + 10, roi=roi) for n, roi in enumerate(returns)]
    return build_panel(frame(rows), None, spec())


def test_examples_give_features_labels_and_what_followed() -> None:
    panel = panel_of(0.3, -0.1, 0.2)
    examples = Examples(panel.iloc[:2])
    assert len(examples) == 2
    assert list(examples.X) == feature_columns(panel)
    assert examples.y.tolist() == [0, 1] and examples.y.dtype == np.int8
    assert examples.next_roi.tolist() == [-0.1, 0.2]
    assert examples.ids.tolist() == ["w0", "w1"]
    assert (examples.label_time > examples.decision_time).all()


def test_taking_examples_keeps_the_order_asked_for() -> None:
    examples = Examples(panel_of(0.3, -0.1, 0.2, 0.1).iloc[:3])
    assert examples.take(np.array([2, 0])).ids.tolist() == ["w2", "w0"]


def test_pooled_parts_keep_every_row_in_order() -> None:
    examples = Examples(panel_of(0.3, -0.1, 0.2, 0.1).iloc[:3])
    both = pooled(examples.take(np.array([0, 1])), examples.take(np.array([2])))
    assert both.ids.tolist() == ["w0", "w1", "w2"]
    assert both.decision_time.is_monotonic_increasing and both.frame.index.tolist() == [0, 1, 2]


def test_an_unlabelled_row_is_no_example() -> None:
    with pytest.raises(DataError, match="1 of 2 rows have no label"):
        Examples(panel_of(0.1, 0.2))


def test_too_few_examples_are_refused_with_the_remedy() -> None:
    with pytest.raises(NotEnoughRows, match=r"999 usable examples, 1000 needed.*min_composite_score.*min_examples"):
        check_enough(999, spec(min_examples=1000, min_composite_score=0.3))
    check_enough(1000, spec(min_examples=1000))
    with pytest.raises(NotEnoughRows) as refusal:
        check_enough(0, spec(min_examples=1))
    assert "min_composite_score" not in str(refusal.value)
