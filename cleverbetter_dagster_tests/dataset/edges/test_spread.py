"""The variance of a bet's return is a strategy's own and that of its like."""

import numpy as np
import pytest

from cleverbetter_dagster.dataset.edges.spread import SMALLEST, Moments, spread_of


def moments_of(roi: np.ndarray, bets: np.ndarray) -> Moments:
    """Of returns and bets, float[windows, strategies]."""
    return Moments(np.count_nonzero(bets, axis=0).astype(float), bets.sum(0), roi.sum(0), (roi**2 / bets).sum(0))


def drawn(windows: int, deviation: np.ndarray, seed: int = 0) -> Moments:
    rng = np.random.default_rng(seed)
    bets = rng.integers(50, 150, (windows, len(deviation))).astype(float)
    return moments_of(0.001 * bets + rng.normal(size=bets.shape) * deviation * np.sqrt(bets), bets)


def test_own_variance_is_unbiased_per_bet() -> None:
    # 100 bets earned 0.3 and 100 bets -0.1: 0.001 a bet. (0.2^2 + 0.2^2) / 100 over one window of freedom.
    moments = moments_of(np.array([[0.3], [-0.1]]), np.full((2, 1), 100.0))
    assert moments.own_variance == pytest.approx([0.0008])


def test_a_few_strategies_are_shrunk_to_the_pooled_variance() -> None:
    moments = moments_of(np.array([[0.3, 0.0], [-0.1, 0.2]]), np.full((2, 2), 100.0))
    # 0.0008 and 0.0002, pooled 0.0005 with the weight of two windows against one.
    assert spread_of(moments, np.zeros((2, 0))).known == pytest.approx([(2 * 5 + 8) * 1e-4 / 3, (2 * 5 + 2) * 1e-4 / 3])


def test_before_a_second_window_it_is_the_second_moment() -> None:
    moments = moments_of(np.array([[0.1, -0.3]]), np.array([[100.0, 100.0]]))
    assert spread_of(moments, np.zeros((2, 0))).known == pytest.approx([0.0005, 0.0005])


def test_returns_that_never_differ_have_the_smallest_variance() -> None:
    moments = moments_of(np.zeros((2, 3)), np.full((2, 3), 100.0))
    assert spread_of(moments, np.zeros((3, 0))).known.tolist() == [SMALLEST] * 3


def test_a_new_strategy_varies_like_its_like() -> None:
    scores = np.random.default_rng(4).normal(size=(120, 1))
    spread = spread_of(drawn(25, np.exp(scores[:, 0])), scores)
    assert np.sqrt(spread.of_new(np.array([[-1.0], [1.0]]))) == pytest.approx(np.exp([-1.0, 1.0]), rel=0.15)


def test_shrinking_brings_young_strategies_closer_to_the_truth() -> None:
    scores = np.random.default_rng(4).normal(size=(200, 1))
    deviation = np.exp(0.5 * scores[:, 0])
    young = drawn(3, deviation)
    errors = [np.log(each) - 2 * np.log(deviation) for each in (spread_of(young, scores).known, young.own_variance)]
    assert (errors[0] ** 2).mean() < 0.3 * (errors[1] ** 2).mean()


def test_own_windows_win_where_likeness_says_nothing() -> None:
    rng = np.random.default_rng(6)
    deviation = np.exp(rng.normal(size=200))
    spread = spread_of(drawn(60, deviation), rng.normal(size=(200, 1)))
    assert np.abs(np.log(spread.known) - 2 * np.log(deviation)).mean() < 0.25
