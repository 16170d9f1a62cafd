"""Slices partition the rows; each is judged as if it were all there is."""

import itertools

import numpy as np
import pandas as pd

from cleverbetter_dagster.evaluation.leaderboard import leaderboard_row
from cleverbetter_dagster.evaluation.slices import quartile_names, sliced
from cleverbetter_dagster_tests.evaluation.scored import simulated_models

ROWS = simulated_models()["good"]


def test_quarters_hold_a_quarter_each() -> None:
    values = pd.Series(np.append(np.arange(100.0), np.nan))
    assert quartile_names(values).value_counts().to_dict() == {
        "0 to 24": 25,
        "25 to 49": 25,
        "50 to 74": 25,
        "75 to 99": 25,
        "unknown": 1,
    }


def test_one_value_for_all_is_one_slice() -> None:
    assert set(quartile_names(pd.Series([2.0, 2.0, 2.0]), digits=1)) == {"2.0"}
    assert set(quartile_names(pd.Series([np.nan, np.nan]))) == {"unknown"}


def test_small_slices_are_left_out() -> None:
    names = ["all"] * (len(ROWS) - 29) + ["few"] * 29
    (part,) = sliced(ROWS, names, ["all", "few"])
    assert part.name == "all"
    (whole,) = sliced(ROWS, ["all"] * len(ROWS), ["all"])
    assert whole.row == leaderboard_row("all", ROWS)
    assert whole.profitable == ROWS.label.mean()


def test_slices_come_in_the_given_order() -> None:
    names = ["low" if p < 0.3 else "high" for p in ROWS.probability]
    low, high = sliced(ROWS, names, ["low", "high"])
    assert low.row.n_rows + high.row.n_rows == len(ROWS)
    assert low.stated < 0.3 <= high.stated


def test_no_two_slices_overlap() -> None:
    windows = pd.Series(np.random.default_rng(1).integers(1, 40, 500).astype(float))
    ends = [tuple(map(int, name.split(" to "))) for name in set(quartile_names(windows))]
    in_order = sorted(ends)
    assert all(low[-1] < high[0] for low, high in itertools.pairwise(in_order))
