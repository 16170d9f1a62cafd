"""Months of a backfill on workers: at once, except that a search follows the search of the month before."""

import io
import threading
from collections.abc import Callable

import pytest
from rich.console import Console

from cleverbetter_dagster.cli.models import side_by_side
from cleverbetter_dagster.cli.models.launch import RunFailed
from cleverbetter_dagster.cli.models.side_by_side import Month, run_months
from cleverbetter_dagster.defs.launches import Launch
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.workers.queue import LANE, MONTHS

ASSETS = ("training_rows", "temporal_split", "ensemble_study", "ensemble_model", "ensemble_evaluation")
CONFIG = {"ops": {"ensemble_study": {"config": {"n_trials": 2}}, "ensemble_model": {"config": {"training": "full"}}}}
NAMES = ("2023-01", "2023-02", "2023-03")


def months(*, searches: bool) -> list[Month]:
    return [Month(name, Launch("retrain", ASSETS, (name, name), {}, CONFIG), searches) for name in NAMES]


def run(months: list[Month], run_job: Callable[..., str], patch: pytest.MonkeyPatch) -> list[str]:
    patch.setattr(side_by_side, "run_job", run_job)

    def result(name: str, train: Callable[[], str]) -> str:
        try:
            return train()
        except RunFailed as error:
            return f"{name}: {error}"

    return run_months(Settings(), months, Console(file=io.StringIO()), result)


def test_months_that_search_nothing_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(len(NAMES), timeout=60)

    def run_job(_: Settings, launch: Launch, *__: object, label: str, **___: object) -> str:
        together.wait()  # breaks unless all are there
        assert launch.assets == ASSETS and launch.tags == {LANE: MONTHS} and launch.run_config == CONFIG
        return label

    assert run(months(searches=False), run_job, monkeypatch) == list(NAMES)


def test_searches_follow_each_other_and_the_rest_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    all_studied, later_began = threading.Event(), threading.Event()

    def run_job(_: Settings, launch: Launch, *__: object, label: str, **___: object) -> str:
        if "ensemble_study" in launch.assets:
            assert launch.assets == ASSETS[:3] and set(launch.run_config["ops"]) == {"ensemble_study"}
            if label == NAMES[0]:
                assert not later_began.wait(0.2)
            later_began.set()
            log.append(label)
            if label == NAMES[-1]:
                all_studied.set()
        else:
            assert launch.assets == ASSETS[3:] and set(launch.run_config["ops"]) == {"ensemble_model"}
            assert all_studied.wait(60)  # the model of the first month is not needed by the study of the last
        return label

    assert run(months(searches=True), run_job, monkeypatch) == list(NAMES)
    assert log == list(NAMES)


def test_a_month_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_job(_: Settings, __: Launch, *___: object, label: str, **____: object) -> str:
        if label == NAMES[0]:
            raise RunFailed("no rows")
        return label

    assert run(months(searches=True), run_job, monkeypatch) == ["2023-01: no rows", *NAMES[1:]]
