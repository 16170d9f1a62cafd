"""The runs that `train`, `tune` and `backfill` launch: those of a training request, a part of them, or several joined.

Slow to import, because requests know every family; the commands import it inside their functions.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from cleverbetter_dagster.cli.models.launch import dagster_instance
from cleverbetter_dagster.defs.launches import ROLE_TAG, Launch, launches
from cleverbetter_dagster.defs.requests import TrainingRequest
from cleverbetter_dagster.errors import InvalidRequest, Problem
from cleverbetter_dagster.services.ingest.loading import months_with_rows, this_month
from cleverbetter_dagster.settings import Settings

TUNING = "tuning"
"""Role of a run that only searches: it is no training job of the REST API."""


def request_of(
    family: str, as_of: str | None, options: Sequence[str], trials: int | None, **fields: Any
) -> TrainingRequest:
    """The training request of a command line.

    Args:
        trials: of the search; None: as `fields` say, by default no search.
        fields: further fields of the request.

    Raises:
        InvalidRequest: names every wrong option, why it is wrong, and what to do.
    """
    values = {"model_type": family, "as_of": as_of, "config": parse_options(options), **fields}
    if trials is not None:
        values |= {"hyperparameter_search": True, "n_trials": trials}
    return TrainingRequest.parse(values)


def runs_of(settings: Settings, request: TrainingRequest, job_id: str) -> tuple[Launch, ...]:
    """The runs of a request in order, as the REST API queues them: rows never loaded first, then the training.

    Raises:
        InvalidRequest: there are no rows as of its month, or it is in the future.
    """
    months = months_with_rows(settings)
    request.month(months, this_month())
    with dagster_instance(settings) as instance:
        loaded = instance.get_materialized_partitions(dg.AssetKey("training_rows"))
    return launches(request, job_id, months, loaded, this_month())


def up_to_study(training: Launch, family: str) -> Launch:
    """The part of a training that ends with the study.

    Raises:
        InvalidRequest: it has options of later assets.
    """
    assets = tuple(asset for asset in training.assets if asset not in (f"{family}_model", f"{family}_evaluation"))
    ops = training.run_config["ops"]
    if stray := [name for asset, op in ops.items() if asset not in assets for name in op["config"]]:
        remedy = "leave it out, or give it to a training (`cleverbetter train --help`)"
        raise InvalidRequest([Problem(f"config.{name}", "is no option of a study", remedy) for name in stray])
    return replace(training, assets=assets, tags={**training.tags, ROLE_TAG: TUNING})


def joined(trainings: Sequence[Launch], more: Sequence[str] = ()) -> Launch:
    """The trainings of several families as of one month as one run, which loads and splits once.

    Args:
        trainings: at least one; of the same job, months and dataset options.
        more: assets to materialise after them.
    """
    assets = dict.fromkeys(asset for training in trainings for asset in training.assets)
    ops = {name: op for training in trainings for name, op in training.run_config["ops"].items()}
    return replace(trainings[0], assets=(*assets, *more), run_config={"ops": ops})


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Options by name, from texts such as `min_composite_score=0.5`.

    Raises:
        InvalidRequest: one has no value.
    """
    return dict(map(_option, options))


def _option(text: str) -> tuple[str, Any]:
    """Name and value; a value that is not JSON is a text.

    >>> _option("min_composite_score=0.5"), _option("decision_time=run_date")
    (('min_composite_score', 0.5), ('decision_time', 'run_date'))
    """
    name, mark, value = text.partition("=")
    if not mark:
        raise InvalidRequest([Problem(name or "--set", "has no value", "write it as --set option=value")])
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
