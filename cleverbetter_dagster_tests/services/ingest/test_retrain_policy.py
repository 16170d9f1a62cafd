"""When a run is requested: hand-worked cases, and laws that hold for all of them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.services.ingest.retrain_policy import (
    LONGEST_DELAY,
    UNCHANGED_DELAY,
    PastRun,
    Policy,
    Situation,
    Waiting,
    decide,
    described,
)

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
POLICY = Policy(min_rows=100, longest_wait=timedelta(minutes=30))
HERE = "2023-12 abc after 3"


def waiting(rows: int, minutes: float = 0) -> dict[str, Waiting]:
    return {"2023-12": Waiting(rows, NOON - timedelta(minutes=minutes))} if rows else {}


def failed(minutes: float, landing: str = HERE, *, needs_change: bool = False) -> PastRun:
    return PastRun("f" * 32, "incremental", "failed", NOON - timedelta(minutes=minutes), landing, needs_change)


def situation(rows: int = 0, minutes: float = 0, requested: tuple[PastRun, ...] = (), **changes: object) -> Situation:
    facts = {"untrained": False, "landing": HERE, "active": (), **changes}
    return Situation(waiting=waiting(rows, minutes), requested=requested, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "minutes", "requested"),
    [(0, 0, False), (99, 0, False), (99, 29.9, False), (99, 30, True), (100, 0, True), (1, 30, True)],
)
def test_enough_rows_or_a_long_enough_wait_request_a_run(rows: int, minutes: float, requested: bool) -> None:
    assert decide(situation(rows, minutes), POLICY, NOON).request is requested


def test_a_run_at_work_makes_all_others_wait() -> None:
    at_work = (PastRun("a1b2c3d4e5", "retrain", "active"),)
    verdict = decide(situation(10_000, 600, active=at_work, untrained=True), POLICY, NOON)
    assert not verdict.request
    assert "retrain a1b2c3d4 is at work" in verdict.reason
    assert "10,000 new or changed rows wait (2023-12: 10,000)" in verdict.reason
    two = decide(situation(active=(*at_work, PastRun("b" * 32, "incremental", "active"))), POLICY, NOON)
    assert "retrain a1b2c3d4, incremental bbbbbbbb are at work or queued" in two.reason


def test_loaded_rows_that_no_training_succeeded_on_request_one() -> None:
    assert decide(situation(untrained=True), POLICY, NOON).request
    assert decide(situation(3, untrained=True), POLICY, NOON).request


@pytest.mark.parametrize(
    ("failures", "minutes", "requested"),
    [
        (1, 0.9, False),
        (1, 1.0, True),
        (2, 1.9, False),
        (2, 2, True),
        (4, 7.9, False),
        (4, 8, True),
        (60, 59, False),
        (60, 60, True),
    ],
)
def test_after_failures_the_next_run_waits_longer_each_time(failures: int, minutes: float, requested: bool) -> None:
    verdict = decide(situation(500, requested=(failed(minutes),) * failures), POLICY, NOON)
    assert verdict.request is requested
    assert verdict.attempt == (failures if requested else 0)


def test_only_failures_since_the_last_success_count() -> None:
    past = (failed(1), PastRun("5", "incremental", "succeeded", NOON), failed(2), failed(3))
    assert decide(situation(500, requested=past), POLICY, NOON).attempt == 1


def test_what_waiting_does_not_cure_is_tried_again_when_the_rows_are_others_or_a_day_later() -> None:
    same, other = failed(60, needs_change=True), failed(60, "2023-12 xyz after 3", needs_change=True)
    assert not decide(situation(500, requested=(same,)), POLICY, NOON).request
    assert decide(situation(500, requested=(other,)), POLICY, NOON).request
    assert decide(situation(500, requested=(same,)), POLICY, NOON + UNCHANGED_DELAY).request


def test_a_clock_set_back_makes_nobody_wait() -> None:
    assert decide(situation(500, requested=(failed(-300),)), POLICY, NOON).request


def test_many_months_are_named_in_short() -> None:
    months = {f"2023-{month:02d}": Waiting(1, NOON) for month in range(1, 13)}
    first_five = ", ".join(f"2023-0{month}: 1" for month in range(1, 6))
    assert described(months) == f"12 new or changed rows wait ({first_five}, ..., 2023-12: 1, 12 months)"


RUNS = st.lists(
    st.builds(
        PastRun,
        st.just("r"),
        st.just("incremental"),
        st.sampled_from(["failed", "succeeded"]),
        st.datetimes(datetime(2023, 12, 25), datetime(2024, 1, 3), timezones=st.just(UTC)),
        st.sampled_from([HERE, "elsewhere"]),
        st.booleans(),
    ),
    max_size=6,
)
SITUATIONS = st.builds(
    Situation,
    waiting=st.dictionaries(
        st.sampled_from(["2023-10", "2023-11", "2023-12"]),
        st.builds(
            Waiting,
            st.integers(1, 10**6),
            st.datetimes(datetime(2023, 12, 1), datetime(2024, 1, 1), timezones=st.just(UTC)),
        ),
    ),
    untrained=st.booleans(),
    landing=st.just(HERE),
    active=st.just(()),
    requested=RUNS,
)


@given(SITUATIONS)
def test_what_waits_is_requested_in_the_end_and_nothing_when_nothing_waits(found: Situation) -> None:
    something = bool(found.waiting) or found.untrained
    in_the_end = NOON + timedelta(days=3) + LONGEST_DELAY
    assert decide(found, POLICY, in_the_end).request is something
    assert something or not decide(found, POLICY, NOON).request


@given(SITUATIONS)
def test_every_verdict_says_why(found: Situation) -> None:
    assert len(decide(found, POLICY, NOON).reason) > 10


def test_after_an_update_that_could_not_go_on_the_next_run_trains_in_full_and_waits_no_day() -> None:
    stuck = PastRun("f" * 32, "incremental", "failed", NOON - timedelta(minutes=5), HERE, True, True)
    verdict = decide(situation(200, requested=(stuck,)), POLICY, NOON)
    assert (verdict.request, verdict.full, verdict.attempt) == (True, True, 1)
    assert "incremental ffffffff could not go on from the models there are" in verdict.reason
    full_too = PastRun("e" * 32, "retrain", "failed", NOON - timedelta(minutes=5), HERE, True)
    assert not decide(situation(200, requested=(full_too, stuck)), POLICY, NOON).request
    assert not decide(situation(200, requested=(failed(5),)), POLICY, NOON).full
