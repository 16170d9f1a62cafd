"""The ledger says who is champion, at every month, whatever order decisions came in, and MLflow follows it."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cleverbetter_dagster.errors import DataError, RegistryError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import Decision
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.summary import ChampionSummary


class Mirror:
    """Remembers whom it was told to show, and finds out if it is told by two at once."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, int]] = []
        self._busy = threading.Lock()

    def set_champion(self, family: str, version: int) -> None:
        assert self._busy.acquire(blocking=False), "two decisions at once"
        time.sleep(0.01)
        self.shown.append((family, version))
        self._busy.release()


@pytest.fixture
def mirror() -> Mirror:
    return Mirror()


def decision(version: int, as_of: str = "2023-06", family: str = "ensemble") -> Decision:
    return Decision(family, version, f"run-{version}", as_of, "better than all", "test", {"auc": 0.74, "low": None})


def promote(state: Settings, mirror: Mirror, version: int, as_of: str = "2023-06") -> ledger.LedgerEntry:
    return ledger.promote(state, mirror, decision(version, as_of), ledger.champion_at(state, as_of))


def standing(state: Settings, as_of: str | None = None) -> int | None:
    entry = ledger.champion_at(state, as_of) if as_of else ledger.champion(state)
    return entry.version if entry else None


def champion_line(entry: ledger.LedgerEntry) -> str:
    """As `cleverbetter status` shows it."""
    return str(ChampionSummary(*entry.model, entry.as_of, entry.action, entry.decided_at))


def test_before_the_first_decision_there_is_no_champion(empty_registry: Settings) -> None:
    assert ledger.champion(empty_registry) is None
    assert ledger.champion_at(empty_registry, "2023-06") is None
    assert ledger.predecessor(empty_registry) is None
    assert ledger.history(empty_registry) == []
    with psycopg_connect(empty_registry, "state") as connection:
        assert connection.execute("SELECT to_regclass('promotions')").fetchone() == (None,)


def test_a_promotion_is_recorded_with_everything_it_rests_on(empty_registry: Settings, mirror: Mirror) -> None:
    asked = replace(decision(3), dagster_run_id="d-1")
    entry = ledger.promote(empty_registry, mirror, asked, None)
    assert (entry.action, entry.previous, entry.run_id, entry.dagster_run_id) == ("promoted", None, "run-3", "d-1")
    assert (entry.reason, entry.actor, entry.evidence) == ("better than all", "test", {"auc": 0.74, "low": None})
    assert ledger.champion(empty_registry) == entry
    assert ledger.history(empty_registry) == [entry]
    assert mirror.shown == [("ensemble", 3)]
    second = promote(empty_registry, mirror, 4, "2023-07")
    assert second.previous == ("ensemble", 3)
    assert [row.version for row in ledger.history(empty_registry)] == [4, 3]


def test_the_status_line_names_model_month_and_time(empty_registry: Settings, mirror: Mirror) -> None:
    entry = promote(empty_registry, mirror, 3, "2023-12")
    line = champion_line(entry)
    assert line == f"ensemble v3 (as of 2023-12), promoted {entry.decided_at:%Y-%m-%d %H:%M} UTC"


def test_the_status_line_needs_no_mlflow(empty_registry: Settings) -> None:
    rooms = "cleverbetter_dagster.store.ledger.ledger, cleverbetter_dagster.store.tracking.registry"
    code = f"import sys, {rooms}; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_each_month_has_the_champion_of_its_own_time(empty_registry: Settings, mirror: Mirror) -> None:
    promote(empty_registry, mirror, 1, "2023-03")
    promote(empty_registry, mirror, 2, "2023-06")
    champions = {
        as_of: standing(empty_registry, as_of) for as_of in ("2023-02", "2023-03", "2023-05", "2023-06", "2024-01")
    }
    assert champions == {"2023-02": None, "2023-03": 1, "2023-05": 1, "2023-06": 2, "2024-01": 2}


def test_a_month_backfilled_late_gets_its_champion_and_unseats_nobody(empty_registry: Settings, mirror: Mirror) -> None:
    promote(empty_registry, mirror, 1, "2023-12")
    late = promote(empty_registry, mirror, 2, "2023-06")
    assert (late.action, late.previous) == ("promoted", None)
    assert standing(empty_registry) == 1
    assert standing(empty_registry, "2023-09") == 2
    assert mirror.shown == [("ensemble", 1), ("ensemble", 1)]


