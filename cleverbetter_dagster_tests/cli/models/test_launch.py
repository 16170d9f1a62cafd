"""A run that a command starts is shown wherever Dagster's UI shows its own."""

import dagster as dg
import pytest

from cleverbetter_dagster.cli.models import launch
from cleverbetter_dagster.cli.models.launch import MODULE, _carry_origin
from cleverbetter_dagster.cli.servers import processes
from cleverbetter_dagster.defs.launches import Launch
from cleverbetter_dagster.settings import Settings

UI_LABEL = ".dagster/repository"
"""The tag by which the UI finds the runs of a job of ours."""


@dg.job
def predict() -> None:
    """A job without steps."""


def test_a_run_carries_what_the_ui_looks_for() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        _carry_origin(instance, "predict")
        predict.execute_in_process(instance=instance)
        (run,) = instance.get_runs(dg.RunsFilter(job_name="predict", tags={UI_LABEL: f"__repository__@{MODULE}"}))
        assert run.remote_job_origin is not None
        assert (run.remote_job_origin.job_name, run.remote_job_origin.location_name) == ("predict", MODULE)


def test_the_code_location_is_called_as_under_up() -> None:
    assert MODULE == processes.MODULE


@pytest.mark.parametrize(
    ("job", "follows", "starts"), [("predict", False, 0), ("load_rows", True, 1), ("retrain", False, 1)]
)
def test_the_server_of_steps_starts_where_steps_come(
    job: str, follows: bool, starts: int, environment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []
    monkeypatch.setattr(launch, "start_server", lambda: started.append(True))
    monkeypatch.setattr(launch, "dagster_instance", stopped)
    with pytest.raises(KeyboardInterrupt):
        launch.run_job(environment, Launch(job, (), (), {}, {}), quiet=True, training_follows=follows)
    assert len(started) == starts


def stopped(_: Settings) -> None:
    raise KeyboardInterrupt
