"""When a run is requested: cases worked out by hand, and properties of all of them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.services.ingest.retrain_policy import (
    LONGEST_DELAY,
    UNCHANGED_DELAY,
    PastRun,
    PendingRows,
    RetrainPolicy,
    RetrainSituation,
    decide_retraining,
    described,
)

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
POLICY = RetrainPolicy(min_rows=100, longest_wait=timedelta(minutes=30))
HERE = "2023-12 abc after training 3"


def pending(rows: int, minutes: float = 0) -> dict[str, PendingRows]:
    return {"2023-12": PendingRows(rows, NOON - timedelta(minutes=minutes))} if rows else {}


def failed(minutes: float, data_version: str = HERE, *, needs_change: bool = False) -> PastRun:
    return PastRun("f" * 32, "incremental", "failed", NOON - timedelta(minutes=minutes), data_version, needs_change)


def situation(
    rows: int = 0, minutes: float = 0, requested: tuple[PastRun, ...] = (), **changes: object
) -> RetrainSituation:
    facts = {"untrained": False, "data_version": HERE, "active": (), **changes}
    return RetrainSituation(pending=pending(rows, minutes), requested=requested, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "minutes", "requested"),
    [(0, 0, False), (99, 0, False), (99, 29.9, False), (99, 30, True), (100, 0, True), (1, 30, True)],
)
def test_enough_rows_or_a_long_enough_wait_request_a_run(rows: int, minutes: float, requested: bool) -> None:
    assert decide_retraining(situation(rows, minutes), POLICY, NOON).request is requested


def test_a_running_training_makes_others_wait() -> None:
    running = (PastRun("a1b2c3d4e5", "retrain", "active"),)
    decision = decide_retraining(situation(10_000, 600, active=running, untrained=True), POLICY, NOON)
    assert not decision.request
    assert "retrain a1b2c3d4 is running" in decision.reason
    assert "10,000 new or changed rows are pending (2023-12: 10,000)" in decision.reason
    two = decide_retraining(situation(active=(*running, PastRun("b" * 32, "incremental", "active"))), POLICY, NOON)
    assert "retrain a1b2c3d4, incremental bbbbbbbb are running or queued" in two.reason


def test_loaded_rows_without_a_successful_training_request_one() -> None:
    assert decide_retraining(situation(untrained=True), POLICY, NOON).request
    assert decide_retraining(situation(3, untrained=True), POLICY, NOON).request


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
def test_each_failure_doubles_the_wait_of_the_next_run(failures: int, minutes: float, requested: bool) -> None:
    decision = decide_retraining(situation(500, requested=(failed(minutes),) * failures), POLICY, NOON)
    assert decision.request is requested
    assert decision.attempt == (failures if requested else 0)


def test_only_failures_since_the_last_success_count() -> None:
    past = (failed(1), PastRun("5", "incremental", "succeeded", NOON), failed(2), failed(3))
    assert decide_retraining(situation(500, requested=past), POLICY, NOON).attempt == 1


def test_a_permanent_fault_waits_for_other_rows_or_a_day() -> None:
    same, other = failed(60, needs_change=True), failed(60, "2023-12 xyz after training 3", needs_change=True)
    assert not decide_retraining(situation(500, requested=(same,)), POLICY, NOON).request
    assert decide_retraining(situation(500, requested=(other,)), POLICY, NOON).request
    assert decide_retraining(situation(500, requested=(same,)), POLICY, NOON + UNCHANGED_DELAY).request


def test_a_clock_set_back_delays_no_run() -> None:
    assert decide_retraining(situation(500, requested=(failed(-300),)), POLICY, NOON).request


def test_many_months_are_abbreviated() -> None:
    months = {f"2023-{month:02d}": PendingRows(1, NOON) for month in range(1, 13)}
    first_five = ", ".join(f"2023-0{month}: 1" for month in range(1, 6))
    assert described(months) == f"12 new or changed rows are pending ({first_five}, ..., 2023-12: 1, 12 months)"


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
    RetrainSituation,
    pending=st.dictionaries(
        st.sampled_from(["2023-10", "2023-11", "2023-12"]),
        st.builds(
            PendingRows,
            st.integers(1, 10**6),
            st.datetimes(datetime(2023, 12, 1), datetime(2024, 1, 1), timezones=st.just(UTC)),
        ),
    ),
    untrained=st.booleans(),
    data_version=st.just(HERE),
    active=st.just(()),
    requested=RUNS,
)


@given(SITUATIONS)
def test_pending_rows_are_requested_at_last_and_nothing_else(facts: RetrainSituation) -> None:
    something = bool(facts.pending) or facts.untrained
    in_the_end = NOON + timedelta(days=3) + LONGEST_DELAY
    assert decide_retraining(facts, POLICY, in_the_end).request is something
    assert something or not decide_retraining(facts, POLICY, NOON).request


@given(SITUATIONS)
def test_every_decision_has_a_reason(facts: RetrainSituation) -> None:
    assert len(decide_retraining(facts, POLICY, NOON).reason) > 10


def test_an_impossible_update_leads_to_a_full_training() -> None:
    blocked = PastRun("f" * 32, "incremental", "failed", NOON - timedelta(minutes=5), HERE, True, True)
    decision = decide_retraining(situation(200, requested=(blocked,)), POLICY, NOON)
    assert (decision.request, decision.full, decision.attempt) == (True, True, 1)
    assert "incremental ffffffff could not update the models" in decision.reason
    full_too = PastRun("e" * 32, "retrain", "failed", NOON - timedelta(minutes=5), HERE, True)
    assert not decide_retraining(situation(200, requested=(full_too, blocked)), POLICY, NOON).request
    assert not decide_retraining(situation(200, requested=(failed(5),)), POLICY, NOON).full
