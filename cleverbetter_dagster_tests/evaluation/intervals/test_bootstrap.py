import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap, BootstrapSpec
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.intervals.month_statistics import (
    auc_statistic,
    max_drawdown_of,
    mean_statistic,
    ratio_statistic,
)
from cleverbetter_dagster_tests.evaluation.scored import decision_months

rows = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from([0.1, 0.3, 0.3001, 0.8])), min_size=2, max_size=40
)


def test_months_are_drawn_whole_and_as_many_as_there_are():
    bootstrap = BlockBootstrap(decision_months(7, 3), BootstrapSpec(resamples=200))

    assert bootstrap.n_months == 7
    assert bootstrap.by_month(np.ones(21)).tolist() == [3] * 7
    assert bootstrap.weights.shape == (200, 7)
    assert (bootstrap.weights.sum(axis=1) == 7).all()
    assert (np.sort(bootstrap.draws[0]) == np.repeat(np.arange(7), bootstrap.weights[0].astype(int))).all()


def test_every_month_is_equally_likely():
    bootstrap = BlockBootstrap(decision_months(10, 1), BootstrapSpec(resamples=20_000))

    assert bootstrap.weights.mean(axis=0) == pytest.approx(np.ones(10), abs=0.05)


def test_the_seed_decides_the_interval():
    months, values = decision_months(12, 5), np.random.default_rng(0).normal(size=60)

    def interval(seed):
        bootstrap = BlockBootstrap(months, BootstrapSpec(seed=seed))
        return bootstrap.interval(mean_statistic(bootstrap, values))

    assert interval(3) == interval(3)
    assert interval(3) != interval(4)


def test_a_higher_level_gives_a_wider_interval():
    months, values = decision_months(12, 5), np.random.default_rng(0).normal(size=60)

    def width(level):
        bootstrap = BlockBootstrap(months, BootstrapSpec(level=level))
        interval = bootstrap.interval(mean_statistic(bootstrap, values))
        return interval.high - interval.low

    assert width(0.99) > width(0.95) > width(0.8)


@pytest.mark.parametrize("n_months", [1, 2, 5])
def test_few_months_have_no_interval(n_months):
    bootstrap = BlockBootstrap(decision_months(n_months, 10))
    estimate = bootstrap.interval(mean_statistic(bootstrap, np.arange(10 * n_months)))

    assert (estimate.point, estimate.ends) == (pytest.approx((10 * n_months - 1) / 2), None)
    assert estimate.reason.endswith("95% needs 6")


def test_a_statistic_the_rows_do_not_define_has_no_interval():
    bootstrap = BlockBootstrap(decision_months(6, 2))
    undefined = Estimate.without("not defined on these rows", 0.95)

    assert bootstrap.interval(auc_statistic(bootstrap, np.ones(12), np.arange(12))) == undefined
    assert bootstrap.mean_interval(ratio_statistic(bootstrap, np.ones(12), np.zeros(12))) == undefined


def test_a_statistic_undefined_in_most_resamples_has_no_interval():
    bootstrap = BlockBootstrap(decision_months(10, 1))

    def only_where_the_first_month_is_drawn_once(weights):  # 0.9 ** 9 = 39% of the resamples
        return np.where(weights[:, 0] == 1, weights[:, 1], np.nan)

    def only_where_the_first_month_is_drawn(weights):  # 1 - 0.9 ** 10 = 65% of the resamples
        return np.where(weights[:, 0] > 0, weights[:, 1], np.nan)

    assert bootstrap.interval(only_where_the_first_month_is_drawn_once).ends is None
    assert bootstrap.interval(only_where_the_first_month_is_drawn).point == 1


def test_intervals_of_an_auc_cover_the_truth():
    rng = np.random.default_rng(6)
    months = decision_months(30, 30)
    bootstrap = BlockBootstrap(months, BootstrapSpec(resamples=300))
    # Scores N(1, 1) of positives and N(0, 1) of negatives: AUC = Phi(1 / sqrt(2)).
    truth, covered = 0.760250, 0
    for _ in range(150):
        label = rng.random(len(months)) < 0.4
        interval = bootstrap.interval(auc_statistic(bootstrap, label, rng.normal(label, 1.0)))
        covered += interval.low <= truth <= interval.high

    assert 0.88 <= covered / 150 <= 0.99


@settings(max_examples=60, deadline=None)
@given(rows)
def test_fast_statistics_agree_with_resampling_row_by_row(drawn):
    month, label, score = (np.array(values) for values in zip(*drawn, strict=True))
    bootstrap = BlockBootstrap(decision_months(5, 1)[month], BootstrapSpec(resamples=100))
    profit, stake = score - 0.3, score * label
    auc = auc_statistic(bootstrap, label, score)(bootstrap.weights)
    mean = mean_statistic(bootstrap, score)(bootstrap.weights)
    ratio = ratio_statistic(bootstrap, profit, stake)(bootstrap.weights)
    for k, draws in enumerate(bootstrap.draws[:10]):
        picked = np.concatenate([np.flatnonzero(bootstrap.month == drawn_month) for drawn_month in draws])
        assert mean[k] == pytest.approx(score[picked].mean())
        if stake[picked].sum() > 0:
            assert ratio[k] == pytest.approx(profit[picked].sum() / stake[picked].sum())
        else:
            assert np.isnan(ratio[k])
        if 0 < label[picked].mean() < 1:
            assert auc[k] == pytest.approx(roc_auc_score(label[picked], score[picked]))
        else:
            assert np.isnan(auc[k])


def test_the_largest_fall_of_each_sequence_worked_by_hand():
    monthly = np.array([[0.1, -0.5, 0.2], [0.02, 0.02, 0.02], [0.1, -1.0, 0.5]])

    assert max_drawdown_of(monthly).tolist() == pytest.approx([0.5, 0, 1])


def test_a_fall_from_the_very_start_is_a_drawdown():
    assert max_drawdown_of(np.array([[-0.2, 0.1]]))[0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("field", "value"), [("resamples", 10), ("level", 1.0), ("level", 0.4), ("seed", -1), ("block_months", 6)]
)
def test_the_spec_is_bounded_and_knows_no_blocks(field, value):
    with pytest.raises(ValidationError):
        BootstrapSpec(**{field: value})
