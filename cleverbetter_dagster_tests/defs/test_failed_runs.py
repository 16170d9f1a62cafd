"""Runs that really fail, after a champion was really trained: what stays as it was, and who asks again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import mlflow
import pytest

from cleverbetter_dagster.dataset.samples import sample_rows
from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.failures import failure_of
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.services import retraining
from cleverbetter_dagster.services.retraining import FIRST_DELAY
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store import ledger
from cleverbetter_dagster.store.database import psycopg_connect
from cleverbetter_dagster.store.importer import import_files
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.registry import Registry
from cleverbetter_dagster.store.tracking import tracking_uri
from cleverbetter_dagster_tests.defs.test_pipeline import AS_OF, EASY_GATE, LAST, ONE_FOLD, SAMPLE
from cleverbetter_dagster_tests.defs.ticks import Watched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
NOWHERE = "postgresql://ann@127.0.0.1:1/racing"


@dataclass
class Deployed:
    """A deployment that trained once, by request of its sensor; the month after is there as files."""

    watched: Watched
    next_month: tuple[Any, Any]

    @property
    def settings(self) -> Settings:
        return self.watched.settings

    def standing(self) -> tuple[object, ...]:
        """Everything a failed run may not touch."""
        versions = [(found.family, found.version) for found in Registry(self.settings).list_versions()]
        predictions = read_predictions(self.settings).sort_values("strategy_id")
        return ledger.champion(self.settings), versions, predictions.to_json()

    def execute(self, **small: dict[str, Any]) -> dg.ExecuteInProcessResult:
        """Run what the sensor requests, with the smallest of models where it trains in full."""
        request = self.watched.tick()
        assert request is not None, self.watched.why_not
        job = defs.resolve_job_def(request.job_name or "")
        config = {name: dict(op) for name, op in request.run_config["ops"].items()}
        for name, values in {**EASY_GATE, **small}.items():
            config[name] = {"config": {**config.get(name, {}).get("config", {}), **values}}
        return job.execute_in_process(
            partition_key=request.partition_key,
            run_config={"ops": config},
            tags=request.tags,
            instance=self.watched.instance,
            raise_on_error=False,
        )

    def mlflow_statuses(self, run_id: str) -> set[str]:
        client = mlflow.MlflowClient(tracking_uri(self.settings))
        experiment = client.get_experiment_by_name(self.settings.mlflow_experiment_name)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], f"tags.dagster_run_id = '{run_id}'")
        return {run.info.status for run in runs}


@pytest.fixture
def deployed(environment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    results, features = sample_rows(SAMPLE)
    now = results["end_date"].dt.strftime("%Y-%m") <= AS_OF
    parts = []
    for chosen in (now, ~now):
        files = [tmp_path_factory.mktemp("sample") / name for name in ("results.parquet", "features.parquet")]
        results[chosen].to_parquet(files[0])
        features[features["backtest_result_id"].isin(results.loc[chosen, "id"])].to_parquet(files[1])
        parts.append((files[0], files[1]))
    import_files(environment, *parts[0])
    with dg.DagsterInstance.local_temp() as instance:
        deployed = Deployed(Watched(environment, instance), parts[1])
        result = deployed.execute(**ONE_FOLD)
        assert result.success, failure_of(instance, result.run_id)
        assert ledger.champion(environment) is not None
        assert deployed.watched.tick() is None
        yield deployed


def test_after_a_failure_all_stands_as_it_stood_and_a_run_is_requested_again_when_its_cause_is_gone(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, watched = deployed.settings, deployed.watched
    before = deployed.standing()
    import_files(settings, *deployed.next_month)

    # The database goes away after the request: a fault that may pass, so waiting is enough.
    monkeypatch.setattr(retraining, "FIRST_DELAY", FIRST_DELAY * 0)
    with pytest.MonkeyPatch.context() as away:
        tick = watched.tick

        def request_and_go_away() -> dg.RunRequest | None:
            request = tick()
            away.setenv("DATABASE_URL", NOWHERE)
            return request

        away.setattr(watched, "tick", request_and_go_away)
        result = deployed.execute()
    assert not result.success
    assert "127.0.0.1:1" in failure_of(watched.instance, result.run_id)
    assert deployed.standing() == before

    # Bad data: no row has a next window any more. Waiting does not cure that, other rows do.
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        connection.execute("UPDATE backtest_results SET strategy_id = strategy_id || id")
        result = deployed.execute()
        assert not result.success
        assert "temporal_split" in failure_of(watched.instance, result.run_id)
        assert deployed.standing() == before
        assert watched.tick() is None
        assert "what waiting does not cure" in watched.why_not
        connection.execute("UPDATE backtest_results SET strategy_id = replace(strategy_id, id, '')")

    # The models to go on from are broken: the run of MLflow says so, and the next training is a full one.
    stored = {file: file.read_bytes() for file in settings.home.rglob("model.pkl")}
    assert len(stored) >= len(FAMILIES)
    for file in stored:
        file.write_bytes(b"broken")
    result = deployed.execute()
    assert (result.job_def.name, result.success) == ("incremental", False)
    assert deployed.mlflow_statuses(result.run_id) == {"FAILED"}
    for file, content in stored.items():
        file.write_bytes(content)
    assert deployed.standing() == before
    result = deployed.execute(**ONE_FOLD)
    assert (result.job_def.name, result.success) == ("retrain", True), failure_of(watched.instance, result.run_id)
    assert {version.as_of for version in Registry(settings).list_versions() if version.version > 1} == {LAST}
    assert watched.tick() is None
    assert "trained on all rows there are" in watched.why_not
