"""Open stakes: rounds as a team decides them, and money that is conserved at every instant."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.betting.open_stakes import Windows, open_at, replay
from cleverbetter_dagster.betting.staking import StakingSpec, allocate
from cleverbetter_dagster.errors import InvalidInput

HOUR = np.timedelta64(1, "h")


def windows(*rows: tuple[str, str, str]) -> Windows:
    """Windows from (decided, opens, closes)."""
    return Windows(*(np.array(column) for column in zip(*rows, strict=True)))


def all_that_is_left(bound: float = 1.0):
    """Sizes a round with equal parts of what is left."""
    return lambda rows, held: np.full(len(rows), max(bound - held, 0.0) / len(rows))


def test_decisions_before_any_of_their_windows_begins_are_one_round() -> None:
    rows = windows(
        ("2023-01-31T18:00", "2023-02-01", "2023-02-28T20:00"),
        ("2023-01-31T23:59", "2023-02-01", "2023-02-28T23:59"),
        ("2023-01-25T12:00", "2023-02-03", "2023-02-28T19:00"),
        ("2023-02-28T19:00", "2023-03-01", "2023-03-31"),
        ("2023-02-28T23:59", "2023-03-01", "2023-03-31"),
    )
    assert rows.round.tolist() == [0, 0, 0, 1, 1]
    assert rows.instants.tolist() == [rows.decided[1], rows.decided[4]]
    assert rows.settled.tolist() == [1, 1, 1, 2, 2]


def test_a_decision_after_a_window_began_is_another_round() -> None:
    rows = windows(("2023-01-01", "2023-01-01", "2023-02-01"), ("2023-01-15", "2023-01-15", "2023-02-15"))
    assert rows.round.tolist() == [0, 1]


def test_decisions_of_one_run_are_one_round() -> None:
    # Rows written some hours into the windows they are to decide on, as with decisions at run_date.
    rows = windows(
        ("2023-02-01T01:39", "2023-02-01", "2023-03-01T01:20"),
        ("2023-02-01T13:39", "2023-02-01", "2023-03-01T05:00"),
        ("2023-02-01T13:40", "2023-02-01", "2023-03-01T05:00"),
    )
    assert rows.round.tolist() == [0, 0, 1]


def test_no_round_lasts_beyond_the_end_of_its_windows() -> None:
    rows = windows(
        ("2023-01-01T00", "2023-01-01T00", "2023-01-01T06"), ("2023-01-01T06", "2023-01-01T06", "2023-01-02")
    )
    assert rows.round.tolist() == [0, 1]


def test_rolled_windows_worked_by_hand() -> None:
    # Windows of three months decided monthly, each all that is left: +10% from January to March, then -50% from April
    # to June. The decisions between find nothing left, and their returns of 900% are not earned.
    months = np.datetime64("2022-12") + np.arange(6)
    rolled = Windows(months + 1, months + 1, months + 4)
    result = replay(rolled, [0.1, 9.0, 9.0, -0.5, 9.0, 9.0], all_that_is_left())
    assert result.stake.tolist() == [1, 0, 0, 1, 0, 0]
    assert result.bankroll.tolist() == pytest.approx([1, 1, 1, 1.1, 1.1, 1.1, 0.55])
    assert result.open_fraction.tolist() == [1, 1, 1, 1, 1, 1]


def test_profits_reach_the_bankroll_when_their_window_closes() -> None:
    rows = windows(("2023-01-01", "2023-01-01", "2023-02-15"), ("2023-02-01", "2023-02-01", "2023-03-01"))
    result = replay(rows, [1.0, 0.5], lambda rows, _: np.full(len(rows), 0.4))
    # The second stake is 0.4 of 1, not of 1.4: the first window is still open.
    assert result.bankroll.tolist() == pytest.approx([1, 1, 1 + 0.4 + 0.2])
    assert result.open_fraction.tolist() == pytest.approx([0.4, 0.8])


def test_ruin_is_for_good() -> None:
    months = np.datetime64("2023-01") + np.arange(3)
    result = replay(Windows(months, months, months + 1), [0.0, -1.5, 1.0], all_that_is_left())
    assert result.bankroll.tolist() == [1, 1, 0, 0]
    assert result.stake.tolist() == [1, 1, 0]


def test_what_is_open_follows_the_realised_bankroll() -> None:
    rows = windows(("2023-01-01", "2023-01-01", "2023-02-01"), ("2023-01-01", "2023-01-01", "2023-04-01"))
    at = {
        month: open_at(rows, [0.5, 0.3], [-0.4, np.nan], np.datetime64(month)) for month in ("2023-01-20", "2023-03-01")
    }
    assert at == {"2023-01-20": pytest.approx(0.8), "2023-03-01": pytest.approx(0.3 / 0.8)}
    assert open_at(Windows.consecutive([]), [], [], np.datetime64("2023-01-01")) == 0.0


random_windows = st.lists(
    st.tuples(
        st.integers(0, 2000),  # hour of the decision
        st.integers(-48, 400),  # hours until the window begins
        st.integers(1, 1500),  # hours until it closes
        st.floats(-1, 3),  # its return
        st.floats(0.001, 0.5),  # the mean that was expected
    ),
    min_size=1,
    max_size=60,
)
START = np.datetime64("2023-01-01", "us")


def of_hours(rows: list[tuple[int, int, int, float, float]]) -> tuple[Windows, np.ndarray, np.ndarray]:
    decided, opens, closes, roi, mean = map(np.array, zip(*rows, strict=True))
    return Windows(*(START + hours * HOUR for hours in (decided, decided + opens, decided + closes))), roi, mean


@given(random_windows, st.floats(0.05, 1), st.floats(0.05, 1))
def test_never_more_than_the_bound_is_open_at_any_instant(rows, total, cap) -> None:
    windows, roi, mean = of_hours(rows)
    spec = StakingSpec(kelly_fraction=1, max_stake_fraction=cap, max_total_fraction=total)
    result = replay(windows, roi, lambda now, held: allocate(mean[now], mean[now], spec, open_fraction=held))
    placed = windows.instants[windows.round]
    money = result.stake * result.bankroll[windows.round]
    # An independent account: at every instant, what has closed is realised, and what was placed and not closed is open.
    for instant in np.concatenate([placed, windows.closes]):
        closed, still_open = windows.closes <= instant, (placed <= instant) & (windows.closes > instant)
        realised = 1.0 + (money * roi)[closed].sum()
        assert money[still_open].sum() <= total * realised + 1e-9
    assert result.bankroll[-1] == pytest.approx(max(1.0 + (money * roi).sum(), 0.0), abs=1e-9)


@given(random_windows)
def test_a_round_knows_its_decisions_and_none_of_its_outcomes(rows) -> None:
    windows, _, _ = of_hours(rows)
    instant = windows.instants[windows.round]
    assert (windows.decided <= instant).all() and (instant < windows.closes).all()
    assert (windows.settled > windows.round).all()
    assert (np.diff(windows.instants) > np.timedelta64(0)).all()


@given(random_windows, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows, random) -> None:
    windows, roi, mean = of_hours(rows)
    order = list(range(len(rows)))
    random.shuffle(order)

    def stakes(order: list[int]) -> np.ndarray:
        edge = mean[order]
        size = lambda now, held: allocate(edge[now], edge[now], open_fraction=held)  # noqa: E731
        return replay(windows.take(np.array(order)), roi[order], size).stake

    np.testing.assert_allclose(stakes(order), stakes(sorted(order))[order], atol=1e-9)


@given(st.lists(st.floats(0, 6), min_size=20, max_size=20), st.integers(0, 2**32 - 1))
def test_ends_some_hours_earlier_change_no_stake(hours, seed) -> None:
    rng = np.random.default_rng(seed)
    month = np.repeat(np.datetime64("2023-01", "M") + np.arange(4), 5)
    roi, mean = rng.normal(0, 0.2, 20), rng.uniform(0.01, 0.3, 20)
    jitter = (np.array(hours) * 3.6e9).astype("timedelta64[us]")
    end, begin = (month + 1).astype("datetime64[us]") - np.timedelta64(1, "s"), (month + 1).astype("datetime64[us]")
    size = lambda now, held: allocate(mean[now], mean[now], open_fraction=held)  # noqa: E731
    later = (month + 2).astype("datetime64[us]") - np.timedelta64(1, "s")
    plain = replay(Windows(end, begin, later), roi, size)
    moved = replay(Windows(end - jitter, begin, later - np.roll(jitter, -5)), roi, size)
    np.testing.assert_allclose(moved.stake, plain.stake)
    assert moved.bankroll[-1] == pytest.approx(plain.bankroll[-1])


def test_unusable_windows_are_named() -> None:
    with pytest.raises(InvalidInput, match="Lengths differ"):
        Windows(["2023-01"], ["2023-01"], [])
    with pytest.raises(InvalidInput, match="opens has a missing time"):
        Windows(["2023-01"], ["NaT"], ["2023-02"])
    with pytest.raises(InvalidInput, match=r"Window 0 closes at 2023-01-01T00:00:00\.000000, and was decided"):
        Windows(["2023-01"], ["2023-01"], ["2023-01"])
