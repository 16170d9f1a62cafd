"""What the tests of commands share: a registry of real packed models, and the commands run as a person runs them."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from cleverbetter_dagster.cli.main import app
from cleverbetter_dagster.cli.output import exit_code
from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import log_model
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster_tests.store.tracking.test_package import MODEL

Command = Callable[..., "Done"]
COMMAND = (sys.executable, "-m", "cleverbetter_dagster.cli.main")


def registered(settings: Settings, as_of: str, family: str = "ensemble") -> int:
    """The version of a packed model, logged and registered as of a month."""
    with start_run(settings, RunSpec(family, as_of, "abc")) as run:
        log_model(run, MODEL)
    return Registry(settings).register(run.run_id, family)


def environment_of(settings: Settings) -> dict[str, str]:
    """What a person sets to work with `settings`."""
    assert settings.database_url is not None
    return {
        **os.environ,
        "DAGSTER_HOME": str(settings.home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "COLUMNS": "200",
    }


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def command_in(settings: Settings, patch: pytest.MonkeyPatch) -> Command:
    """`cleverbetter` in this process, as `main` runs it: starting one for each command would cost seconds."""
    for name, value in environment_of(settings).items():
        patch.setenv(name, value)

    def run(*arguments: str, answer: str = "") -> Done:
        result = CliRunner().invoke(app, list(arguments), input=answer)
        if isinstance(result.exception, CleverBetterError):
            return Done(exit_code(result.exception), result.stdout, result.stderr + str(result.exception))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def command(empty_registry: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`cleverbetter` on the registry of `empty_registry`."""
    return command_in(empty_registry, monkeypatch)
