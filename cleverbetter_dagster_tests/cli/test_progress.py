"""What a person sees of a run while it goes on: steps as they end, and how far a study is."""

import time
from collections.abc import Callable, Iterator
from io import StringIO

import dagster as dg
import pytest
from rich.console import Console

from cleverbetter_dagster.cli import progress
from cleverbetter_dagster.cli.models.launch import QUIET
from cleverbetter_dagster.cli.progress import run_progress

TOLD = ("ensemble 2023-11: 4 of 10 trials (1 pruned), best auc 0.7451, about 61 s left", "ensemble 2023-11: 10 of 10")
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def tags(request: pytest.FixtureRequest) -> dict[str, str]:
    """Of the test's own run alone."""
    return {"mark": request.node.name}


def run(instance: dg.DagsterInstance, tags: dict[str, str], study: Callable[[dg.OpExecutionContext], None]) -> None:
    """A run of one step."""
    op = dg.op(name="ensemble_study")(study)
    job = dg.GraphDefinition(name="tuning", node_defs=[op]).to_job()
    job.execute_in_process(run_config=QUIET, instance=instance, tags=tags, raise_on_error=False)


def test_a_terminal_shows_a_studys_newest_line(
    instance: dg.DagsterInstance, tags: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.02)
    seen = StringIO()

    def wait_for(shown: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while shown not in seen.getvalue():
            assert time.monotonic() < deadline, seen.getvalue()
            time.sleep(0.02)

    def study(context: dg.OpExecutionContext) -> None:
        wait_for("running ensemble_study")
        for line in TOLD:
            context.log.info(line)
            wait_for(f"running ensemble_study: {line}")

    with run_progress(instance, tags, Console(file=seen, force_terminal=True, width=200)):
        run(instance, tags, study)
    assert "✓" in seen.getvalue()
    assert "execution of step" not in seen.getvalue()  # what Dagster itself says of steps is for its log


@pytest.mark.parametrize(("fails", "sign"), [(False, "✓"), (True, "✗")])
def test_elsewhere_each_step_is_one_line_when_it_has_ended(
    instance: dg.DagsterInstance, tags: dict[str, str], fails: bool, sign: str
) -> None:
    seen = StringIO()

    def study(context: dg.OpExecutionContext) -> None:
        context.log.info(TOLD[0])
        if fails:
            raise dg.Failure("too few rows", allow_retries=False)

    with run_progress(instance, tags, Console(file=seen, width=200)):
        run(instance, tags, study)
    (line,) = seen.getvalue().splitlines()
    assert line.split()[:2] == [sign, "ensemble_study"]


def test_a_quiet_one_says_nothing(instance: dg.DagsterInstance, tags: dict[str, str]) -> None:
    seen = StringIO()
    with run_progress(instance, tags, Console(file=seen, quiet=True, force_terminal=True)):
        run(instance, tags, lambda context: context.log.info(TOLD[0]))
    assert seen.getvalue() == ""