def test_a_new_model_of_the_same_month_replaces_the_former(empty_registry: Settings, mirror: Mirror) -> None:
    promote(empty_registry, mirror, 1)
    assert promote(empty_registry, mirror, 2).previous == ("ensemble", 1)
    assert standing(empty_registry, "2023-06") == 2


def test_promoting_the_champion_again_adds_no_row_but_mirrors_it(empty_registry: Settings, mirror: Mirror) -> None:
    first = promote(empty_registry, mirror, 1)
    again = ledger.promote(empty_registry, mirror, replace(decision(1), dagster_run_id="d-2"), None)
    assert again == first
    assert len(ledger.history(empty_registry)) == 1
    assert mirror.shown == [("ensemble", 1), ("ensemble", 1)]


def test_a_model_judged_against_a_champion_of_yesterday_is_refused(empty_registry: Settings, mirror: Mirror) -> None:
    seen = promote(empty_registry, mirror, 1)
    promote(empty_registry, mirror, 2)
    refused = ledger.promote(empty_registry, mirror, decision(3), seen)
    assert (refused.action, refused.previous) == ("refused", ("ensemble", 2))
    assert refused.reason.startswith("judged against ensemble v1, but ensemble v2 is champion at 2023-06 by now")
    assert standing(empty_registry) == 2
    assert mirror.shown[-1] == ("ensemble", 2)


def test_refusals_are_recorded_once_until_something_changes(empty_registry: Settings, mirror: Mirror) -> None:
    first = ledger.refuse(empty_registry, replace(decision(1), reason="no better than persistence"))
    assert ledger.refuse(empty_registry, replace(decision(1), reason="no better than persistence")) == first
    ledger.refuse(empty_registry, replace(decision(1), reason="worse than persistence"))
    promote(empty_registry, mirror, 2)
    ledger.refuse(empty_registry, replace(decision(1), reason="worse than persistence"))
    entries = [(row.action, row.version, row.previous) for row in reversed(ledger.history(empty_registry))]
    assert entries == [
        ("refused", 1, None),
        ("refused", 1, None),
        ("promoted", 2, None),
        ("refused", 1, ("ensemble", 2)),
    ]
    assert standing(empty_registry) == 2


def test_a_rollback_withdraws_the_champion_and_returns_to_its_predecessor(
    empty_registry: Settings, mirror: Mirror
) -> None:
    promote(empty_registry, mirror, 1, "2023-04")
    promote(empty_registry, mirror, 2, "2023-05")
    promote(empty_registry, mirror, 3, "2023-06")
    before = ledger.predecessor(empty_registry)
    assert before is not None
    assert before.model == ("ensemble", 2)
    entry = ledger.roll_back(empty_registry, mirror, decision(2, "2023-05"))
    assert (entry.action, entry.model, entry.previous) == ("rolled_back", ("ensemble", 2), ("ensemble", 3))
    assert standing(empty_registry) == standing(empty_registry, "2023-06") == standing(empty_registry, "2024-01") == 2
    assert standing(empty_registry, "2023-04") == 1
    assert mirror.shown[-1] == ("ensemble", 2)
    assert champion_line(entry).startswith("ensemble v2 (as of 2023-05), returned to ")
    further = ledger.predecessor(empty_registry)
    assert further is not None
    assert further.model == ("ensemble", 1)


def test_a_rollback_within_a_month_returns_to_the_former_model(empty_registry: Settings, mirror: Mirror) -> None:
    promote(empty_registry, mirror, 1)
    promote(empty_registry, mirror, 2)
    ledger.roll_back(empty_registry, mirror, decision(1))
    assert standing(empty_registry, "2023-06") == 1


def test_after_a_rollback_the_next_month_may_promote_again(empty_registry: Settings, mirror: Mirror) -> None:
    promote(empty_registry, mirror, 1, "2023-05")
    promote(empty_registry, mirror, 2, "2023-06")
    ledger.roll_back(empty_registry, mirror, decision(1, "2023-05"))
    assert promote(empty_registry, mirror, 3, "2023-07").previous == ("ensemble", 1)
    assert standing(empty_registry) == 3
    assert standing(empty_registry, "2023-06") == 1


@pytest.mark.parametrize("earlier", ["2023-05", "2023-06"])
def test_a_model_rolled_back_from_returns_only_by_hand(empty_registry: Settings, mirror: Mirror, earlier: str) -> None:
    promote(empty_registry, mirror, 1, earlier)
    promote(empty_registry, mirror, 2, "2023-06")
    ledger.roll_back(empty_registry, mirror, decision(1, earlier))
    refused = promote(empty_registry, mirror, 2, "2023-06")
    assert refused.action == "refused"
    assert "withdrew" in refused.reason
    assert standing(empty_registry) == 1
    judged_against = ledger.champion_at(empty_registry, "2023-06")
    reinstated = ledger.promote(empty_registry, mirror, decision(2), judged_against, reinstate=True)
    assert reinstated.action == "promoted"
    assert standing(empty_registry) == 2


