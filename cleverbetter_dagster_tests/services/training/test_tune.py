"""Studies in a real PostgreSQL: named, resumed, shared, started from the month before, and never shown the test."""

import multiprocessing
import os
import signal
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from time import sleep
from typing import Any

import optuna
import pytest
from optuna.storages import RetryHeartbeatStaleTrialCallback

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.learning.tuning.study import IS_DEFAULT, Progress
from cleverbetter_dagster.services.training.datasets import Dataset, plan_split
from cleverbetter_dagster.services.training.tune import study_name, study_storage, tune
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.learning.conftest import backtest_rows

FEW = StudySpec(
    n_trials=4,
    n_folds=2,
    params={"forest_trees": 5},
    space={"n_estimators": [5, 20], "forest_leaf_rows": [20, 30]},
)


def dataset(months: int = 24, strategies: int = 40) -> Dataset:
    rows = backtest_rows(strategies=strategies, months=months)
    last = AsOf.parse(rows["end_date"].max().strftime("%Y-%m"))
    return plan_split(rows, last, DatasetSpec(min_composite_score=None, min_examples=1))


@pytest.fixture(scope="module")
def latest() -> Dataset:
    return dataset()


def trials(settings: Settings, name: str) -> list[optuna.trial.FrozenTrial]:
    with study_storage(settings) as storage:
        return optuna.load_study(study_name=name, storage=storage).trials


def names(settings: Settings) -> list[str]:
    with study_storage(settings) as storage:
        return optuna.get_all_study_names(storage)


def test_a_study_is_stored_by_family_and_month(database: Settings, latest: Dataset) -> None:
    reports: list[Progress] = []
    settled = tune(database, "ensemble", latest, FEW, reports.append)
    (name,) = names(database)
    assert name.startswith("ensemble 2021-12 ")
    assert settled.record.study == name
    assert settled.record.trials == reports[-1].done == reports[-1].total == 4
    assert settled.record.value == settled.record.mean_auc >= settled.record.default_auc
    assert all(png.startswith(b"\x89PNG") for png in settled.pictures.values())
    with study_storage(database) as storage:
        attributes = optuna.load_study(study_name=name, storage=storage).user_attrs
    assert attributes["data_hash"] == latest.record.data_hash
    assert (attributes["family"], attributes["as_of"], attributes["metric"]) == ("ensemble", "2021-12", "auc")


def test_no_trials_need_no_database(latest: Dataset) -> None:
    nowhere = Settings(home=Path("/nonexistent"), database_url="postgresql://127.0.0.1:1/none")  # type: ignore[arg-type]
    spec = StudySpec(n_trials=0, n_folds=1, params={"n_estimators": 7, "forest_trees": 5})
    settled = tune(nowhere, "ensemble", latest, spec)
    assert settled.record.params == {**get_family("ensemble").default_params(), **spec.params}
    assert (settled.record.trials, settled.record.study, settled.pictures) == (1, None, {})


def test_a_study_goes_on_until_it_has_its_trials(database: Settings, latest: Dataset) -> None:
    first = tune(database, "ensemble", latest, FEW.model_copy(update={"n_trials": 2})).record
    second = tune(database, "ensemble", latest, FEW).record
    again = tune(database, "ensemble", latest, FEW).record
    assert (first.trials, second.trials) == (2, 4)
    assert again == second
    assert len(trials(database, str(second.study))) == 4


def test_other_rows_another_metric_or_another_space_is_another_study(latest: Dataset) -> None:
    other = dataset(strategies=39)
    specs = [
        FEW.model_copy(update=change)
        for change in ({}, {"metric": "brier"}, {"n_folds": 3}, {"space": {}}, {"params": {}})
    ]
    assert len({study_name("ensemble", rows, spec) for rows in (latest, other) for spec in specs}) == 10
    longer = FEW.model_copy(update={"n_trials": 100, "timeout_seconds": 5.0})
    assert study_name("ensemble", latest, longer) == study_name("ensemble", latest, FEW)


def test_a_new_month_starts_from_the_last_best(database: Settings, latest: Dataset) -> None:
    for months in (20, 22):
        tune(database, "ensemble", dataset(months), FEW)
    before = next(name for name in names(database) if name.startswith("ensemble 2021-10"))
    best = max(trials(database, before), key=lambda trial: trial.value or 0.0)
    warm = tune(database, "ensemble", latest, FEW.model_copy(update={"n_trials_warm": 3})).record
    assert warm.warm_started_from == before
    assert warm.trials == 3
    assert trials(database, str(warm.study))[1].params == best.params
    # Both earlier months judged four settings each, and the second of them started from the first.
    assert warm.earlier_trials == 8


