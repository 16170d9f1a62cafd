"""Shapley values add up to the probability, and are those of the definition where these can be had."""

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.evaluation.metrics import shapley
from cleverbetter_dagster.evaluation.metrics.shapley import BACKGROUND, shapley_values

X = pd.DataFrame(np.random.default_rng(0).random((200, 3)), columns=["a", "b", "idle"])


def additive(rows: pd.DataFrame) -> np.ndarray:
    return (0.2 + 0.5 * rows["a"] - 0.3 * rows["b"]).to_numpy()


def crossed(rows: pd.DataFrame) -> np.ndarray:
    return (0.2 + 0.5 * rows["a"] * rows["b"]).to_numpy()


def test_each_feature_of_a_sum_gets_its_term() -> None:
    values, explained = shapley_values(additive, X, X.head(20))
    centre = X.sample(BACKGROUND, random_state=0).mean()
    np.testing.assert_allclose(values["a"], 0.5 * (explained["a"] - centre["a"]), atol=1e-9)
    np.testing.assert_allclose(values["b"], -0.3 * (explained["b"] - centre["b"]), atol=1e-9)
    np.testing.assert_allclose(values["idle"], 0.0, atol=1e-9)


def test_values_add_up_with_interactions_and_missing_values() -> None:
    holed = X.assign(idle=np.where(X["a"] > 0.5, np.nan, X["idle"]))
    values, explained = shapley_values(crossed, holed, holed.head(30))
    base = crossed(holed.sample(BACKGROUND, random_state=0)).mean()
    np.testing.assert_allclose(values.sum(axis=1), crossed(explained) - base, atol=1e-9)


def three_together(rows: pd.DataFrame) -> np.ndarray:
    return (0.1 + 0.6 * rows["a"] * rows["b"] * rows["idle"] + 0.2 * (rows["a"] > 0.5)).to_numpy()


def exact(row: pd.Series, background: pd.DataFrame) -> Iterator[float]:
    """By the definition: over every order, what the mean probability gains as a feature becomes known."""
    orders = list(permutations(X.columns))
    for feature in X.columns:
        gains = []
        for order in orders:
            before = list(order[: order.index(feature)])
            without, with_it = (
                background.assign(**{name: row[name] for name in known}) for known in (before, [*before, feature])
            )
            gains.append(three_together(with_it).mean() - three_together(without).mean())
        yield float(np.mean(gains))


def test_the_mean_over_orders_is_the_exact_value() -> None:
    background, row = X.head(BACKGROUND), X.tail(1)
    mean = np.mean([shapley_values(three_together, background, row, seed)[0] for seed in range(60)], axis=0)
    np.testing.assert_allclose(mean[0], list(exact(row.iloc[0], background)), atol=0.01)


def test_an_order_and_its_reverse_make_pair_interactions_exact() -> None:
    values, explained = shapley_values(crossed, X, X.head(5))
    centre = X.sample(BACKGROUND, random_state=0)
    a, b = explained["a"], explained["b"]
    alone = a * centre["b"].mean() - (centre["a"] * centre["b"]).mean()
    after_b = a * b - b * centre["a"].mean()
    np.testing.assert_allclose(values["a"], 0.5 * (alone + after_b) / 2, atol=1e-9)


def test_the_same_seed_gives_the_same_values() -> None:
    first, again = (shapley_values(crossed, X, X, seed=3)[0] for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert len(first) == pytest.approx(100)


def test_one_call_to_the_model_has_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(rows: pd.DataFrame) -> np.ndarray:
        sizes.append(len(rows))
        return crossed(rows)

    together, _ = shapley_values(counted, X, X.head(20))
    assert len(sizes) <= 3
    monkeypatch.setattr(shapley, "ROWS_AT_ONCE", 1)
    apart, _ = shapley_values(counted, X, X.head(20))
    assert len(sizes) > 6 and together.equals(apart)
