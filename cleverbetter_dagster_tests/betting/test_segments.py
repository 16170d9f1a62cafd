import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.betting import performance
from cleverbetter_dagster.betting.segments import (
    segment_cumulative_sums,
    segment_lengths,
    segment_max_drawdowns,
    segment_profit_factors,
    segment_sharpe_ratios,
    segment_sums,
    segment_win_rates,
)
from cleverbetter_dagster.errors import InvalidInput

segments = st.lists(st.lists(st.floats(-50, 50).map(lambda value: round(value, 2)), min_size=1, max_size=9), max_size=6)


def laid_end_to_end(lists):
    values = np.array([value for part in lists for value in part], dtype=float)
    first = np.cumsum([0, *map(len, lists[:-1])])[: len(lists)].astype(int)
    return values, first


def nan_where_none(values):
    return [np.nan if value is None else value for value in values]


@given(segments)
def test_many_sequences_at_once_give_what_each_gives_alone(lists):
    values, first = laid_end_to_end(lists)
    capital = 1_000.0
    curve = capital + segment_cumulative_sums(values, first)
    curves = [capital + np.append(0, np.cumsum(part)) for part in lists]

    np.testing.assert_allclose(segment_sums(values, first), [sum(part) for part in lists], atol=1e-9)
    np.testing.assert_allclose(segment_win_rates(values, first), [performance.win_rate(part) for part in lists])
    np.testing.assert_allclose(
        segment_profit_factors(values, first),
        nan_where_none(performance.profit_factor(part) for part in lists),
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        segment_max_drawdowns(curve, first, capital), [performance.max_drawdown(c) for c in curves], atol=1e-9
    )


def test_sharpe_ratios_of_two_sequences():
    returns, first = laid_end_to_end([[0.01, 0.03], [0.02], [0.02, 0.02, 0.02]])

    ratios = segment_sharpe_ratios(returns, first, periods_per_year=2)

    assert ratios[0] == pytest.approx(2.0)
    assert np.isnan(ratios[1:]).all()


def test_a_peak_of_one_sequence_is_not_the_next_ones():
    curve, first = laid_end_to_end([[500.0, 400.0], [90.0, 99.0]])

    assert segment_max_drawdowns(curve, first, 100.0).tolist() == pytest.approx([0.2, 0.1])


def test_segments_must_cover_the_array_without_an_empty_one():
    assert segment_lengths(3, np.array([0, 1])).tolist() == [1, 2]
    assert segment_lengths(0, np.array([], dtype=int)).tolist() == []
    for n_values, first in ((3, [1]), (3, [0, 0]), (3, [0, 3]), (3, []), (0, [0])):
        with pytest.raises(InvalidInput, match="must start at 0"):
            segment_lengths(n_values, np.array(first, dtype=int))
