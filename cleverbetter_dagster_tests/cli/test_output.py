"""What commands print for programs, and what they end with."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import typer

from cleverbetter_dagster.cli.output import ExitCode, NotConfirmed, confirm, exit_code, print_json
from cleverbetter_dagster.errors import (
    CleverBetterError,
    DatabaseUnavailable,
    GateRefused,
    InvalidInput,
    InvalidRequest,
    ModelNotFound,
    ModelTampered,
    NotStored,
    Problem,
    SettingsError,
    UnknownFamily,
)


@dataclass(frozen=True)
class Fact:
    """Something to print."""

    name: str
    value: object


def test_json_holds_objects_instants_and_nothing_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    then = datetime(2023, 11, 30, 12, tzinfo=UTC)
    print_json([Fact("roi", float("nan")), Fact("odds", (float("inf"), 2.5)), Fact("since", {"at": then})])
    assert json.loads(capsys.readouterr().out) == [
        {"name": "roi", "value": None},
        {"name": "odds", "value": [None, 2.5]},
        {"name": "since", "value": {"at": "2023-11-30 12:00:00+00:00"}},
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DatabaseUnavailable("x"), ExitCode.UNAVAILABLE),
        (GateRefused("x"), ExitCode.REFUSED),
        (NotConfirmed("x"), ExitCode.REFUSED),
        (InvalidRequest([Problem("n_trials", "is 0", "give 1")]), ExitCode.USAGE),
        (ModelNotFound("x"), ExitCode.NOT_FOUND),
        (NotStored("x"), ExitCode.NOT_FOUND),
        (UnknownFamily("x"), ExitCode.NOT_FOUND),
        (InvalidInput("x"), ExitCode.USAGE),
        (ModelTampered("x"), ExitCode.FAILED),
        (SettingsError("x"), ExitCode.FAILED),
    ],
)
def test_every_error_has_the_exit_code_the_help_names(error: CleverBetterError, code: ExitCode) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(("answer", "agreed"), [(True, True), (False, False), (None, False)])
def test_only_a_yes_is_a_yes(monkeypatch: pytest.MonkeyPatch, answer: bool | None, agreed: bool) -> None:
    def asked(*_: object, **__: object) -> bool:
        if answer is None:  # nobody is there to be asked
            raise typer.Abort
        return answer

    monkeypatch.setattr(typer, "confirm", asked)
    if agreed:
        confirm("Destroy?", yes=False)
    else:
        with pytest.raises(NotConfirmed):
            confirm("Destroy?", yes=False)
    confirm("Destroy?", yes=True)
