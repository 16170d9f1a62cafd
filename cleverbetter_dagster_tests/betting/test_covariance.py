"""Correlations from few months of many strategies: close to the truth, never impossible, nothing without history."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.betting.covariance import FEWEST_MONTHS, Correlation, shared_months, shrunk_correlation
from cleverbetter_dagster.errors import InvalidInput


def matrix(correlation: Correlation) -> np.ndarray:
    return correlation.loadings @ correlation.loadings.T + np.diag(correlation.own)


def equally_correlated(rho: float, months: int, strategies: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    own, common = rng.normal(size=(months, strategies)), rng.normal(size=(months, 1))
    return np.sqrt(rho) * common + np.sqrt(1 - rho) * own


def mean_of_pairs(correlation: Correlation) -> float:
    whole = matrix(correlation)
    return (whole.sum() - len(whole)) / (len(whole) * (len(whole) - 1))


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.3, 0.6])
def test_the_mean_correlation_is_found_in_three_years(rho: float) -> None:
    found = [mean_of_pairs(shrunk_correlation(equally_correlated(rho, 36, 100, seed))) for seed in range(40)]
    assert np.mean(found) == pytest.approx(rho, abs=0.03)


def test_single_pairs_of_equal_correlation_are_shrunk_to_their_mean() -> None:
    returns = equally_correlated(0.3, 36, 100)
    sample, shrunk = np.corrcoef(returns.T), matrix(shrunk_correlation(returns))
    pairs = np.triu_indices(100, 1)
    assert shrunk[pairs].std() < 0.2 * sample[pairs].std()


def test_groups_on_the_same_races_are_told_from_others() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(5), 10)
    returns = np.sqrt(0.8) * rng.normal(size=(48, 5))[:, group] + np.sqrt(0.2) * rng.normal(size=(48, 50))
    shrunk = matrix(shrunk_correlation(returns))
    same = (group[:, None] == group) & ~np.eye(50, dtype=bool)
    assert shrunk[same].mean() > 0.6
    assert abs(shrunk[group[:, None] != group].mean()) < 0.1


def test_two_strategies_worked_by_hand() -> None:
    # Opposite returns correlate by -1, and their mean counts as 0; weight 1 - 1/12 x ... is the sample's.
    months = np.tile([1.0, -1.0], 6)
    opposite = matrix(shrunk_correlation(np.column_stack([months, -months])))
    assert opposite[0, 1] == pytest.approx(-1.0)
    assert matrix(shrunk_correlation(np.column_stack([months, months])))[0, 1] == pytest.approx(1.0, abs=0.02)


def test_too_few_shared_months_give_no_correlation() -> None:
    returns = equally_correlated(0.5, FEWEST_MONTHS, 3)
    assert shrunk_correlation(returns).months == FEWEST_MONTHS
    assert shrunk_correlation(returns[1:]) is None
    apart = np.full((24, 2), np.nan)
    apart[:12, 0], apart[12:, 1] = 0.1, 0.2
    assert shared_months(apart) == 0
    assert shrunk_correlation(apart) is None


def test_a_strategy_without_history_correlates_by_the_mean() -> None:
    returns = equally_correlated(0.5, 36, 20)
    new = matrix(shrunk_correlation(np.column_stack([returns, np.full(36, np.nan)])))[-1, :-1]
    assert new.mean() == pytest.approx(0.5, abs=0.1)
    assert new.std() < 0.05


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(12, 30), st.floats(0, 0.7))
def test_every_correlation_matrix_is_possible(seed: int, strategies: int, months: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(2, size=(months, strategies)) * rng.choice([0.0, 1e-9, 1.0, 1e3], strategies)
    returns[rng.random(returns.shape) < missing] = np.nan
    correlation = shrunk_correlation(returns)
    if correlation is None:
        assert shared_months(returns) < FEWEST_MONTHS
        return
    whole = matrix(correlation)
    np.testing.assert_allclose(np.diag(whole), 1.0, atol=1e-9)
    assert np.linalg.eigvalsh(whole).min() > -1e-9


def test_returns_that_are_no_table_are_refused() -> None:
    with pytest.raises(InvalidInput, match="months by strategies"):
        shrunk_correlation(np.zeros(12))
