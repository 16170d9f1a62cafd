"""Runs that really fail: champion, predictions and rows stay unchanged, and a new run starts when it can help."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.automation import new_rows
from cleverbetter_dagster.defs.jobs import INCREMENTAL, PREDICT, RETRAIN
from cleverbetter_dagster.defs.runs import DATA_VERSION, past_runs
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.services.champion.manual_promotion import promote_by_hand
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import LedgerEntry
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.tracking.client import experiment_id, mlflow_client
from cleverbetter_dagster.store.tracking.files import files_below
from cleverbetter_dagster.store.tracking.places import artefact_folder
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster_tests.defs.automation.ticks import Watched
from cleverbetter_dagster_tests.defs.test_pipeline import NO_FILTER, ONE_FOLD, ops

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SIMULATION = SimulationSpec(n_strategies=150, first_month="2021-01", months=30)
NEW_FROM = pd.Timestamp("2023-05-01", tz="UTC")
"""Rows whose window ends from here on arrive later."""


class Team:
    """A deployment with a champion and the sensor, whose runs really run; its clock can be put forward."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, patch: pytest.MonkeyPatch) -> None:
        self.settings = settings
        self.watched = Watched(settings, instance, families=list(FAMILIES))
        self._patch = patch

    def run(self, job: str, partition: str, config: dict[str, Any], tags: dict[str, str] | None = None) -> Any:
        return defs.resolve_job_def(job).execute_in_process(
            partition_key=partition,
            run_config=config,
            tags=tags or {},
            instance=self.watched.instance,
            raise_on_error=False,
        )

    def follow(self, request: dg.RunRequest) -> Any:
        """Run what the sensor requested, its studies and agents shortened."""
        assert request.partition_key is not None
        quick = ops(ONE_FOLD if request.job_name == RETRAIN else {})
        config = {"ops": {**request.run_config.get("ops", {}), **quick["ops"]}}
        return self.run(str(request.job_name), request.partition_key, config, dict(request.tags))

    def tick(self, later: timedelta = timedelta(0)) -> dg.RunRequest | None:
        class Clock:
            now = staticmethod(lambda zone: datetime.now(zone) + later)

        with self._patch.context() as patch:
            patch.setattr(new_rows, "datetime", Clock)
            return self.watched.tick()

    def state(self) -> tuple[LedgerEntry | None, pd.DataFrame, dict[str, int]]:
        """Champion, predictions, and how many versions each family has."""
        versions = Registry(self.settings).list_versions()
        counted = {family: sum(version.family == family for version in versions) for family in FAMILIES}
        return ledger.champion(self.settings), read_predictions(self.settings), counted

    def runs_of_mlflow(self, dagster_run: str) -> list[tuple[str, str]]:
        """Family and status of the MLflow runs of a Dagster run."""
        runs = mlflow_client(self.settings).search_runs(
            [experiment_id(self.settings)], f"tags.`dagster.run_id` = '{dagster_run}'"
        )
        return sorted((run.data.tags["family"], run.info.status) for run in runs)


@pytest.fixture
def team(environment: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Team]:
    monkeypatch.setenv("CLEVERBETTER_RECONCILE_MINUTES", "0")  # the sample's rows have a created_at of years ago
    monkeypatch.setenv("CLEVERBETTER_FIRST_MONTH", "2021-01")
    results, features = simulate_rows(SIMULATION)
    early = results["end_date"] < NEW_FROM
    results[early].to_parquet(tmp_path / "early.parquet")
    results[~early].to_parquet(tmp_path / "late.parquet")
    features.to_parquet(tmp_path / "features.parquet")
    settings = load_settings()
    import_files(settings, tmp_path / "early.parquet", tmp_path / "features.parquet")
    with dg.DagsterInstance.ephemeral() as instance:
        team = Team(settings, instance, monkeypatch)
        first = team.tick()
        assert first is not None
        first = first._replace(run_config=ops(NO_FILTER))
        assert team.follow(first).success
        promote_by_hand(settings, ("ensemble", 1), "to have one", "a test", override=True)
        assert team.run(PREDICT, str(first.partition_key), {}).success
        assert team.tick() is None
        import_files(settings, tmp_path / "late.parquet", None)
        yield team


def test_a_failed_run_changes_nothing_and_another_follows(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    champion, predictions, versions = team.state()
    assert len(predictions)

    # A fault that passes: the connection breaks while the ensemble is trained.
    request = team.tick()
    assert request is not None
    assert request.job_name == INCREMENTAL

    def away(*_: Any) -> None:
        raise ConnectionError("the tracking server is away")

    with monkeypatch.context() as patch:
        patch.setattr(type(FAMILIES["ensemble"]), "update", away)
        failed = team.follow(request)
    assert not failed.success
    assert team.runs_of_mlflow(failed.run_id).count(("ensemble", "FAILED")) == 4  # tried again three times
    assert not {status for _, status in team.runs_of_mlflow(failed.run_id)} & {"RUNNING", "SCHEDULED"}
    after = team.state()
    assert after[0] == champion
    pd.testing.assert_frame_equal(after[1], predictions)
    assert after[2]["ensemble"] == versions["ensemble"]
    (past,) = past_runs(team.watched.instance, {DATA_VERSION: request.tags[DATA_VERSION]})
    assert (past.status, past.needs_change, past.update_impossible) == ("failed", False, False)
    assert team.tick() is None
    assert "the fault may pass" in team.watched.why_not

    # The fault has passed: the same rows are trained on, once.
    again = team.tick(timedelta(minutes=2))
    assert again is not None
    assert again.job_name == INCREMENTAL
    assert team.follow(again).success
    assert team.state()[2]["ensemble"] == versions["ensemble"] + 1
    assert team.tick(timedelta(minutes=2)) is None
    assert "trained on all rows" in team.watched.why_not

    # A fault that does not pass: the classifier's files were changed, so it cannot be updated.
    with psycopg_connect(team.settings, "rows", autocommit=True) as connection:
        connection.execute(
            "UPDATE backtest_results SET total_return = total_return + 0.01 WHERE end_date >= %s", [NEW_FROM]
        )
    tamper(team.settings, "classifier")
    champion, predictions, _ = team.state()
    request = team.tick(timedelta(minutes=4))
    assert request is not None, team.watched.why_not
    assert request.job_name == INCREMENTAL
    failed = team.follow(request)
    assert not failed.success
    assert "classifier" not in dict(team.runs_of_mlflow(failed.run_id))
    assert team.state()[0] == champion
    pd.testing.assert_frame_equal(team.state()[1], predictions)
    past = past_runs(team.watched.instance, {DATA_VERSION: request.tags[DATA_VERSION]})[0]
    assert (past.status, past.update_impossible) == ("failed", True)

    # No update can help, a full training can.
    instead = team.tick(timedelta(minutes=6))
    assert instead is not None
    assert instead.job_name == RETRAIN
    assert team.follow(instead).success
    assert team.tick(timedelta(minutes=6)) is None


def tamper(settings: Settings, family: str) -> None:
    """Change the files of the family's newest version."""
    newest = max(Registry(settings).list_versions(family), key=lambda version: version.version)
    model = mlflow_client(settings).get_model_version(family, str(newest.version))
    folder = Path(model.source.removeprefix("file://"))
    assert folder.is_relative_to(artefact_folder(settings))
    name = next(name for name in files_below(folder) if name.endswith(".pkl"))
    with (folder / name).open("ab") as file:
        file.write(b"!")
