"""The alerts sensor reports decisions and failures once: in the UI, and to a real webhook."""

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
from cleverbetter_dagster_tests.support.webhook_server import SECRET_PATH, Webhook, webhook_server


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook_server() as served:
        monkeypatch.setenv("CLEVERBETTER_ALERT_WEBHOOK", served.address)
        yield served


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def evaluate(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    result = alerts(context, deployment=Deployment())
    assert isinstance(result, dg.SensorResult)
    return result


def decide(settings: Settings, action: Action, reason: str, version: int = 3) -> None:
    with closing(psycopg_connect(settings, "state", autocommit=True)) as connection:
        ensure_ledger(connection)
        insert(connection, action, Decision("ensemble", version, "run", "2023-12", reason, "a test"), None)


def check(
    instance: dg.DagsterInstance, name: str, *, passed: bool, blocking: bool, asset: str = "temporal_split"
) -> None:
    evaluation = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=name,
        passed=passed,
        blocking=blocking,
        description="2023-12: The strongest single feature, ml_leak, has an AUC of 0.99.",
    )
    instance.report_runless_asset_event(evaluation)


def test_the_sensor_is_on_by_default() -> None:
    assert defs.resolve_sensor_def("alerts").default_status == dg.DefaultSensorStatus.RUNNING


def test_events_before_the_first_tick_are_not_reported(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook
) -> None:
    decide(environment, "promoted", "long ago")
    check(instance, "purge_holds", passed=False, blocking=True)
    first = evaluate(instance, None)
    assert not evaluate(instance, first.cursor).asset_events
    assert hook.bodies == []


def test_decisions_and_failed_guards_are_reported_once_in_one_message(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook
) -> None:
    cursor_before = evaluate(instance, None).cursor
    decide(environment, "refused", "not shown to beat logistic")
    decide(environment, "promoted", "beats everything", version=4)
    check(instance, "no_feature_is_too_good_to_be_true", passed=False, blocking=True)
    check(instance, "champion_is_not_stale", passed=False, blocking=False)
    reported = evaluate(instance, cursor_before)
    (text,) = hook.texts
    assert text.splitlines() == [
        "Refused ensemble v3 as of 2023-12, by a test. not shown to beat logistic",
        "Promoted ensemble v4 as of 2023-12, by a test. beats everything",
        "Check no_feature_is_too_good_to_be_true of temporal_split failed. "
        "2023-12: The strongest single feature, ml_leak, has an AUC of 0.99.",
        "Check champion_is_not_stale of temporal_split failed. "
        "2023-12: The strongest single feature, ml_leak, has an AUC of 0.99.",
    ]
    shown = [(event.asset_key.to_user_string(), event.partition) for event in reported.asset_events]
    assert shown == [("champion", "2023-12")] * 2 + [("temporal_split", None)] * 2
    assert all(event.metadata["text"].value in text for event in reported.asset_events)
    assert not evaluate(instance, reported.cursor).asset_events
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
def test_a_champion_that_got_worse_is_reported(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook, name: str
) -> None:
    cursor_before = evaluate(instance, None).cursor
    check(instance, name, passed=False, blocking=False)
    assert len(evaluate(instance, cursor_before).asset_events) == 1
    assert name in hook.texts[0]


def test_passing_guards_and_failing_warnings_are_not_reported(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook
) -> None:
    cursor_before = evaluate(instance, None).cursor
    check(instance, "purge_holds", passed=True, blocking=True)
    check(instance, "features_have_not_drifted", passed=False, blocking=False)
    assert not evaluate(instance, cursor_before).asset_events
    assert hook.bodies == []


def test_an_alert_the_webhook_rejects_waits_for_it(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook
) -> None:
    cursor_before = evaluate(instance, None).cursor
    decide(environment, "promoted", "beats everything")
    hook.answers = [404, 200]
    first = evaluate(instance, cursor_before)
    assert len(first.asset_events) == 1
    waiting = AlertCursor.parse(first.cursor)
    assert waiting is not None
    assert [alert.kind for alert in waiting.waiting["webhook"]] == ["promoted"]
    assert SECRET_PATH not in str(first.cursor)
    again = evaluate(instance, first.cursor)
    assert not again.asset_events
    assert hook.texts[0] == hook.texts[1]
    later = AlertCursor.parse(again.cursor)
    assert later is not None
    assert later.waiting == {}


def test_each_url_of_apprise_keeps_what_waits_for_it(
    environment: Settings, instance: dg.DagsterInstance, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook_server() as first, webhook_server() as second:
        monkeypatch.setenv("CLEVERBETTER_ALERT_URLS", f"{first.apprise_url} {second.apprise_url}")
        cursor_before = evaluate(instance, None).cursor
        decide(environment, "promoted", "beats everything")
        second.answers = [404, 200]
        failed = evaluate(instance, cursor_before)
        waiting = AlertCursor.parse(failed.cursor)
        assert waiting is not None and [len(alerts) for alerts in waiting.waiting.values()] == [1]
        assert SECRET_PATH not in str(failed.cursor)
        evaluate(instance, failed.cursor)
        assert [len(one.bodies) for one in (hook, first, second)] == [1, 1, 2]
        assert second.messages[0] == second.messages[1] == first.messages[0] == hook.texts[0]


def test_an_alert_expires_after_a_day(environment: Settings, instance: dg.DagsterInstance, hook: Webhook) -> None:
    cursor_before = evaluate(instance, None).cursor
    decide(environment, "promoted", "beats everything")
    hook.answers = [404]
    cursor = str(evaluate(instance, cursor_before).cursor)
    old = AlertCursor.model_validate_json(cursor)
    (alert,) = old.waiting["webhook"]
    aged = alert.model_copy(update={"at": alert.at.replace(year=2000)})
    hook.bodies.clear()
    evaluate(instance, old.model_copy(update={"waiting": {"webhook": (aged,)}}).model_dump_json())
    assert hook.bodies == []


def test_without_a_webhook_alerts_are_shown_in_the_ui(environment: Settings, instance: dg.DagsterInstance) -> None:
    cursor_before = evaluate(instance, None).cursor
    decide(environment, "promoted", "beats everything")
    assert len(evaluate(instance, cursor_before).asset_events) == 1
