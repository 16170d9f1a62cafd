"""What runs by the calendar: when, at which month, and when there is nothing to do."""

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
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.services.ingest.training_plan import TrainingPlan
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.source.load_log import record_taken
from cleverbetter_dagster_tests.defs.automation.ticks import FAMILIES, land

MONDAY = datetime(2023, 6, 5, 5, tzinfo=UTC)


def evaluate(name: str, moment: datetime = MONDAY) -> dg.RunRequest | str | None:
    """What a schedule says at a moment: its request, or why there is none."""
    (schedule,) = [found for found in schedules(FAMILIES, load_settings()) if found.name == name]
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance, moment, repository_def=defs.get_repository_def(), resources={"deployment": Deployment()}
        )
        data = schedule.evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else data.skip_message


def by_name(settings: Settings) -> dict[str, dg.ScheduleDefinition]:
    return {schedule.name: schedule for schedule in schedules(FAMILIES, settings)}


def test_schedules_are_described_in_the_zone_and_at_the_times_of_the_settings() -> None:
    found = by_name(Settings(timezone="Australia/Sydney", weekly_update_cron="30 6 * * 2"))
    assert {name: (found[name].cron_schedule, found[name].job_name) for name in found} == {
        "weekly_update": ("30 6 * * 2", "retrain"),
        "monthly_training": ("0 2 2 * *", "retrain"),
        "daily_predictions": ("0 7 * * *", "predict"),
    }
    assert {schedule.execution_timezone for schedule in found.values()} == {"Australia/Sydney"}
    assert all(schedule.description for schedule in found.values())


@pytest.mark.parametrize(("automation", "running"), [(None, False), (False, False), (True, True)])
def test_nothing_runs_by_itself_unless_the_settings_say_so(automation: bool | None, running: bool) -> None:
    settings = Settings(automation=automation)
    statuses = {schedule.default_status.value for schedule in schedules(FAMILIES, settings)}
    sensors = (new_rows_sensor(FAMILIES, settings, []), failed_checks_sensor(settings))
    statuses |= {sensor.default_status.value for sensor in sensors}
    assert statuses == {"RUNNING" if running else "STOPPED"}


def test_a_cron_expression_that_is_none_is_named_with_its_variable() -> None:
    with pytest.raises(SettingsError, match=r"CLEVERBETTER_WEEKLY_UPDATE_CRON is 'every monday'"):
        schedules(FAMILIES, Settings(weekly_update_cron="every monday"))


def test_a_zone_that_is_none_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_TIMEZONE", "Sydney")
    with pytest.raises(SettingsError, match=r"CLEVERBETTER_TIMEZONE.*Australia/Sydney"):
        load_settings()


@pytest.mark.parametrize(
    ("moment", "zone", "month"),
    [
        ("2023-06-02T02:00:00+00:00", "UTC", "2023-05"),
        ("2023-01-02T02:00:00+00:00", "UTC", "2022-12"),
        ("2023-05-31T20:00:00+00:00", "Australia/Sydney", "2023-05"),
        ("2023-06-01T02:00:00+00:00", "America/New_York", "2023-04"),
    ],
)
def test_the_month_just_closed_is_that_of_the_schedules_own_calendar(moment: str, zone: str, month: str) -> None:
    assert just_closed(datetime.fromisoformat(moment), zone) == month


def test_the_monthly_training_is_of_the_month_just_closed(environment: Settings) -> None:
    request = evaluate("monthly_training", datetime(2023, 6, 2, 2, tzinfo=UTC))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2023-05"
    assert list(request.run_config["ops"]) == ["temporal_split"]  # studies of as many trials as they have by default


def test_the_weekly_update_takes_few_rows_and_rests_where_nothing_changed(
    environment: Settings, connection: psycopg.Connection
) -> None:
    assert evaluate("weekly_update") == "There are no rows."
    land(connection, "2023-05", 3)
    request = evaluate("weekly_update")
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2023-05"
    assert request.asset_selection is None  # nothing to go on from: all of it, studies too
    assert "ensemble_model" not in request.run_config["ops"]
    load = load_months(environment, ["2023-05"])
    record_taken(environment, load.taken, "a run that is no longer on record", "2023-05")
    # The artefacts were never stored, so they have to be.
    assert isinstance(evaluate("weekly_update"), dg.RunRequest)


def test_the_weekly_update_leaves_the_studies_out_where_every_family_can_go_on(
    environment: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = TrainingPlan(DatasetSpec(min_composite_score=None), "ensemble v3", ())
    monkeypatch.setattr("cleverbetter_dagster.defs.automation.schedules.plan_training", lambda *_: plan)
    land(connection, "2023-05", 3)
    request = evaluate("weekly_update")
    assert isinstance(request, dg.RunRequest) and request.asset_selection
    selected = {key.to_user_string() for key in request.asset_selection}
    assert {"training_rows", "ensemble_model", "champion"} <= selected
    assert not {name for name in selected if name.endswith("_study")}
    assert request.run_config["ops"]["ensemble_model"] == {"config": {"training": "incremental"}}
    assert request.run_config["ops"]["temporal_split"]["config"]["min_composite_score"] is None


def test_daily_predictions_are_of_the_newest_month_that_is_loaded(
    environment: Settings, connection: psycopg.Connection
) -> None:
    assert evaluate("daily_predictions") == "No rows are loaded yet."
    for month in ("2023-04", "2023-05"):
        land(connection, month, 3)
    load = load_months(environment, ["2023-04"])
    record_taken(environment, load.taken, "by hand", None)
    request = evaluate("daily_predictions")
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2023-04"