def test_a_study_that_goes_on_keeps_what_it_started_from(database: Settings, latest: Dataset) -> None:
    cold = tune(database, "ensemble", latest, FEW.model_copy(update={"n_trials": 2})).record
    tune(database, "ensemble", dataset(22), FEW)
    longer = tune(database, "ensemble", latest, FEW.model_copy(update={"n_trials_warm": 1})).record
    assert longer.study == cold.study
    assert (longer.trials, longer.earlier_trials, longer.warm_started_from) == (4, 0, None)


def test_a_later_month_never_starts_an_earlier_one(database: Settings, latest: Dataset) -> None:
    tune(database, "ensemble", latest, FEW)
    record = tune(database, "ensemble", dataset(22), FEW).record
    assert record.warm_started_from is None
    assert record.trials == FEW.n_trials


def test_losses_are_minimised_and_never_start_auc(database: Settings, latest: Dataset) -> None:
    spec = FEW.model_copy(update={"metric": "log_loss"})
    earlier = tune(database, "ensemble", dataset(22), spec).record
    assert earlier.value <= earlier.default_value
    assert tune(database, "ensemble", latest, FEW).record.warm_started_from is None


def test_a_study_does_without_the_test_rows_altogether(database: Settings, latest: Dataset) -> None:
    blind = replace(latest, panel=None, parts=replace(latest.parts, test=None))  # type: ignore[arg-type]
    assert tune(database, "ensemble", blind, FEW).record.trials == FEW.n_trials


def fresh_processes() -> ForkServerContext:
    """Processes that share nothing with this one, and import the libraries once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["optuna", "lightgbm", __name__])
    return context


def work(settings: Settings, seed: int, together: Barrier) -> None:
    """A worker of its own process: joins the study of the same rows, and is slow to ask for its first trials."""
    rows, enqueue = dataset(), optuna.Study.enqueue_trial

    def slow(study: optuna.Study, *what: Any, **how: Any) -> None:
        sleep(1)
        enqueue(study, *what, **how)

    optuna.Study.enqueue_trial = slow  # type: ignore[method-assign]
    together.wait(250)
    tune(settings, "ensemble", rows, FEW.model_copy(update={"n_trials": 8, "seed": seed}))


def test_processes_share_a_study(database: Settings, latest: Dataset) -> None:
    processes = fresh_processes()
    together = processes.Barrier(2)
    workers = [processes.Process(target=work, args=(database, seed, together)) for seed in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(250)
    assert [worker.exitcode for worker in workers] == [0, 0]
    done = [trial for trial in trials(database, names(database)[0]) if trial.state.is_finished()]
    assert 8 <= len(done) <= 9
    assert [bool(trial.user_attrs.get(IS_DEFAULT)) for trial in done].count(True) == 1
    assert len(names(database)) == 1


def killed_at_the_third(settings: Settings) -> None:
    """A process that is killed in the middle of a trial."""
    from cleverbetter_dagster.learning.ensemble import scorer

    calls = iter(range(100))
    blend = scorer.StackScorer._blend

    def deadly(*args: object) -> object:
        if next(calls) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return blend(*args)  # type: ignore[arg-type]

    scorer.StackScorer._blend = deadly  # type: ignore[assignment]
    tune(settings, "ensemble", dataset(), FEW.model_copy(update={"prune": False}))


def test_a_killed_study_goes_on(database: Settings, latest: Dataset) -> None:
    process = fresh_processes().Process(target=killed_at_the_third, args=(database,))
    process.start()
    process.join(250)
    assert process.exitcode == -signal.SIGKILL
    name = names(database)[0]
    assert [trial.state.name for trial in trials(database, name)] == ["COMPLETE", "COMPLETE", "RUNNING"]
    record = tune(database, "ensemble", latest, FEW).record
    assert (record.study, record.trials) == (name, 4)
    states = [trial.state.name for trial in trials(database, name)]
    assert states.count("RUNNING") == 1
    assert len(states) == 5


def test_a_killed_trial_is_tried_again(database: Settings, latest: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with study_storage(database) as storage:
        study = optuna.create_study(
            study_name=study_name("ensemble", latest, FEW), storage=storage, direction="maximize"
        )
        study.enqueue_trial({"max_depth": 7})
        stale = study.ask()
        stale.suggest_int("max_depth", 2, 8)
        storage.record_heartbeat(stale._trial_id)
    monkeypatch.setattr("cleverbetter_dagster.services.training.tune.GRACE_SECONDS", 1)
    sleep(2.1)
    tune(database, "ensemble", latest, FEW)
    stored = trials(database, study_name("ensemble", latest, FEW))
    assert stored[0].state.name == "FAIL"
    again = [trial for trial in stored if RetryHeartbeatStaleTrialCallback.retried_trial_number(trial) == 0]
    assert [trial.params["max_depth"] for trial in again] == [7]
