"""The heartbeat comes every so many hours as long as all is well, and only then."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pandas as pd
import pytest
from dagster._core.test_utils import create_run_for_test

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.automation.heartbeat import heartbeat_sensor
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.services.monitoring.heartbeat import HeartbeatCursor
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster_tests.defs.automation.test_alerts import check, decide
from cleverbetter_dagster_tests.support.webhook_server import SECRET_PATH, Webhook, webhook_server


@pytest.fixture
def hook(environment: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A channel of a deployment with a champion and its stakes, which asks for a heartbeat each 6 hours."""
    monkeypatch.setattr("cleverbetter_dagster.services.monitoring.heartbeat.read_predictions", lambda _: STAKES)
    monkeypatch.setattr("cleverbetter_dagster.services.champion.renewal.read_predictions", lambda _: STAKES)
    decide(environment, "promoted", "beats everything")
    with webhook_server() as served:
        monkeypatch.setenv("CLEVERBETTER_ALERT_URLS", served.apprise_url)
        monkeypatch.setenv("CLEVERBETTER_HEARTBEAT_HOURS", "6")
        yield served


STAKES = pd.DataFrame({"as_of": ["2023-12", "2023-12"], "recommended_stake": [0.02, 0.0]})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[str, str | None]:
    """Why no run is requested, and the cursor afterwards."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    result = heartbeat_sensor(load_settings())(context, deployment=Deployment())
    assert isinstance(result, dg.SensorResult)
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message), result.cursor or cursor


def test_the_sensor_is_off_unless_its_setting_is_set(environment: Settings, instance: dg.DagsterInstance) -> None:
    assert defs.resolve_sensor_def("heartbeat").default_status == dg.DefaultSensorStatus.STOPPED
    on = environment.model_copy(update={"heartbeat_hours": 6})
    assert heartbeat_sensor(on).default_status == dg.DefaultSensorStatus.RUNNING
    assert "set CLEVERBETTER_HEARTBEAT_HOURS" in tick(instance)[0]


def test_a_heartbeat_comes_at_once_and_then_each_interval(instance: dg.DagsterInstance, hook: Webhook) -> None:
    _, cursor = tick(instance)
    (text,) = hook.messages
    assert text.startswith("All is well at 20")
    assert "ensemble v3 scored 2 strategies as of 2023-12, 1 with a stake." in text
    assert "every channel took a heartbeat" in tick(instance, cursor)[0].lower()
    taken = HeartbeatCursor.parse(cursor).taken
    earlier = {name: datetime.now(UTC) - timedelta(hours=6, minutes=1) for name in taken}
    tick(instance, HeartbeatCursor(taken=earlier).model_dump_json())
    assert len(hook.bodies) == 2
    assert SECRET_PATH.rpartition("/")[2] not in str(cursor)


def test_a_channel_that_failed_is_due_at_once(
    instance: dg.DagsterInstance, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook_server() as other:
        monkeypatch.setenv("CLEVERBETTER_ALERT_URLS", f"{hook.apprise_url} {other.apprise_url}")
        other.answers = [503, 200]
        _, cursor = tick(instance)
        _, cursor = tick(instance, cursor)
        assert (len(hook.bodies), len(other.bodies)) == (1, 2)
        tick(instance, cursor)
        assert (len(hook.bodies), len(other.bodies)) == (1, 2)


def test_a_failed_check_of_the_champion_silences_it(instance: dg.DagsterInstance, hook: Webhook) -> None:
    check(instance, "champion_is_not_stale", passed=False, blocking=False, asset="champion")
    assert "the check champion_is_not_stale failed" in tick(instance)[0]
    assert hook.bodies == []
    check(instance, "champion_is_not_stale", passed=True, blocking=False, asset="champion")
    tick(instance)
    assert len(hook.bodies) == 1


def test_a_failed_run_silences_it_until_its_job_succeeds(instance: dg.DagsterInstance, hook: Webhook) -> None:
    create_run_for_test(instance, job_name="retrain", status=dg.DagsterRunStatus.FAILURE)
    assert "of retrain failed" in tick(instance)[0]
    create_run_for_test(instance, job_name="predict", status=dg.DagsterRunStatus.SUCCESS)
    assert "of retrain failed" in tick(instance)[0]
    assert hook.bodies == []
    create_run_for_test(instance, job_name="retrain", status=dg.DagsterRunStatus.SUCCESS)
    tick(instance)
    assert "3 runs ended in the last 6 h" in hook.messages[0]


def test_without_stakes_there_is_no_heartbeat(
    instance: dg.DagsterInstance, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cleverbetter_dagster.services.monitoring.heartbeat.read_predictions", lambda _: STAKES[:0])
    monkeypatch.setattr("cleverbetter_dagster.services.champion.renewal.read_predictions", lambda _: STAKES[:0])
    reason, _ = tick(instance)
    assert "Not all is well" in reason and "predict --renew" in reason
    assert hook.bodies == []
