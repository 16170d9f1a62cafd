"""Results are forgotten at the pace that foretold best."""

import numpy as np
import pytest

from cleverbetter_dagster.dataset.edges.forgetting import HALF_LIVES_DAYS, Forgetting

MONTH = 30.44


def after_months(edges: np.ndarray, seed: int = 0) -> Forgetting:
    """What is remembered of strategies with edges float[months, strategies], in units of the deviation of a bet."""
    rng, forgetting = np.random.default_rng(seed), Forgetting(edges.shape[1])
    who, bets = np.arange(edges.shape[1]), np.full(edges.shape[1], 400.0)
    for month, edge in enumerate(edges):
        roi = 0.01 * (edge * bets + np.sqrt(bets) * rng.normal(size=len(bets)))
        if month:
            forgetting.judge(who, roi, bets, np.full(len(bets), 0.01), prior=300.0)
        forgetting.add(who, roi, bets, days=MONTH * month)
    return forgetting


def test_lasting_edges_are_hardly_forgotten() -> None:
    edges = np.random.default_rng(1).normal(0.0, 0.05, 200) * np.ones((36, 1))
    assert HALF_LIVES_DAYS[after_months(edges).best] >= 1461


def test_edges_that_change_fast_are_forgotten_fast() -> None:
    rng = np.random.default_rng(1)
    edges = np.repeat(rng.normal(0.0, 0.1, (6, 200)), 6, axis=0)
    assert after_months(edges).best == 0


def test_before_a_window_was_foretold_nothing_is_forgotten() -> None:
    assert HALF_LIVES_DAYS[Forgetting(3).best] == np.inf


def test_a_bet_weighs_half_after_the_half_life() -> None:
    forgetting, who = Forgetting(2), np.array([0, 1])
    forgetting.add(who, np.array([0.2, 0.4]), np.array([100.0, 40.0]), days=0.0)
    forgetting.add(who[:1], np.array([0.1]), np.array([10.0]), days=365.25)
    forgetting._foretold[1] = 1.0
    bets, roi = forgetting.remembered(2)
    assert bets == pytest.approx([60.0, 20.0]) and roi == pytest.approx([0.2, 0.2])
