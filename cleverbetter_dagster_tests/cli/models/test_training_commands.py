"""`cleverbetter train`, `tune`, `backfill` and `evaluate` as processes of their own, reached with passwords."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from psycopg import sql
from pydantic import SecretStr

from cleverbetter_dagster.cli.models.launch import dagster_instance
from cleverbetter_dagster.cli.models.training_runs import joined, request_of, up_to_study
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.defs.launches import AS_OF_TAG, ROLE_TAG, TRAINING, launches
from cleverbetter_dagster.errors import InvalidRequest
from cleverbetter_dagster.services.stored_assets import stored_evaluation
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.store.unfinished_runs import FAMILY_TAG
from cleverbetter_dagster.store.workers.queue import JOB_ID_TAG, LANE
from cleverbetter_dagster_tests.cli.conftest import COMMAND, Command, command_in, environment_of
from cleverbetter_dagster_tests.support.written_texts import written_to_files, written_to_tables

pytestmark = pytest.mark.timeout(600)  # the first test waits for a whole training, whatever else the machine does

SIMULATION = SimulationSpec(n_strategies=80, first_month="2021-01", months=24)
AS_OF = "2022-11"
QUICK = ("--set", "min_composite_score=null", "--set", "n_folds=1")
SECRETS = ("Tr0ub4dor", "hunter2hunter2")
"""The readable part of the passwords; the whole ones hold characters that a URL has to encode."""

TOKEN, HOOK = "correct horse battery staple", "T0UC4NH00K"


@dataclass(frozen=True)
class Place:
    """A deployment, the environment a person gives its commands, and where those put scratch files."""

    settings: Settings
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=self.settings.home, capture_output=True, text=True, check=False
        )

    def runs(self, **tags: str) -> list[dg.DagsterRun]:
        with dagster_instance(self.settings) as instance:
            return list(instance.get_runs(dg.RunsFilter(tags=tags)))


@pytest.fixture(scope="module")
def _clean_environment() -> None:
    """The fixtures here set the variables themselves, once a module."""


@pytest.fixture(scope="module")
def place(postgres: ServerAddress, tracked: Settings) -> Iterator[Place]:
    """Simulated rows in a database that is reached with one password, and its MLflow with another."""
    assert tracked.database_url is not None
    address = tracked.database_url.get_secret_value()
    with postgres.connect() as connection:
        for role, secret in zip(("rows_user", "mlflow_user"), SECRETS, strict=True):
            create = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")
            connection.execute(create.format(sql.Identifier(role), sql.Literal(f"{secret}/&3")))
    own, mlflows = (
        re.sub(r"//([^@/]*@)?", f"//{role}:{secret}%2F%263@", address, count=1)
        for role, secret in zip(("rows_user", "mlflow_user"), SECRETS, strict=True)
    )
    mlflows += "&options=-csearch_path%3Dmlflow"
    settings = tracked.model_copy(update={"database_url": SecretStr(own), "mlflow_tracking_uri": mlflows})
    scratch = tracked.home / "scratch"
    scratch.mkdir()
    environment = {
        **environment_of(settings),
        "MLFLOW_TRACKING_URI": mlflows,
        "CLEVERBETTER_API_TOKEN": TOKEN,
        "CLEVERBETTER_ALERT_WEBHOOK": f"http://127.0.0.1:9/{HOOK}",
        "TMPDIR": str(scratch),
        "CLEVERBETTER_THREADS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", "DATABASE_URL", "MLFLOW_TRACKING_URI"):
            patch.setenv(name, environment[name])
        files = [tracked.home / name for name in ("results.parquet", "features.parquet")]
        for frame, file in zip(simulate_rows(SIMULATION), files, strict=True):
            frame.to_parquet(file)
        import_files(settings, *files)
        yield Place(settings, environment)


@pytest.fixture
def command(place: Place, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`cleverbetter` in this process, for what runs no job."""
    return command_in(place.settings, monkeypatch)


@dataclass(frozen=True)
class Trained:
    """A `train` that has ended, and the arguments of every process it started."""

    done: subprocess.CompletedProcess[str]
    arguments: str


@pytest.fixture(scope="module")
def trained(place: Place) -> Trained:
    """The ensemble as of `AS_OF`, trained by a real process."""
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    seen.add("\0".join(process.cmdline()))

    watcher = threading.Thread(target=look)
    watcher.start()
    done = place.run("train", "ensemble", "--as-of", AS_OF, "--trials", "2", "--json", *QUICK)
    ended.set()
    watcher.join()
    assert done.returncode == 0, done.stderr
    return Trained(done, "\n".join(seen))


