"""The alerts sensor tells of what was decided and what failed: once, in the UI, and to a real webhook."""

from collections.abc import Iterator
from contextlib import closing

import dagster as dg
import pytest

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.automation.alerts import alerts
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.services.monitoring.alerts import AlertCursor
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger.table import Action, Decision, ensure_ledger, insert
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.webhook_server import SECRET_PATH, Webhook, webhook_server


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook_server() as served:
        monkeypatch.setenv("CLEVERBETTER_ALERT_WEBHOOK", served.address)
        yield served


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def look(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    result = alerts(context, deployment=Deployment())
    assert isinstance(result, dg.SensorResult)
    return result


def decide(settings: Settings, action: Action, reason: str, version: int = 3) -> None:
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        ensure_ledger(connection)
        insert(connection, action, Decision("ensemble", version, "run", "2023-12", reason, "a test"), None)


def check(instance: dg.DagsterInstance, name: str, *, passed: bool, blocking: bool) -> None:
    evaluation = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("temporal_split"),
        check_name=name,
        passed=passed,
        blocking=blocking,
        description="2023-12: The strongest single feature, ml_leak, has an AUC of 0.99.",
    )
    instance.report_runless_asset_event(evaluation)


def test_the_sensor_runs_unless_it_is_turned_off() -> None:
    assert defs.resolve_sensor_def("alerts").default_status == dg.DefaultSensorStatus.RUNNING


def test_what_was_before_the_first_look_is_not_told(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook
) -> None:
    decide(environment, "promoted", "long ago")
    check(instance, "purge_holds", passed=False, blocking=True)
    first = look(instance, None)
    assert not look(instance, first.cursor).asset_events
    assert hook.bodies == []


def test_decisions_and_failed_guards_are_told_once_in_one_message_and_shown_at_their_asset(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook
) -> None:
    begun = look(instance, None).cursor
    decide(environment, "refused", "not shown to beat logistic")
    decide(environment, "promoted", "beats everything", version=4)
    check(instance, "no_feature_is_too_good_to_be_true", passed=False, blocking=True)
    check(instance, "champion_is_not_stale", passed=False, blocking=False)
    told = look(instance, begun)
    (text,) = hook.texts
    assert text.splitlines() == [
        "Refused ensemble v3 as of 2023-12, by a test. not shown to beat logistic",
        "Promoted ensemble v4 as of 2023-12, by a test. beats everything",
        "Check no_feature_is_too_good_to_be_true of temporal_split failed. "
        "2023-12: The strongest single feature, ml_leak, has an AUC of 0.99.",
        "Check champion_is_not_stale of temporal_split failed. "
        "2023-12: The strongest single feature, ml_leak, has an AUC of 0.99.",
    ]
    shown = [(event.asset_key.to_user_string(), event.partition) for event in told.asset_events]
    assert shown == [("champion", "2023-12")] * 2 + [("temporal_split", None)] * 2
    assert all(event.metadata["text"].value in text for event in told.asset_events)
    assert not look(instance, told.cursor).asset_events
    assert len(hook.bodies) == 1


@pytest.mark.parametrize(
    "name",
    [
        "champion_score_has_not_drifted",
        "champion_is_calibrated",
        "champion_as_good_as_when_promoted",
        "predictions_are_fresh",
        "model_is_not_too_good_to_be_true",
    ],
)
def test_a_champion_that_is_no_longer_what_it_was_is_told_though_nothing_is_blocked(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook, name: str
) -> None:
    begun = look(instance, None).cursor
    check(instance, name, passed=False, blocking=False)
    assert len(look(instance, begun).asset_events) == 1
    assert name in hook.texts[0]


def test_passing_guards_and_failing_warnings_are_not_told(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook
) -> None:
    begun = look(instance, None).cursor
    check(instance, "purge_holds", passed=True, blocking=True)
    check(instance, "features_have_not_drifted", passed=False, blocking=False)
    assert not look(instance, begun).asset_events
    assert hook.bodies == []


def test_what_a_webhook_does_not_take_waits_and_is_shown_only_once(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook
) -> None:
    begun = look(instance, None).cursor
    decide(environment, "promoted", "beats everything")
    hook.answers = [404, 200]
    first = look(instance, begun)
    assert len(first.asset_events) == 1
    waiting = AlertCursor.parse(first.cursor)
    assert waiting is not None
    assert [alert.kind for alert in waiting.waiting] == ["promoted"]
    assert SECRET_PATH not in str(first.cursor)
    again = look(instance, first.cursor)
    assert not again.asset_events
    assert hook.texts[0] == hook.texts[1]
    then = AlertCursor.parse(again.cursor)
    assert then is not None
    assert then.waiting == ()


def test_an_alert_is_given_up_after_a_day(environment: Settings, instance: dg.DagsterInstance, hook: Webhook) -> None:
    begun = look(instance, None).cursor
    decide(environment, "promoted", "beats everything")
    hook.answers = [404]
    cursor = str(look(instance, begun).cursor)
    old = AlertCursor.model_validate_json(cursor)
    aged = old.waiting[0].model_copy(update={"at": old.waiting[0].at.replace(year=2000)})
    hook.bodies.clear()
    look(instance, old.model_copy(update={"waiting": (aged,)}).model_dump_json())
    assert hook.bodies == []


def test_without_a_webhook_alerts_are_shown_all_the_same(environment: Settings, instance: dg.DagsterInstance) -> None:
    begun = look(instance, None).cursor
    decide(environment, "promoted", "beats everything")
    assert len(look(instance, begun).asset_events) == 1
