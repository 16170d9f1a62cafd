"""Edges of rows are those known at the decision, to the last bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.edges import edges as module
from cleverbetter_dagster.dataset.edges.edges import Edges, Observed, edges_of
from cleverbetter_dagster.dataset.edges.next_window import EdgeWindow

DAY = np.timedelta64(1, "D")
START = np.datetime64("2021-01-01", "us")


def observed(seed: int, days: int = 40, strategies: int = 24, scattered: bool = False) -> Observed:
    """Rows of strategies with a planted edge that a column tells, in order of time; some begin late, some rest."""
    rng = np.random.default_rng(seed)
    day, who = (grid.ravel() for grid in np.meshgrid(np.arange(days), np.arange(strategies), indexing="ij"))
    there = (rng.random(len(day)) < 0.6) & (day >= rng.integers(0, days, strategies)[who] * (who % 2))
    day, who = day[there], who[there]
    time = START + day * DAY + (rng.integers(0, 86_400, len(day)) if scattered else 0) * np.timedelta64(1, "s")
    order = np.argsort(time, kind="stable")
    day, who, time = day[order], who[order], time[order]
    _, first, code = np.unique(who, return_index=True, return_inverse=True)
    sequence = np.argsort(np.argsort(first))[code]
    bets = rng.integers(0, 60, len(who)).astype(float)
    kind = np.linspace(-1.0, 1.0, strategies)[who]
    roi = 0.01 * (0.2 * kind * bets + np.sqrt(bets) * rng.normal(size=len(who)))
    described = np.column_stack([kind + 0.1 * rng.normal(size=len(who)), roi + 0.01 * rng.normal(size=len(who))])
    described[rng.random(described.shape) < 0.1] = np.nan
    return Observed(sequence, time, roi, bets, described)


def first_rows(rows: Observed, end: int, with_column: bool = False) -> Observed:
    described = np.column_stack([np.full(end, np.nan), rows.described[:end]]) if with_column else rows.described[:end]
    return Observed(rows.sequence[:end], rows.decided[:end], rows.roi[:end], rows.bets[:end], described)


def parts(edges: Edges) -> np.ndarray:
    return np.stack([edges.mean, edges.uncertainty, edges.variance])


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.98), st.booleans(), st.booleans())
def test_later_rows_and_columns_change_no_bit(seed: int, share: float, scattered: bool, with_column: bool) -> None:
    rows = observed(seed, scattered=scattered)
    end = int(np.searchsorted(rows.decided, rows.decided[int(share * len(rows.roi))], "right"))
    before, whole = edges_of(first_rows(rows, end, with_column)), edges_of(rows)
    assert (parts(before) == parts(whole)[:, :end]).all()


def test_the_future_of_other_strategies_changes_no_bit() -> None:
    rows = observed(1)
    end = int(np.searchsorted(rows.decided, START + 20 * DAY, "right"))
    other = replace(rows, roi=np.where(np.arange(len(rows.roi)) < end, rows.roi, 9.0), described=rows.described.copy())
    other.described[end:] = 1e9
    assert (parts(edges_of(other))[:, :end] == parts(edges_of(rows))[:, :end]).all()


def test_edges_of_strategies_come_near_the_planted_ones() -> None:
    rows = observed(2, days=80)
    edges, newest = edges_of(rows), np.arange(len(rows.roi))[-40:]
    planted = 0.002 * np.linspace(-1.0, 1.0, 24)
    by_code = np.array([rows.described[rows.sequence == code, 0][0] for code in range(24)])
    truth = planted[np.argsort(np.argsort(by_code))][rows.sequence[newest]]
    assert np.corrcoef(edges.mean[newest], truth)[0, 1] > 0.85
    assert edges.variance[newest] == pytest.approx(1e-4, rel=0.5)


def test_between_renewals_own_rows_are_added_exactly() -> None:
    # Eight strategies at one time renew; a single row afterwards does not: its strategy's edge gains 30 bets.
    sequence = np.append(np.arange(8), 3)
    time = START + np.append(np.zeros(8, dtype=int), 1) * DAY
    roi = np.append(0.01 * np.arange(8.0), 0.5)
    rows = Observed(sequence, time, roi, np.append(np.full(8, 20.0), 30.0), np.zeros((9, 0)))
    before, after = (edges_of(first_rows(rows, end)) for end in (8, 9))
    own = 1.0 / before.uncertainty[3], 30.0 / before.variance[3]
    assert after.mean[8] == pytest.approx((own[0] * before.mean[3] + own[1] * 0.5 / 30.0) / sum(own))
    assert after.uncertainty[8] == pytest.approx(1.0 / sum(own))
    assert after.variance[8] == before.variance[3]


def test_a_strategy_new_since_the_renewal_starts_from_its_like() -> None:
    rows = observed(5, days=60, strategies=24)
    n, kind = len(rows.roi), rows.described[:, 0]
    like_best, like_worst = (np.where(np.isnan(kind), np.nan, sign * 1.0) for sign in (1, -1))
    estimates = []
    for described in (like_best, like_worst):
        late = Observed(
            np.append(rows.sequence, 24),
            np.append(rows.decided, rows.decided[-1] + DAY),
            np.append(rows.roi, 0.0),
            np.append(rows.bets, 1.0),
            np.vstack([rows.described, [described[~np.isnan(described)][0], np.nan]]),
        )
        estimates.append(edges_of(late).mean[n])
    assert estimates[0] > 0.001 and estimates[1] < -0.001


def test_months_of_moves_together_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    results = module.Results

    def noted(edge: np.ndarray, bets: np.ndarray, common: float) -> module.Results:
        seen.append(common)
        return results(edge, bets, common)

    monkeypatch.setattr(module, "Results", noted)
    rng, n, months = np.random.default_rng(0), 40, 24
    for share in (0.0, 0.5):
        together = rng.normal(size=(months, 1)) * np.sqrt(share) + rng.normal(size=(months, n)) * np.sqrt(1 - share)
        rows = Observed(
            np.tile(np.arange(n), months),
            START + np.repeat(np.arange(months), n) * DAY,
            0.1 * together.ravel(),
            np.full(n * months, 100.0),
            np.zeros((n * months, 0)),
        )
        edges_of(rows)
        # Nothing describes them, so all are alike: half of what any two share is for that, 0.25.
        assert 0.1 < seen[-1] < 0.3 if share else seen[-1] < 0.02


def test_no_rows_have_no_edges() -> None:
    empty = first_rows(observed(0), 0)
    assert parts(edges_of(empty)).shape == (3, 0)


def test_the_next_window_has_mean_and_deviation_of_its_bets() -> None:
    edges = Edges(np.array([0.002, 0.0]), np.array([1e-6, 0.0]), np.array([1e-4, 1e-4]))
    window = EdgeWindow(edges, np.array([100.0, 0.0]))
    assert window.expected_return == pytest.approx([0.2, 0.0])
    # 100 bets of variance 1e-4, and an edge uncertain by 1e-6 times 100 squared.
    assert window.std == pytest.approx([np.sqrt(0.01 + 0.01), 1e-5])
    assert window.sharpe == pytest.approx([0.2 / np.sqrt(0.02), 0.0])