@pytest.mark.slow
def test_train_registers_a_version_and_prints_nothing_but_json(place: Place, trained: Trained) -> None:
    facts = json.loads(trained.done.stdout)
    assert (facts["model_type"], facts["as_of"], facts["model_version"]) == ("ensemble", AS_OF, 1)
    assert 0.5 < facts["metrics"]["roc_auc"] < 1
    assert trained.done.stderr == ""


@pytest.mark.slow
def test_its_runs_carry_the_tags_of_the_rest_apis_jobs(place: Place, trained: Trained) -> None:
    facts = json.loads(trained.done.stdout)
    training, rows = place.runs(**{JOB_ID_TAG: facts["job_id"]})
    assert (training.run_id, training.job_name, rows.job_name) == (facts["run_id"], "retrain", "load_rows")
    wanted = {FAMILY_TAG: "ensemble", AS_OF_TAG: AS_OF, ROLE_TAG: TRAINING, LANE: "training"}
    assert wanted.items() <= training.tags.items()


@pytest.mark.slow
def test_an_incremental_training_continues_from_the_version_before(place: Place, trained: Trained) -> None:
    update = ("train", "ensemble", "--as-of", "2022-12", "--incremental", "--set", "min_composite_score=null")
    facts = json.loads(place.run(*update, "--json").stdout)
    before = json.loads(trained.done.stdout)["model_version"]
    version = Registry(place.settings).get_version("ensemble", facts["model_version"])
    assert (version.tags["training"], version.tags["parent_version"]) == ("incremental", str(before))
    (training, *_) = place.runs(**{JOB_ID_TAG: facts["job_id"]})
    assert training.job_name == "incremental"
    again = place.run(*update)
    assert (again.returncode, again.stdout.strip()) == (
        0,
        "No rows are new since the newest ensemble; it stays as it is.",
    )
    assert len(Registry(place.settings).list_versions("ensemble")) == version.version


@pytest.mark.slow
def test_evaluate_shows_what_is_there_and_judges_what_is_not(place: Place, trained: Trained, command: Command) -> None:
    before = len(place.runs())
    shown = json.loads(command("evaluate", "ensemble", "--as-of", AS_OF, "--json").stdout)
    by_name = {row["name"]: row for row in shown["leaderboard"]}
    metrics = json.loads(trained.done.stdout)["metrics"]
    assert (shown["version"], shown["as_of"]) == (1, AS_OF)
    assert by_name["ensemble"]["roc_auc"]["point"] == pytest.approx(metrics["roc_auc"])
    assert "persistence" in by_name
    assert len(place.runs()) == before
    file = Path(place.settings.artefacts_base) / "ensemble_evaluation" / f"{AS_OF}.parquet"
    kept = stored_evaluation(place.settings, "ensemble", AsOf.parse(AS_OF))
    file.unlink()
    again = place.run("evaluate", "ensemble", "--as-of", AS_OF)
    assert again.returncode == 0, again.stderr
    assert re.findall(r"✓ (\w+)", again.stderr) == ["ensemble_evaluation"]
    assert len(place.runs()) == before + 1
    assert stored_evaluation(place.settings, "ensemble", AsOf.parse(AS_OF)).equals(kept)
    unknown = command("evaluate", "classifier", "--as-of", AS_OF)
    assert unknown.returncode == 4
    assert f"cleverbetter train classifier --as-of {AS_OF}" in unknown.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "whole_group",
    [pytest.param(True, id="from the terminal"), pytest.param(False, id="to it alone")],
)
def test_interrupted_the_run_is_cancelled_and_no_process_is_left(place: Place, whole_group: bool) -> None:
    earlier = {run.run_id for run in place.runs()}
    command = [*COMMAND, "train", "ensemble", "--as-of", "2022-10", "--trials", "500", *QUICK]
    with subprocess.Popen(
        command,
        env=place.environment,
        cwd=place.settings.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        run = until(lambda: started(place, earlier))
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    with dagster_instance(place.settings) as instance:
        ended = instance.get_run_by_id(run)
        assert ended is not None
        assert ended.status == dg.DagsterRunStatus.CANCELED
        assert not instance.all_logs(run, of_type=dg.DagsterEventType.RUN_FAILURE)
        pools = instance.event_log_storage
        assert [key for key in pools.get_concurrency_keys() if pools.get_concurrency_info(key).active_slot_count] == []


def started(place: Place, earlier: set[str]) -> str | None:
    """The id of a new run one of whose steps is at work."""
    with dagster_instance(place.settings) as instance:
        for run in instance.get_runs():
            if run.run_id not in earlier and instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START):
                return run.run_id
    return None


def until(condition: Any) -> Any:
    deadline = time.monotonic() + 120
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return value


