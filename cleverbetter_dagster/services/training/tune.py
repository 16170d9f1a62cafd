"""The parameters to train with: an Optuna study in PostgreSQL for each family and as_of, and its pictures."""

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cleverbetter_dagster.errors import DatabaseUnavailable
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.charts.study import history_chart, parameter_chart
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.scoring import HIGHER_IS_BETTER, StudySpec
from cleverbetter_dagster.learning.tuning.study import (
    OnProgress,
    StudyContext,
    StudyResult,
    is_complete,
    judged_trials,
    run_study,
)
from cleverbetter_dagster.services.records import StudyRecord
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import database_url, locked

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.study import Study

HEARTBEAT_SECONDS, GRACE_SECONDS = 20, 60
"""A killed trial is noticed by the next one that starts after the grace period, and tried again once."""

WARM_SETTINGS = 3
"""Best settings of the earlier study that a later one begins with."""

SCORING = 1
"""Raise it when trials are scored differently: values of two ways of scoring do not belong in one study."""

FAMILY, AS_OF, DATA_HASH, METRIC = "family", "as_of", "data_hash", "metric"
WARM_FROM, EARLIER_TRIALS = "warm_started_from", "earlier_trials"


@dataclass(frozen=True)
class TunedParams:
    """A study's outcome: its record, and PNGs by name; none without a search."""

    record: StudyRecord
    pictures: dict[str, bytes]


class WarmStart(NamedTuple):
    """An earlier study, the settings judged in it and in those before it, and its best ones, to be tried first."""

    study: str | None = None
    trials: int = 0
    first: tuple[dict[str, Any], ...] = ()


def tune(
    settings: Settings, family_name: str, dataset: Dataset, spec: StudySpec, on_progress: OnProgress | None = None
) -> TunedParams:
    """The parameters to train with, judged on temporal folds of train and validation; test rows are not read.

    A study of more than the defaults is kept in PostgreSQL and goes on where it stopped. Its first trials are the
    best of the family's newest earlier as_of, if there is one.

    Raises:
        DatabaseUnavailable: the study's storage failed; trying again later continues the study.
        CleverBetterError: as `run_study` and `psycopg_connect`.
    """
    family, examples = get_family(family_name), dataset.parts.past
    name = study_name(family_name, dataset, spec)
    if not spec.n_trials:
        result = run_study(family, examples, spec, StudyContext(name))
        return TunedParams(_record(family_name, dataset, spec, result), {})
    with study_storage(settings) as storage:
        start = _first_start(storage, name, spec) or warm_start(storage, family_name, dataset.record.as_of, spec)
        attributes = {
            FAMILY: family_name,
            AS_OF: dataset.record.as_of,
            DATA_HASH: dataset.record.data_hash,
            METRIC: spec.metric,
            WARM_FROM: start.study,
            EARLIER_TRIALS: start.trials,
        }
        # Two workers that find the study empty would both ask for the defaults.
        alone = locked(settings, "optuna", f"study {name}")
        context = StudyContext(name, storage, attributes, start.first, alone)
        result = run_study(family, examples, spec, context, on_progress)
    record = _record(family_name, dataset, spec, result)
    stored = {"study": name, "warm_started_from": start.study, "earlier_trials": start.trials}
    return TunedParams(record.model_copy(update=stored), _pictures(record, result))


def study_name(family_name: str, dataset: Dataset, spec: StudySpec) -> str:
    """`<family> <as_of> <hash>`: the hash is of the rows, the split, and all that makes values comparable.

    Changed rows therefore start a study of their own; the old one stays in the storage.
    """
    shared = spec.model_dump(mode="json", include={"metric", "n_folds", "embargo_days", "space", "params"})
    content = [SCORING, dataset.record.data_hash, dataset.record.spec.model_dump(mode="json"), shared]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{family_name} {dataset.record.as_of} {digest[:8]}"


