"""A failed check on the champion requests one training, and no second one for the same cause."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.automation import failed_checks as module
from cleverbetter_dagster.defs.automation.failed_checks import MONITORED, WATCHED, failed_checks, failed_checks_sensor
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.settings import Settings

DRIFTED, CALIBRATED, AS_GOOD = WATCHED


@dg.asset(name=MONITORED, check_specs=[dg.AssetCheckSpec(check, asset=MONITORED) for check in WATCHED])
def monitoring(context: dg.AssetExecutionContext) -> Any:
    failing = context.run.tags["failing"].split(",")
    if "itself" in failing:
        raise dg.Failure("It ends before its checks are evaluated.")
    yield dg.MaterializeResult()
    for check in WATCHED:
        yield dg.AssetCheckResult(check_name=check, passed=check not in failing)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def champion(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The champion and the newest loaded month, without a database."""
    names = ["ensemble v3"]
    monkeypatch.setattr(module.ledger, "champion", lambda settings: names[-1])
    monkeypatch.setattr(module, "read_load_log", lambda settings: {})
    monkeypatch.setattr(module, "newest_with_rows", lambda months: "2023-06")
    return names


def monitored(instance: dg.DagsterInstance, month: str, *failing: str) -> None:
    """Monitoring of a month, in which some checks fail."""
    tags = {"dagster/partition": month, "failing": ",".join(failing)}
    assert dg.materialize([monitoring], instance=instance, tags=tags).success


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    sensor = failed_checks_sensor(Settings())
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=defs, resources={"deployment": Deployment()}
    )
    return sensor.evaluate_tick(context)


def test_unrun_and_passed_checks_request_nothing(instance: dg.DagsterInstance, champion: list[str]) -> None:
    assert "none of these checks failed" in tick(instance).skip_message
    monitored(instance, "2023-05")
    assert failed_checks(instance) == {}
    assert "none of these checks failed" in tick(instance).skip_message


def test_a_failed_check_of_a_range_names_its_last_month(instance: dg.DagsterInstance) -> None:
    ends = {f"dagster/asset_partition_range_{end}": month for end, month in (("start", "2023-05"), ("end", "2023-06"))}
    assert dg.materialize([monitoring], instance=instance, tags={**ends, "failing": DRIFTED}).success
    assert failed_checks(instance) == {DRIFTED: "2023-06"}


def test_a_failed_check_requests_one_full_training(instance: dg.DagsterInstance, champion: list[str]) -> None:
    monitored(instance, "2023-05", DRIFTED)
    first = tick(instance)
    (request,) = first.run_requests
    assert (request.partition_key, list(request.run_config["ops"])) == ("2023-06", ["temporal_split"])
    assert tick(instance).run_requests[0].run_key == request.run_key  # killed before the cursor was stored
    again = tick(instance, first.cursor)
    assert not again.run_requests
    assert "already requested" in again.skip_message


def test_checks_that_fail_together_request_one_training(instance: dg.DagsterInstance, champion: list[str]) -> None:
    monitored(instance, "2023-05", DRIFTED, AS_GOOD)
    answer = tick(instance)
    assert len(answer.run_requests) == 1
    assert len(json.loads(answer.cursor)) == 2


@pytest.mark.parametrize("change", ["another check", "another month", "another champion"])
def test_another_check_month_or_champion_is_another_cause(
    instance: dg.DagsterInstance, champion: list[str], change: str
) -> None:
    monitored(instance, "2023-05", DRIFTED)
    first = tick(instance)
    if change == "another champion":
        champion.append("ensemble v4")
    else:
        month = "2023-06" if change == "another month" else "2023-05"
        monitored(instance, month, DRIFTED, *([CALIBRATED] if change == "another check" else []))
    assert len(tick(instance, first.cursor).run_requests) == 1


def test_a_check_that_passes_again_is_no_cause(instance: dg.DagsterInstance, champion: list[str]) -> None:
    monitored(instance, "2023-05", DRIFTED)
    monitored(instance, "2023-06")
    assert not tick(instance).run_requests


def test_a_check_not_yet_evaluated_again_is_still_failed(instance: dg.DagsterInstance, champion: list[str]) -> None:
    monitored(instance, "2023-05", DRIFTED)
    tags = {"dagster/partition": "2023-06", "failing": "itself"}
    assert not dg.materialize([monitoring], instance=instance, tags=tags, raise_on_error=False).success
    assert failed_checks(instance) == {DRIFTED: "2023-05"}