def test_a_rollback_that_makes_no_sense_is_refused(empty_registry: Settings, mirror: Mirror) -> None:
    with pytest.raises(RegistryError, match="the champion is none"):
        ledger.roll_back(empty_registry, mirror, decision(1))
    promote(empty_registry, mirror, 1)
    with pytest.raises(RegistryError, match="the champion is ensemble v1"):
        ledger.roll_back(empty_registry, mirror, decision(1))
    with pytest.raises(RegistryError, match="Promote it instead"):
        ledger.roll_back(empty_registry, mirror, decision(2, "2023-07"))
    assert len(ledger.history(empty_registry)) == 1


def test_of_many_simultaneous_promotions_exactly_one_is_made(empty_registry: Settings, mirror: Mirror) -> None:
    with ThreadPoolExecutor(6) as pool:
        entries = list(pool.map(lambda v: ledger.promote(empty_registry, mirror, decision(v), None), range(1, 7)))
    winners = [entry.version for entry in entries if entry.action == "promoted"]
    assert len(winners) == 1
    assert standing(empty_registry) == winners[0]
    assert mirror.shown == [("ensemble", winners[0])]
    assert sorted(entry.action for entry in ledger.history(empty_registry)) == ["promoted"] + ["refused"] * 5


def test_an_empty_ledger_leaves_a_foreign_alias_alone(empty_registry: Settings, mirror: Mirror) -> None:
    assert ledger.restore_alias(empty_registry, mirror) is None
    assert mirror.shown == []


@pytest.mark.parametrize(
    "statement", ["UPDATE promotions SET reason = 'x'", "DELETE FROM promotions", "TRUNCATE promotions"]
)
def test_rows_are_never_changed(empty_registry: Settings, mirror: Mirror, statement: str) -> None:
    promote(empty_registry, mirror, 1)
    with psycopg_connect(empty_registry, "state") as connection, pytest.raises(psycopg.Error, match="never changed"):
        connection.execute(statement)
    assert standing(empty_registry) == 1


def test_evidence_json_cannot_hold_is_refused_before_anything_is_written(
    empty_registry: Settings, mirror: Mirror
) -> None:
    with pytest.raises(DataError, match="is no JSON"):
        ledger.promote(empty_registry, mirror, replace(decision(1), evidence={"auc": object()}), None)
    assert ledger.history(empty_registry) == []
    assert mirror.shown == []


def test_unknown_numbers_in_the_evidence_are_kept_as_null(empty_registry: Settings) -> None:
    entry = ledger.refuse(empty_registry, replace(decision(1), evidence={"auc": float("nan"), "low": [float("inf")]}))
    assert entry.evidence == {"auc": None, "low": [None]}


def test_many_may_make_the_table_at_once(empty_registry: Settings, mirror: Mirror) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda v: ledger.refuse(empty_registry, decision(v)), range(6)))
    assert len(ledger.history(empty_registry)) == 6


MONTHS = ("2023-01", "2023-02", "2023-03")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=8))
def test_views_agree_with_the_law_told_step_by_step(empty_registry: Settings, steps: list[tuple[bool, int]]) -> None:
    """Keep a list of who stands; a promotion adds, a rollback strikes out what is later and what it withdraws."""
    with psycopg_connect(empty_registry, "state", autocommit=True) as connection:
        connection.execute("DROP SCHEMA cleverbetter CASCADE; CREATE SCHEMA cleverbetter")
    stands: list[tuple[str, int, int]] = []  # as_of, order, version
    for order, (rolls_back, month) in enumerate(steps):
        as_of, version = MONTHS[month], order + 1
        if rolls_back and stands and as_of <= max(stands)[0]:
            withdrawn = max(stands)[2]
            ledger.roll_back(empty_registry, Mirror(), decision(version, as_of))
            stands = [entry for entry in stands if entry[0] <= as_of and (entry[0] < as_of or entry[2] != withdrawn)]
        else:
            promote(empty_registry, Mirror(), version, as_of)
        stands.append((as_of, order, version))
    for as_of in MONTHS:
        expected = max((entry for entry in stands if entry[0] <= as_of), default=(None, None, None))[2]
        assert standing(empty_registry, as_of) == expected
