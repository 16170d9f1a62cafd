"""Cross-validated choice among alternatives: by hand, against a slow oracle, and on the cases of the paper."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.significance.backtest_overfitting import (
    most_blocks,
    overfitting_probability,
    rank_logits,
)

# Three alternatives over two blocks of two periods. Every block's deviation is 1 for all, so means are the order.
BLOCK = np.array([[-(0.5**0.5)], [0.5**0.5]])


def two_blocks(first: list[float], second: list[float]) -> np.ndarray:
    return np.vstack([BLOCK + first, BLOCK + second])


def test_best_in_each_half_and_worst_in_the_other() -> None:
    logits = rank_logits(two_blocks([3, 2, 1], [1, 2, 3]), blocks=2)
    # The chosen one ranks 1st from below of three in the other half: 1/4, log odds ln(1/3).
    assert logits == pytest.approx([np.log(1 / 3)] * 2)
    assert overfitting_probability(logits) == 1


def test_best_in_each_half_and_best_in_the_other() -> None:
    logits = rank_logits(two_blocks([3, 2, 1], [-1, -2, -3]), blocks=2)
    assert logits == pytest.approx([np.log(3)] * 2)
    assert overfitting_probability(logits) == 0


def test_the_median_counts_as_overfitted() -> None:
    logits = rank_logits(two_blocks([3, 2, 1], [2, 3, 1]), blocks=2)
    assert logits == pytest.approx([0, 0], abs=1e-12)
    assert overfitting_probability(logits) == 1


def test_sixteen_blocks_give_12870_splits() -> None:
    noise = np.random.default_rng(0).normal(size=(64, 3))
    assert len(rank_logits(noise, blocks=16)) == 12_870


def test_alternatives_of_equal_means_are_overfitted_as_in_the_paper() -> None:
    # Equal means over all of history: what is best in one half must be worse in the other.
    noise = np.random.default_rng(0).normal(size=(1000, 100))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    assert overfitting_probability(rank_logits(noise)) > 0.99


def test_pure_noise_is_a_coin_toss() -> None:
    probabilities = [
        overfitting_probability(rank_logits(np.random.default_rng(seed).normal(size=(200, 20)), blocks=6))
        for seed in range(40)
    ]
    assert np.mean(probabilities) == pytest.approx(0.5, abs=0.1)


def test_one_alternative_with_real_skill_is_rarely_overfitted() -> None:
    probabilities = []
    for seed in range(10):
        returns = np.random.default_rng(seed).normal(size=(1000, 100))
        returns[:, 17] += 3 / 250**0.5  # an annualised Sharpe ratio of 3 over four years of days
        probabilities.append(overfitting_probability(rank_logits(returns, blocks=6)))
    assert np.mean(probabilities) < 0.1


def test_never_betting_has_a_ratio_of_zero() -> None:
    # It is chosen before the one that loses, and is the better one again.
    logits = rank_logits(np.column_stack([np.zeros(8), [-1, -2] * 4]), blocks=4)
    assert logits == pytest.approx([np.log(2)] * 6)


@pytest.mark.parametrize(
    ("returns", "blocks", "message"),
    [
        (np.zeros((8, 1)), 2, "2 or more"),
        (np.full((8, 2), np.nan), 2, "finite"),
        (np.zeros((8, 2)), 3, "even number, 2 to 4"),
        (np.zeros((8, 2)), 6, "even number, 2 to 4"),
        (np.zeros((99, 2)), 18, "even number, 2 to 16"),
    ],
)
def test_unusable_returns_or_blocks_are_refused(returns: np.ndarray, blocks: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        rank_logits(returns, blocks)


@settings(deadline=None)
@given(st.integers(8, 30), st.integers(2, 5), st.integers(0, 1000))
def test_it_agrees_with_a_slow_oracle(periods: int, alternatives: int, seed: int) -> None:
    returns = np.random.default_rng(seed).normal(0.1, 1, size=(periods, alternatives))
    blocks = most_blocks(periods)
    logits = rank_logits(returns, blocks)
    parts = np.array_split(returns, blocks)
    slow = []
    for past in combinations(range(blocks), blocks // 2):
        halves = [np.vstack([parts[b] for b in range(blocks) if (b in past) == chosen]) for chosen in (True, False)]
        before, after = (half.mean(axis=0) / half.std(axis=0, ddof=1) for half in halves)
        best = int(before.argmax())
        share = (after <= after[best]).sum() / (alternatives + 1)
        slow.append(np.log(share / (1 - share)))
    assert logits == pytest.approx(slow, abs=1e-9)
