"""What a filter removes and changes, by hand and where it changes nothing."""

import numpy as np
import pytest

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.filter_effect import filter_effect
from cleverbetter_dagster_tests.evaluation.scored import decision_months, scored_rows, simulated_models


def test_two_months_worked_by_hand() -> None:
    rows = scored_rows(
        [0.9, 0.2, 0.6, 0.4], [1, 0, 0, 1], next_roi=[0.4, -0.2, -0.2, 0.2], months=decision_months(2, 2)
    )
    effect = filter_effect(rows, [True, True, False, True], ["a", "a", "b", "a"])
    assert (effect.rows, effect.removed, effect.strategies_removed) == (4, 1, 1)
    assert (effect.base_rate, effect.mean_return) == (0.5, pytest.approx(0.05))
    assert effect.base_rate_change.point == pytest.approx(2 / 3 - 1 / 2)
    assert effect.mean_return_change.point == pytest.approx(0.4 / 3 - 0.05)
    # All: 0.9 beats 0.2 in the first month, 0.4 does not beat 0.6 in the second. Kept: the first pair.
    assert effect.auc_within_months == pytest.approx(0.5)
    assert effect.auc_within_months_change.point == pytest.approx(0.5)
    assert effect.brier == pytest.approx((0.01 + 0.04 + 0.36 + 0.36) / 4)


def test_a_random_filter_shows_no_change() -> None:
    rows, rng = simulated_models()["good"], np.random.default_rng(0)
    covered = []
    for _ in range(40):
        effect = filter_effect(rows, rng.random(len(rows)) < 0.5, ["s"] * len(rows))
        changes = (
            effect.base_rate_change,
            effect.mean_return_change,
            effect.auc_within_months_change,
            effect.brier_change,
        )
        covered += [change.low <= 0 <= change.high for change in changes]
    assert np.mean(covered) > 0.88  # 95% stated, of 160


def test_a_filter_on_the_outcome_shows_a_change() -> None:
    rows = simulated_models()["good"]
    effect = filter_effect(rows, (rows.label == 1) | (np.arange(len(rows)) % 2 == 0), ["s"] * len(rows))
    assert effect.base_rate_change.low > 0.1


def test_a_filter_that_removes_everything_shows_no_change() -> None:
    rows = simulated_models()["good"]
    effect = filter_effect(rows, np.zeros(len(rows), dtype=bool), ["s"] * len(rows))
    assert (effect.removed, effect.strategies_removed, effect.brier_change.ends) == (len(rows), 1, None)


def test_flags_for_other_rows_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one of each per row"):
        filter_effect(scored_rows([0.5], [1]), [True, False], ["a"])
