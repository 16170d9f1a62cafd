"""Stakes: worked by hand, optimal under their bounds, and never above them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cleverbetter_dagster.betting.staking import (
    StakingSpec,
    allocate,
    equal_stakes,
    kelly_fraction,
    return_moments,
)
from cleverbetter_dagster.errors import InvalidInput

strategies = st.lists(st.tuples(st.floats(-0.5, 0.5), st.floats(0, 1)), min_size=1, max_size=40)
held = st.floats(0, 1.1)
specs = st.builds(
    StakingSpec,
    kelly_fraction=st.floats(0.01, 1),
    max_stake_fraction=st.floats(0.01, 1),
    max_total_fraction=st.floats(0.01, 1),
)


def test_mean_and_variance_worked_by_hand():
    mean, variance = return_moments([0.6], [0.10], [0.05])

    assert mean[0] == pytest.approx(0.06 - 0.02)
    assert variance[0] == pytest.approx(np.pi / 2 * (0.6 * 0.01 + 0.4 * 0.0025) - 0.04**2)


def test_variance_is_exact_for_a_normal_return_around_zero():
    # A normal return with deviation s has mean gain and mean loss s * sqrt(2 / pi).
    size = 0.3 * np.sqrt(2 / np.pi)
    mean, variance = return_moments([0.5], [size], [size])

    assert mean[0] == pytest.approx(0)
    assert variance[0] == pytest.approx(0.09)


def test_kelly_fraction_is_the_mean_over_the_second_moment():
    # Thorp (2006), section 7: mean over variance for small means, here 0.001 / 0.01.
    assert kelly_fraction([0.001], [0.01])[0] == pytest.approx(0.1, rel=1e-3)
    assert kelly_fraction([0.1], [0.19])[0] == pytest.approx(0.1 / 0.2)


def test_kelly_fraction_maximises_log_growth():
    # An even bet won with probability 0.52: the classical answer is 2p - 1 = 0.04.
    mean = 0.04
    assert kelly_fraction([mean], [1 - mean**2])[0] == pytest.approx(0.04)


def test_nothing_is_staked_without_an_edge_or_without_knowledge():
    stakes = allocate([-0.1, 0.0, np.nan, 0.1, 0.1], [0.1, 0.1, 0.1, np.nan, 0.1])

    assert stakes.tolist() == [0, 0, 0, 0, StakingSpec().max_stake_fraction]


def test_a_stake_is_quarter_kelly_up_to_the_cap():
    # Full Kelly is 0.1 and 10; a quarter of the first is below a cap of 0.05, of the second above it.
    stakes = allocate([0.1, 0.1], [0.99, 0.0], spec=StakingSpec(kelly_fraction=0.25, max_stake_fraction=0.05))

    assert stakes.tolist() == pytest.approx([0.025, 0.05])


def test_equal_stakes_share_the_bound_on_their_sum():
    spec = StakingSpec(kelly_fraction=1, max_stake_fraction=0.5, max_total_fraction=0.6)

    # Three times 0.5 is brought down to 0.6, or to the 0.3 that open stakes leave; a single stake stays.
    assert equal_stakes(3, spec).tolist() == pytest.approx([0.2] * 3)
    assert equal_stakes(3, spec, open_fraction=0.3).tolist() == pytest.approx([0.1] * 3)
    assert equal_stakes(1, spec).tolist() == [0.5]
    assert equal_stakes(2, spec, open_fraction=0.7).tolist() == [0, 0]


def test_a_scarce_bankroll_goes_to_the_best_edges_first():
    # Full Kelly of both is above 1. At a price of 0.1 the means are 0.2 and 0.0 over a second moment of 0.5.
    spec = StakingSpec(kelly_fraction=1, max_stake_fraction=1, max_total_fraction=0.4)
    mean = np.array([0.3, 0.1])
    stakes = allocate(mean, 0.5 - mean**2, spec)

    assert stakes.tolist() == pytest.approx([0.4, 0.0])


def test_equal_edges_share_a_scarce_bankroll_equally():
    spec = StakingSpec(kelly_fraction=1, max_stake_fraction=0.5, max_total_fraction=0.6)

    assert allocate([0.2] * 3, [0.1] * 3, spec).tolist() == pytest.approx([0.2] * 3)


@given(strategies, specs, held, st.integers(0, 2**32 - 1))
def test_no_other_stakes_within_the_bounds_promise_more_growth(rows, spec, held, seed):
    mean, variance = map(np.array, zip(*rows, strict=True))
    second_moment = (variance + mean**2).clip(1e-18)

    def promised(stakes):
        return (spec.kelly_fraction * mean * stakes - second_moment * stakes**2 / 2).sum()

    best = allocate(mean, variance, spec, open_fraction=held)
    rng = np.random.default_rng(seed)
    other = np.minimum(best + rng.normal(0, 0.05, len(mean)).clip(-best), spec.max_stake_fraction)
    other *= min(1, spec.left_over(held) / max(other.sum(), 1e-300))

    assert promised(other) <= promised(best) + 1e-9


def test_a_probability_alone_is_not_a_stake():
    # The same probability, but what is lost outweighs what is won.
    stakes = allocate(*return_moments([0.6, 0.6], [0.1, 0.1], [0.05, 0.2]))

    assert stakes[0] > 0
    assert stakes[1] == 0


@given(strategies, specs, held)
def test_no_bound_is_ever_exceeded(rows, spec, held):
    mean, variance = map(np.array, zip(*rows, strict=True))

    stakes = allocate(mean, variance, spec, open_fraction=held)

    assert (stakes >= 0).all()
    assert (stakes <= spec.max_stake_fraction + 1e-12).all()
    assert (stakes[mean <= 0] == 0).all()
    assert stakes.sum() <= max(spec.max_total_fraction - held, 0.0)


@given(strategies, specs, st.randoms(use_true_random=False))
def test_the_order_of_the_strategies_does_not_matter(rows, spec, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    mean, variance = map(np.array, zip(*rows, strict=True))

    shuffled = allocate(mean[order], variance[order], spec)

    np.testing.assert_allclose(shuffled, allocate(mean, variance, spec)[order], atol=1e-12)


@given(st.floats(0.01, 0.99), st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_a_higher_probability_never_gets_a_lower_stake(probability, gain, loss):
    higher = min(probability + 0.05, 1.0)
    lower, upper = (allocate(*return_moments([p], [gain], [loss])) for p in (probability, higher))

    assert upper[0] >= lower[0] - 1e-12


@pytest.mark.parametrize(
    ("probability", "gain", "loss", "named"),
    [([1.1], [0.1], [0.1], "probability is 1.1"), ([0.5], [-0.1], [0.1], "gain"), ([0.5], [0.1], [-0.1], "loss")],
)
def test_impossible_moments_are_refused_by_name(probability, gain, loss, named):
    with pytest.raises(InvalidInput, match=named):
        return_moments(probability, gain, loss)


def test_a_negative_variance_is_refused():
    with pytest.raises(InvalidInput, match=r"variance is -0\.1"):
        kelly_fraction([0.1], [-0.1])


@pytest.mark.parametrize("field", list(StakingSpec.model_fields))
@pytest.mark.parametrize("value", [0, -0.1, 1.01])
def test_the_bounds_of_staking_are_fractions(field, value):
    with pytest.raises(ValidationError):
        StakingSpec(**{field: value})


def test_every_field_of_the_spec_changes_the_stakes():
    mean, variance = [0.1] * 3, [0.5] * 3
    usual = StakingSpec(kelly_fraction=0.5, max_stake_fraction=0.2, max_total_fraction=0.9)
    stakes = allocate(mean, variance, usual).sum()

    for change in ({"kelly_fraction": 0.25}, {"max_stake_fraction": 0.03}, {"max_total_fraction": 0.1}):
        assert allocate(mean, variance, usual.model_copy(update=change)).sum() < stakes
