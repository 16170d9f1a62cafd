"""Scheduled runs: when, at which month, and when there is nothing to do."""

from datetime import UTC, datetime

import dagster as dg
import psycopg
import pytest

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.automation.failed_checks import failed_checks_sensor
from cleverbetter_dagster.defs.automation.new_rows import new_rows_sensor
from cleverbetter_dagster.defs.automation.schedules import just_closed, schedules
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.services.champion.training_plan import TrainingPlan
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.source.load_log import record_load
from cleverbetter_dagster_tests.defs.automation.ticks import FAMILIES, insert_rows

MONDAY = datetime(2023, 6, 5, 5, tzinfo=UTC)


def evaluate(name: str, instant: datetime = MONDAY) -> dg.RunRequest | str | None:
    """A schedule's request at an instant, or why there is none."""
    schedule = by_name(load_settings())[name]
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance, instant, repository_def=defs.get_repository_def(), resources={"deployment": Deployment()}
        )
        data = schedule.evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else data.skip_message


def by_name(settings: Settings) -> dict[str, dg.ScheduleDefinition]:
    return {schedule.name: schedule for schedule in schedules(FAMILIES, settings)}


def test_schedules_have_the_times_and_zone_of_the_settings() -> None:
    named = by_name(Settings(timezone="Australia/Sydney", weekly_update_cron="30 6 * * 2"))
    assert {name: (schedule.cron_schedule, schedule.job_name) for name, schedule in named.items()} == {
        "weekly_update": ("30 6 * * 2", "retrain"),
        "monthly_training": ("0 2 2 * *", "retrain"),
        "daily_predictions": ("0 7 * * *", "predict"),
    }
    assert {schedule.execution_timezone for schedule in named.values()} == {"Australia/Sydney"}
    assert all(schedule.description for schedule in named.values())


@pytest.mark.parametrize(("automation", "running"), [(None, False), (False, False), (True, True)])
def test_automation_runs_only_if_the_settings_turn_it_on(automation: bool | None, running: bool) -> None:
    settings = Settings(automation=automation)
    statuses = {schedule.default_status.value for schedule in schedules(FAMILIES, settings)}
    sensors = (new_rows_sensor(FAMILIES, settings, []), failed_checks_sensor(settings))
    statuses |= {sensor.default_status.value for sensor in sensors}
    assert statuses == {"RUNNING" if running else "STOPPED"}


def test_a_wrong_cron_expression_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_WEEKLY_UPDATE_CRON", "every monday")
    with pytest.raises(SettingsError, match=r"CLEVERBETTER_WEEKLY_UPDATE_CRON.*every monday"):
        load_settings()


def test_a_wrong_time_zone_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_TIMEZONE", "Sydney")
    with pytest.raises(SettingsError, match=r"CLEVERBETTER_TIMEZONE.*Australia/Sydney"):
        load_settings()


@pytest.mark.parametrize(
    ("instant", "zone", "month"),
    [
        ("2023-06-02T02:00:00+00:00", "UTC", "2023-05"),
        ("2023-01-02T02:00:00+00:00", "UTC", "2022-12"),
        ("2023-05-31T20:00:00+00:00", "Australia/Sydney", "2023-05"),
        ("2023-06-01T02:00:00+00:00", "America/New_York", "2023-04"),
    ],
)
def test_the_month_just_closed_follows_the_schedules_calendar(instant: str, zone: str, month: str) -> None:
    assert just_closed(datetime.fromisoformat(instant), zone) == month


def test_the_monthly_training_is_of_the_month_just_closed(environment: Settings) -> None:
    request = evaluate("monthly_training", datetime(2023, 6, 2, 2, tzinfo=UTC))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2023-05"
    assert list(request.run_config["ops"]) == ["temporal_split"]  # the studies have their default number of trials


def test_the_weekly_update_trains_on_few_rows(environment: Settings, connection: psycopg.Connection) -> None:
    assert evaluate("weekly_update") == "There are no rows."
    insert_rows(connection, "2023-05", 3)
    request = evaluate("weekly_update")
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2023-05"
    assert request.asset_selection is None  # no version to update: everything runs, studies too
    assert "ensemble_model" not in request.run_config["ops"]
    load = load_months(environment, ["2023-05"])
    record_load(environment, load.log, "a deleted run", "2023-05")
    # The artefacts were never stored, so the rows must be loaded again.
    assert isinstance(evaluate("weekly_update"), dg.RunRequest)


def test_the_weekly_update_skips_studies_if_all_families_update(
    environment: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = TrainingPlan(DatasetSpec(min_composite_score=None), "ensemble v3", ())
    monkeypatch.setattr("cleverbetter_dagster.defs.automation.schedules.plan_training", lambda *_: plan)
    insert_rows(connection, "2023-05", 3)
    request = evaluate("weekly_update")
    assert isinstance(request, dg.RunRequest) and request.asset_selection
    selected = {key.to_user_string() for key in request.asset_selection}
    assert {"training_rows", "ensemble_model", "champion"} <= selected
    assert not {name for name in selected if name.endswith("_study")}
    assert request.run_config["ops"]["ensemble_model"] == {"config": {"training": "incremental"}}
    assert request.run_config["ops"]["temporal_split"]["config"]["min_composite_score"] is None


def test_daily_predictions_are_of_the_newest_loaded_month(
    environment: Settings, connection: psycopg.Connection
) -> None:
    assert evaluate("daily_predictions") == "No rows are loaded yet."
    for month in ("2023-04", "2023-05"):
        insert_rows(connection, month, 3)
    load = load_months(environment, ["2023-04"])
    record_load(environment, load.log, "by hand", None)
    request = evaluate("daily_predictions")
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2023-04"
