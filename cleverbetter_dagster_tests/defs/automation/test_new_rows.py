"""The sensor `new_rows` on a real PostgreSQL and a real Dagster instance: what it requests, when not, and why."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pandas as pd
import psycopg
import pytest
from dagster import validate_run_config

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.definitions import assets, defs
from cleverbetter_dagster.defs.automation import new_rows
from cleverbetter_dagster.defs.resources import Deployment, mlflow_run
from cleverbetter_dagster.defs.runs import DATA_VERSION, past_runs
from cleverbetter_dagster.errors import DatabaseUnavailable
from cleverbetter_dagster.services.champion.training_plan import TrainingPlan
from cleverbetter_dagster.services.ingest import change_detection, loading
from cleverbetter_dagster.services.ingest.dropped_history import ROWS_ARTEFACT
from cleverbetter_dagster.services.ingest.loading import load_months
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.source.load_log import last_training_snapshot, read_load_log, record_load
from cleverbetter_dagster_tests.defs.automation.ticks import Watched, insert_rows, stored_cursor

SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE


@pytest.fixture
def watched(environment: Settings, connection: psycopg.Connection) -> Iterator[Watched]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watched(environment, instance)


def finish(watched: Watched, request: dg.RunRequest, status: dg.DagsterRunStatus = SUCCESS) -> str:
    """Load the rows as a run of the request does, and record how the run ended."""
    settings, as_of = load_settings(), request.partition_key or ""
    load = load_months(settings, [as_of], catch_up=True)
    for month, loaded in load.months.items():
        ArtefactStore(settings.artefacts_base).write_table(ROWS_ARTEFACT.format(month=month), loaded.table)
    run_id = watched.ran(request, status)
    record_load(settings, load.log, run_id, as_of)
    return run_id


def requested(watched: Watched) -> dg.RunRequest:
    request = watched.tick()
    assert request is not None, watched.why_not
    return request


@pytest.mark.parametrize(
    ("without_parent", "job", "modes"),
    [((), "incremental", ["incremental", "incremental"]), (("classifier",), "retrain", [])],
)
def test_the_request_has_the_champions_dataset_options(
    watched: Watched,
    connection: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    without_parent: tuple[str, ...],
    job: str,
    modes: list[str],
) -> None:
    plan = TrainingPlan(DatasetSpec(min_composite_score=None), "ensemble v3", without_parent)
    monkeypatch.setattr(new_rows, "plan_training", lambda *_: plan)
    insert_rows(connection, "2023-05", 150)
    request = requested(watched)
    ops = request.run_config["ops"]
    assert request.job_name == job
    assert ops["temporal_split"]["config"]["min_composite_score"] is None
    assert [op["config"]["training"] for name, op in ops.items() if name.endswith("_model")] == modes
    validate_run_config(defs.resolve_job_def(job), request.run_config)


def test_without_rows_there_is_nothing_to_do(watched: Watched) -> None:
    assert watched.tick() is None
    assert "Nothing changed" in watched.why_not


def test_old_history_of_many_months_is_one_run(watched: Watched, connection: psycopg.Connection) -> None:
    for month in range(1, 11):
        insert_rows(connection, f"2023-{month:02d}", 12, age=timedelta(days=900))
    request = requested(watched)
    assert request.partition_key == "2023-10"
    finish(watched, request)
    assert len(read_load_log(watched.settings)) == 10
    assert watched.tick() is None
    assert "trained on all rows" in watched.why_not


def test_a_killed_tick_requests_the_same_again(watched: Watched, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 150)
    first = watched.tick(keep_cursor=False)
    again = requested(watched)
    assert first is not None
    assert first.run_key == again.run_key
    insert_rows(connection, "2023-05", 1, "later")
    assert requested(watched).run_key != first.run_key


def test_few_rows_wait_for_more(watched: Watched, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 150)
    finish(watched, requested(watched))
    insert_rows(connection, "2023-06", 60, "a")
    assert watched.tick() is None
    assert "60 new or changed rows are pending (2023-06: 60)" in watched.why_not
    assert "at 100 rows, or at " in watched.why_not
    insert_rows(connection, "2023-05", 40, "b", age=timedelta(days=2))
    request = requested(watched)
    assert request.partition_key == "2023-06"


def test_pending_rows_keep_their_age_across_ticks(
    watched: Watched, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_rows(connection, "2023-05", 150)
    finish(watched, requested(watched))
    insert_rows(connection, "2023-05", 3, "a")
    watched.tick()
    before = stored_cursor(watched)["pending"]["2023-05"]
    insert_rows(connection, "2023-05", 2, "b")
    watched.tick()
    assert stored_cursor(watched)["pending"]["2023-05"] == before | {"rows": 5}
    monkeypatch.setenv("CLEVERBETTER_LONGEST_WAIT_MINUTES", "0")
    assert requested(watched)


@pytest.mark.parametrize("cursor", [None, '{"reconciled_at": null, "state": "no rows", "noted": {}}', "no JSON"])
def test_a_lost_or_outdated_cursor_loses_no_row(
    watched: Watched, connection: psycopg.Connection, cursor: str | None
) -> None:
    insert_rows(connection, "2023-05", 150)
    finish(watched, requested(watched))
    insert_rows(connection, "2023-05", 200, "old", age=timedelta(days=400))
    watched.cursor = cursor
    assert requested(watched).partition_key == "2023-05"


def test_rows_that_arrive_during_a_run_wait_for_the_next(watched: Watched, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 150)
    first = requested(watched)
    run_id = watched.ran(first, dg.DagsterRunStatus.STARTED)
    insert_rows(connection, "2023-05", 150, "meanwhile")
    assert watched.tick() is None
    assert f"retrain {run_id[:8]} is running" in watched.why_not
    watched.instance.delete_run(run_id)
    finish(watched, first)  # it loads all rows that arrived by then
    assert watched.tick() is None
    insert_rows(connection, "2023-05", 150, "afterwards")
    finish(watched, requested(watched))
    assert watched.tick() is None


def test_rows_written_again_unchanged_request_nothing(watched: Watched, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 150)
    finish(watched, requested(watched))
    connection.execute("UPDATE backtest_results SET total_return = total_return")
    assert watched.tick() is None
    assert "contents of all months" in watched.why_not  # it compared all months before it declined
    watched.tick()
    assert "rows of the last 7 days" in watched.why_not  # and need not do so again


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM backtest_results WHERE id LIKE 'r-2023-04-1%'",
        "UPDATE backtest_results SET total_return = 0.9 WHERE id LIKE 'r-2023-04-%'",
        "INSERT INTO ml_features SELECT id, now(), '{\"a\": 1}' FROM backtest_results WHERE id LIKE 'r-2023-04-%'",
    ],
)
def test_changes_of_old_rows_are_found_by_full_comparison(
    watched: Watched, connection: psycopg.Connection, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in ("2023-04", "2023-05"):
        insert_rows(connection, month, 150, age=timedelta(days=100))
    finish(watched, requested(watched))
    connection.execute(change)
    monkeypatch.setenv("CLEVERBETTER_RECONCILE_MINUTES", "0")
    monkeypatch.setenv("CLEVERBETTER_MIN_NEW_ROWS", "1")
    assert requested(watched).partition_key == "2023-05"


def test_rows_of_the_future_are_trained_on_when_due(
    watched: Watched, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEVERBETTER_RECONCILE_MINUTES", "0")
    monkeypatch.setenv("CLEVERBETTER_MIN_NEW_ROWS", "1")
    insert_rows(connection, "2023-05", 150)
    connection.execute("UPDATE backtest_results SET run_date = now() + interval '3 days' WHERE id LIKE '%9'")
    finish(watched, requested(watched))
    assert watched.tick() is None
    in_time = pd.Timestamp.now(tz="UTC") + pd.Timedelta(days=2, hours=1)
    for module in (change_detection, loading):
        monkeypatch.setattr(module, "utc_now", lambda: in_time)
    finish(watched, requested(watched))
    assert watched.tick() is None
    stored = ArtefactStore(watched.settings.artefacts_base).read_tables([ROWS_ARTEFACT.format(month="2023-05")])
    assert stored.num_rows == 150


def test_a_run_that_failed_before_loading_is_repeated(watched: Watched, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 150)
    first = requested(watched)
    run_id = watched.ran(first, FAILURE)
    watched.instance.get_run_record_by_id(run_id)
    again = watched.tick()
    if again is None:
        assert "The last run failed" in watched.why_not
        assert "the next try is at" in watched.why_not
    else:  # a fake run has no end to wait from
        assert again.run_key == first.run_key.replace("attempt 0", "attempt 1")  # type: ignore[union-attr]


def test_rows_a_failed_run_loaded_are_trained_on_next(watched: Watched, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 150)
    finish(watched, requested(watched), FAILURE)
    request = requested(watched)
    assert request.run_key is not None
    assert request.run_key.endswith("attempt 1")
    finish(watched, request)
    assert watched.tick() is None


def test_rows_loaded_by_hand_are_trained_on(watched: Watched, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 150)
    load = load_months(watched.settings, ["2023-05"])
    ArtefactStore(watched.settings.artefacts_base).write_table(
        ROWS_ARTEFACT.format(month="2023-05"), load.months["2023-05"].table
    )
    record_load(watched.settings, load.log, "by hand", None)
    assert last_training_snapshot(watched.settings) is None
    assert requested(watched).partition_key == "2023-05"


def test_months_too_far_back_are_named_and_ignored(
    watched: Watched, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEVERBETTER_MONTHS_BACK", "2")
    for month in ("2023-01", "2023-03", "2023-05"):
        insert_rows(connection, month, 150)
    finish(watched, requested(watched))
    assert list(read_load_log(watched.settings)) == ["2023-03", "2023-04", "2023-05"]
    assert watched.tick() is None
    assert "Ignored months" in watched.why_not
    assert "2023-01" in watched.why_not


def test_a_tick_without_database_fails_and_the_next_works(
    watched: Watched, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_rows(connection, "2023-05", 150)
    url = load_settings().database_url
    assert url is not None
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann@127.0.0.1:1/racing")
    with pytest.raises(DatabaseUnavailable):
        watched.tick()
    monkeypatch.setenv("DATABASE_URL", url.get_secret_value())
    assert requested(watched)


def test_a_clock_set_back_causes_a_full_comparison(watched: Watched, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 150)
    finish(watched, requested(watched))
    watched.cursor = '{"compared_at": "2099-01-01T00:00:00Z", "pending": {}}'
    watched.tick()
    assert "contents of all months" in watched.why_not
    assert not stored_cursor(watched)["compared_at"].startswith("2099")


def test_a_real_run_loads_changed_months_and_fails_permanently(
    watched: Watched, connection: psycopg.Connection
) -> None:
    for month in ("2023-02", "2023-05"):
        insert_rows(connection, month, 150)
    request = requested(watched)
    assert request.job_name == "retrain"  # the first rows: there is no version to update
    job = defs.resolve_job_def("retrain")
    result = job.execute_in_process(
        partition_key=request.partition_key,
        run_config=request.run_config,
        tags=request.tags,
        instance=watched.instance,
        raise_on_error=False,
    )
    assert not result.success  # 300 rows, none of them labelled, train nothing
    log = read_load_log(watched.settings)
    assert {month: loaded.digest.rows for month, loaded in log.items()} == {
        "2023-02": 150,
        "2023-03": 0,
        "2023-04": 0,
        "2023-05": 150,
    }
    stored = watched.instance.get_materialized_partitions(dg.AssetKey("training_rows"))
    assert stored == set(log)
    (past,) = past_runs(watched.instance, {DATA_VERSION: request.tags[DATA_VERSION]})
    assert (past.status, past.needs_change) == ("failed", True)
    assert watched.tick() is not None or "the next try is at" in watched.why_not  # loaded: a new data version


class Unwritable(dg.ConfigurableIOManager):
    """Artefacts on a disk that is full."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise dg.Failure("no space left on device", allow_retries=False)

    def load_input(self, context: dg.InputContext) -> None: ...


def test_rows_that_could_not_be_stored_are_not_recorded(watched: Watched, connection: psycopg.Connection) -> None:
    insert_rows(connection, "2023-05", 5)
    result = dg.materialize(
        assets,
        selection=["training_rows"],
        partition_key="2023-05",
        resources={"io_manager": Unwritable(), "deployment": Deployment(), "mlflow": mlflow_run},
        instance=watched.instance,
        raise_on_error=False,
    )
    assert not result.success
    assert read_load_log(watched.settings) == {}