@contextmanager
def study_storage(settings: Settings) -> Iterator["RDBStorage"]:
    """Optuna's storage in PostgreSQL. A running trial has a heartbeat, so that a killed one is noticed.

    It does not wait until a commit has reached the disk: a trial that a crash of the server undoes runs again.

    Raises:
        DatabaseUnavailable: the storage failed inside the block.
        CleverBetterError: as `psycopg_connect`.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # `on_progress` reports instead
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Two processes that create Optuna's tables at once would fail.
        with locked(settings, "optuna", "optuna tables"):
            storage = optuna.storages.RDBStorage(
                database_url(settings, "optuna", wait_for_disk=False),
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=1),
            )
    try:
        yield storage
    except optuna.exceptions.StorageInternalError as error:
        raise DatabaseUnavailable(
            f"Optuna's storage failed: {error}. Check the database; the study goes on where it stopped."
        ) from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def warm_start(storage: "BaseStorage", family_name: str, as_of: str, spec: StudySpec) -> WarmStart:
    """A start from the family's newest study of a month before `as_of` with the same metric.

    A later study was judged on outcomes not known by then. Months are compared as texts.
    """
    import optuna

    if not spec.n_trials_warm:
        return WarmStart()
    names = [name.split(" ") for name in optuna.get_all_study_names(storage)]
    earlier = sorted(parts for parts in names if len(parts) == 3 and parts[0] == family_name and parts[1] < as_of)
    for parts in reversed(earlier):
        study = optuna.load_study(study_name=" ".join(parts), storage=storage)
        if study.user_attrs.get(METRIC) == spec.metric and (best := _best_settings(study, spec)):
            trials = len(judged_trials(study)) + study.user_attrs.get(EARLIER_TRIALS, 0)
            return WarmStart(study.study_name, trials, best)
    return WarmStart()


def _first_start(storage: "BaseStorage", name: str, spec: StudySpec) -> WarmStart | None:
    """What an existing study started from, whatever was studied since; None if it is new."""
    import optuna

    known = name in optuna.get_all_study_names(storage)
    attributes = optuna.load_study(study_name=name, storage=storage).user_attrs if known else {}
    if EARLIER_TRIALS not in attributes:
        return None
    source = attributes.get(WARM_FROM)
    first: tuple[dict[str, Any], ...] = ()
    if source and spec.n_trials_warm:
        first = _best_settings(optuna.load_study(study_name=source, storage=storage), spec)
    return WarmStart(source, attributes[EARLIER_TRIALS], first)


def _best_settings(study: "Study", spec: StudySpec) -> tuple[dict[str, Any], ...]:
    complete = [trial for trial in judged_trials(study) if is_complete(trial)]
    best = sorted(complete, key=lambda trial: trial.value or 0.0, reverse=spec.maximises)
    return tuple(trial.params for trial in best[:WARM_SETTINGS])


def _record(family_name: str, dataset: Dataset, spec: StudySpec, result: StudyResult) -> StudyRecord:
    return StudyRecord(
        family=family_name,
        as_of=dataset.record.as_of,
        params=result.params,
        mean_auc=result.scores.mean("auc"),
        default_auc=result.default_scores.mean("auc"),
        trials=result.trials,
        seed=spec.seed,
        pruned=result.pruned,
        metric=spec.metric,
        value=result.scores.mean(spec.metric),
        default_value=result.default_scores.mean(spec.metric),
        train_auc=result.scores.mean("train_auc"),
        edges=dict(result.edges),
    )


def _pictures(record: StudyRecord, result: StudyResult) -> dict[str, bytes]:
    maximise = record.metric in HIGHER_IS_BETTER
    charts = {
        "optimisation history": history_chart(
            result.history, record.default_value or 0.0, record.metric, maximise=maximise
        )
    }
    if result.importances:
        charts["parameter importances"] = parameter_chart(result.importances, record.metric)
    return {name: png(chart) for name, chart in charts.items()}
