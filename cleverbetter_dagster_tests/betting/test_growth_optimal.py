"""Joint stakes: as the independent ones without a correlation, the optimum with one, and never above a bound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize

from cleverbetter_dagster.betting.covariance import Correlation
from cleverbetter_dagster.betting.exposure import Exposure
from cleverbetter_dagster.betting.growth_optimal import allocate_jointly
from cleverbetter_dagster.betting.staking import StakingSpec, allocate
from cleverbetter_dagster_tests.benchmarks.bench_stakes import CORRELATIONS, DEVIATIONS, cell, size_figures

FULL = StakingSpec(kelly_fraction=1.0, max_stake_fraction=1.0, max_total_fraction=1.0)

rows = st.lists(st.tuples(st.floats(0.001, 0.5), st.floats(0.001, 1)), min_size=1, max_size=12)
specs = st.builds(
    StakingSpec,
    kelly_fraction=st.floats(0.05, 1),
    max_stake_fraction=st.floats(0.05, 1),
    max_total_fraction=st.floats(0.05, 1),
)


def random_correlation(strategies: int, seed: int) -> Correlation:
    loadings = np.random.default_rng(seed).normal(size=(strategies, 3))
    return Correlation(0.9 * loadings / np.linalg.norm(loadings, axis=1)[:, None], months=24)


@settings(max_examples=30)
@given(rows, specs, st.floats(0, 1.1))
def test_without_correlation_they_are_the_independent_stakes(rows, spec, held) -> None:
    mean, variance = map(np.array, zip(*rows, strict=True))
    apart = Correlation(np.zeros((len(mean), 1)), months=24)
    joint = allocate_jointly(mean, variance, apart, spec, held)
    np.testing.assert_allclose(joint, allocate(mean, variance, spec, open_fraction=held), atol=1e-4)


def test_strategies_that_are_one_share_one_stake() -> None:
    alike = Correlation(np.ones((4, 1)), months=24)
    # One alone would get 0.02 / 0.1 = 0.2.
    assert allocate_jointly([0.02] * 4, [0.1] * 4, alike, FULL).sum() == pytest.approx(0.2, abs=0.001)


def test_two_correlated_strategies_worked_by_hand() -> None:
    # Covariance 0.06, variances 0.1 - 0.02^2: each gets 0.02 / (0.1 + 0.06).
    pair = Correlation(np.full((2, 1), np.sqrt(0.06 / 0.0996)), months=24)
    assert allocate_jointly([0.02, 0.02], [0.0996, 0.0996], pair, FULL).tolist() == pytest.approx([0.125] * 2, rel=1e-3)


@settings(max_examples=20)
@given(rows, specs, st.integers(0, 2**32 - 1))
def test_a_general_optimiser_promises_no_more_growth(rows, spec, seed) -> None:
    mean, variance = map(np.array, zip(*rows, strict=True))
    correlation = random_correlation(len(mean), seed)
    factors = np.sqrt(variance)[:, None] * correlation.loadings
    covariance = factors @ factors.T + np.diag(variance * correlation.own + mean**2)

    def lost(stakes: np.ndarray) -> float:
        return float(stakes @ covariance @ stakes / 2 - spec.kelly_fraction * mean @ stakes)

    together = LinearConstraint(np.ones(len(mean)), -np.inf, spec.max_total_fraction)
    bounds = [(0.0, spec.max_stake_fraction)] * len(mean)
    other = minimize(lost, np.zeros(len(mean)), bounds=bounds, constraints=[together], method="SLSQP", tol=1e-12)
    best = allocate_jointly(mean, variance, correlation, spec)
    assert lost(best) <= other.fun + 1e-6


@settings(max_examples=30)
@given(rows, specs, st.floats(0, 1.1), st.integers(0, 2**32 - 1))
def test_no_bound_is_ever_exceeded(rows, spec, held, seed) -> None:
    mean, variance = map(np.array, zip(*rows, strict=True))
    stakes = allocate_jointly(mean, variance, random_correlation(len(mean), seed), spec, held)
    assert (stakes >= 0).all() and (stakes <= spec.max_stake_fraction).all()
    assert stakes.sum() <= spec.left_over(held) + 1e-12


@pytest.mark.parametrize("rho", CORRELATIONS)
@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_growth_is_near_the_optimum_and_drawdown_below_half_kellys(rho: float, deviation: float) -> None:
    rng = np.random.default_rng(1)
    runs = [cell(rho, deviation, 0.25, rng) for _ in range(10)]
    mean = {name: np.mean([run[name] for run in runs]) for name in runs[0]}
    assert mean["growth_joint"] > 0.9 * mean["growth_optimum"]  # within 5%, and the noise of ten repetitions
    assert mean["drawdown_joint"] <= 1.05 * mean["drawdown_half_kelly"]


def test_thousands_of_strategies_take_two_seconds_at_most() -> None:
    figures = size_figures(5000)
    assert figures["seconds"] < 2


def test_exposure_worked_by_hand() -> None:
    # Two alike with 0.1 x 0.2 each, one apart with 0.2 x 0.1: variance 0.04^2 + 0.02^2, of deviations 0.06 together.
    loadings = np.array([[1.0], [1.0], [0.0], [1.0]])
    exposure = Exposure.of([0.1, 0.1, 0.2, 0.0], [0.04, 0.04, 0.01, 9.0], Correlation(loadings, months=30))
    assert (exposure.staked, exposure.months) == (3, 30)
    assert exposure.total_fraction == pytest.approx(0.4)
    assert exposure.deviation == pytest.approx(np.sqrt(0.0020))
    assert exposure.common_share == pytest.approx(0.8)
    assert exposure.effective_bets == pytest.approx(0.0036 / 0.0020)


def test_independent_equal_stakes_are_as_many_bets() -> None:
    exposure = Exposure.of(np.full(20, 0.05), np.full(20, 0.01), None)
    assert (exposure.common_share, exposure.months) == (0.0, 0)
    assert exposure.effective_bets == pytest.approx(20)
    assert Exposure.of([0.0], [0.1], None).effective_bets is None