@pytest.mark.slow
def test_no_password_is_anywhere_a_run_writes(place: Place, trained: Trained) -> None:
    with psycopg_connect(place.settings, "rows") as connection:
        everywhere = [*written_to_tables(connection), *written_to_files(place.settings.home)]
    everywhere += [("standard output", trained.done.stdout), ("standard error", trained.done.stderr)]
    everywhere += [("arguments of processes", trained.arguments)]
    for known, where in (
        ("temporal_split", "dagster.snapshots"),  # compressed
        ("ensemble_model", "dagster.event_logs"),
        ("train_ensemble_", "dagster.run_tags"),
        ("ensemble", "optuna.studies"),
        ("ensemble", "mlflow.registered_models"),
        ("full", "mlflow.tags"),
        ("ensemble", "mlartifacts"),
        ("strategy", "ensemble_evaluation"),  # Parquet
        ("", "dagster/compute_logs"),
        ("", "logs/runs.log"),
        ("cleverbetter_dagster.cli.main", "arguments of processes"),
    ):
        assert any(where in place_ and known in text for place_, text in everywhere), f"never looked into {where}"
    for secret in (*SECRETS, TOKEN, HOOK):
        assert [where for where, text in everywhere if secret in text] == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "oracle"), 2, "ensemble, classifier"),
        (("train", "ensemble", "--set", "colour=red"), 2, "min_composite_score"),
        (("train", "ensemble", "--set", "n_trials=3"), 2, "beside config"),
        (("train", "ensemble", "--set", "seed"), 2, "--set option=value"),
        (("train", "ensemble", "--set", "metric=growth"), 2, "use one of: auc, brier, log_loss"),
        (("train", "ensemble", "--incremental", "--trials", "3"), 2, "train in full"),
        (("train", "ensemble", "--incremental", "--search"), 2, "train in full"),
        (("train", "ensemble", "--as-of", "1999-01"), 2, "give a month from 2021-01 to"),
        (("tune", "ensemble", "--set", "kelly_fraction=0.5"), 2, "no option of a study"),
        (("backfill", "--from", "2022-03", "--to", "2022-02"), 2, "exchange them"),
        (("backfill", "--from", "2022-03", "--to", "2022-13"), 2, "YYYY-MM"),
        (("evaluate", "oracle"), 4, "oracle"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    place: Place, command: Command, arguments: tuple[str, ...], code: int, message: str
) -> None:
    before = len(place.runs())
    done = command(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert len(place.runs()) == before


def test_a_study_alone_is_a_part_of_a_training() -> None:
    months = ["2022-10", "2022-11"]
    requests = [request_of(family, AS_OF, ["embargo_days=2"], 3) for family in ("ensemble", "classifier")]
    one, other = (launches(request, "id", months, ["2022-10"], months[-1])[-1] for request in requests)
    study = up_to_study(one, "ensemble")
    assert study.assets == ("training_rows", "temporal_split", "ensemble_study")
    assert study.tags[ROLE_TAG] != TRAINING
    both = joined([one, other], ["model_comparison"])
    assert both.assets == (
        *one.assets,
        "classifier_study",
        "classifier_model",
        "classifier_evaluation",
        "model_comparison",
    )
    assert both.run_config["ops"] == {**one.run_config["ops"], **other.run_config["ops"]}
    with pytest.raises(InvalidRequest, match="kelly_fraction"):
        up_to_study(
            launches(request_of("ensemble", None, ["kelly_fraction=0.5"], 3), "id", months, [], months[-1])[-1],
            "ensemble",
        )


@pytest.mark.slow
def test_tune_stops_at_the_study(place: Place) -> None:
    done = place.run("tune", "ensemble", "--as-of", "2022-09", "--trials", "2", "--json", *QUICK)
    study = json.loads(done.stdout)
    assert (study["family"], study["as_of"], study["trials"]) == ("ensemble", "2022-09", 2)
    assert not (Path(place.settings.artefacts_base) / "ensemble_model" / "2022-09.json").exists()


@pytest.mark.slow
def test_backfill_does_only_what_is_missing_also_after_failures(place: Place) -> None:
    few = ("backfill", "--from", "2021-02", "--to", "2021-02", "--family", "ensemble", "--json", *QUICK)
    failed = place.run(*few)
    assert failed.returncode == 1
    assert json.loads(failed.stdout)[0]["outcome"] == "failed"
    assert "examples" in json.loads(failed.stdout)[0]["message"]
    months = ("backfill", "--from", "2022-07", "--to", "2022-08", "--family", "ensemble", "--json", *QUICK)
    done = json.loads(place.run(*months, "--set", "min_examples=300").stdout)
    assert [(one["as_of"], one["outcome"]) for one in done] == [("2022-07", "done"), ("2022-08", "done")]
    before = len(place.runs())
    again = json.loads(place.run(*months, "--set", "min_examples=300").stdout)
    assert [one["outcome"] for one in again] == ["skipped", "skipped"]
    assert len(place.runs()) == before
