"""MLflow shows the champion of the ledger, also after two decided at once and after a crash."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import Decision
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster_tests.store.tracking.test_registry import holders, register, stages


def decision(version: int, as_of: str = "2023-06", family: str = "ensemble") -> Decision:
    return Decision(family, version, f"run-{version}", as_of, "better than all", "test")


def test_simultaneous_promotions_leave_one_champion_in_mlflow(empty_registry: Settings) -> None:
    register(empty_registry, "ensemble", "2023-06")
    register(empty_registry, "classifier", "2023-06")
    asked = [decision(1), decision(1, family="classifier")]
    with ThreadPoolExecutor(2) as pool:
        entries = list(pool.map(lambda it: ledger.promote(empty_registry, Registry(empty_registry), it, None), asked))
    winner = next(entry.model for entry in entries if entry.action == "promoted")
    assert sorted(entry.action for entry in entries) == ["promoted", "refused"]
    assert holders(empty_registry) == [winner]


def test_a_crash_between_ledger_and_mlflow_is_repaired(empty_registry: Settings) -> None:
    registry = Registry(empty_registry)
    register(empty_registry, "ensemble", "2023-05")
    register(empty_registry, "ensemble", "2023-06")
    ledger.promote(empty_registry, registry, decision(1, "2023-05"), None)
    incumbent = ledger.champion_at(empty_registry, "2023-06")

    class Crash:
        def set_champion(self, family: str, version: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.promote(empty_registry, Crash(), decision(2, "2023-06"), incumbent)
    champion = ledger.champion(empty_registry)
    assert champion is not None
    assert champion.version == 2
    assert holders(empty_registry) == [("ensemble", 1)]
    entry = ledger.restore_alias(empty_registry, registry)
    assert entry is not None
    assert entry.version == 2
    assert holders(empty_registry) == [("ensemble", 2)]
    assert stages(empty_registry) == {("ensemble", 1): "Archived", ("ensemble", 2): "Production"}
