"""The Dagster runs of a training request: their jobs, assets, months, tags and configuration.

Nothing is launched here. The command line executes the runs, the REST API queues them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cleverbetter_dagster.dataset.as_of import month_keys
from cleverbetter_dagster.defs.assets.walk_forward import IF_POSSIBLE_TAG
from cleverbetter_dagster.defs.jobs import INCREMENTAL, LOAD_ROWS, RETRAIN, WALK_FORWARD
from cleverbetter_dagster.defs.requests import TrainingRequest
from cleverbetter_dagster.store.unfinished_runs import FAMILY_TAG, RANGE_END_TAG, RANGE_START_TAG
from cleverbetter_dagster.store.workers.queue import JOB_ID_TAG

AS_OF_TAG, ROLE_TAG = "cleverbetter/as_of", "cleverbetter/role"
TRAINING, ROWS = "training", "rows"
PRIORITY_TAG = "dagster/priority"


@dataclass(frozen=True)
class Launch:
    """One run to launch.

    Attributes:
        assets: those of the job to materialise.
        months: first and last, `YYYY-MM`; empty if the assets have no partitions.
        tags: with those for the range of months.
    """

    job: str
    assets: tuple[str, ...]
    months: tuple[str, ...]
    tags: Mapping[str, str]
    run_config: Mapping[str, Any]


def launches(
    request: TrainingRequest, job_id: str, months: Collection[str], loaded: Collection[str], this_month: str
) -> tuple[Launch, ...]:
    """The runs of a request, in order: one that loads months never loaded, if there are any, then the training.

    Args:
        job_id: made by `job_id`.
        months: the months with rows, `YYYY-MM`.
        loaded: the months whose partition of `training_rows` is materialised.
        this_month: as for `TrainingRequest.month`.

    Raises:
        InvalidRequest: as `TrainingRequest.month`.
    """
    as_of, family = request.month(months, this_month), request.model_type
    incremental = request.training == "incremental"
    study = () if incremental else (f"{family}_study",)
    shared = {JOB_ID_TAG: job_id, FAMILY_TAG: family, AS_OF_TAG: as_of}
    training = Launch(
        job=INCREMENTAL if incremental else RETRAIN,
        assets=("training_rows", "temporal_split", *study, f"{family}_model", f"{family}_evaluation"),
        months=(as_of, as_of),
        tags={**shared, ROLE_TAG: TRAINING, **range_tags(as_of, as_of)},
        run_config=request.run_config(),
    )
    # The training itself loads the month it trains as of.
    missing = [month for month in month_keys(min(months), as_of)[:-1] if month not in loaded]
    if not missing:
        return (training,)
    first, last = missing[0], missing[-1]
    rows_tags = {**shared, ROLE_TAG: ROWS, PRIORITY_TAG: "1", **range_tags(first, last)}
    return Launch(LOAD_ROWS, ("training_rows",), (first, last), rows_tags, {}), training


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags that tell Dagster the months of a run, both ends included."""
    return {RANGE_START_TAG: first, RANGE_END_TAG: last}


def walk_forward() -> Launch:
    """The run that makes the walk-forward report, if there is anything to judge."""
    return Launch(WALK_FORWARD, (), (), {IF_POSSIBLE_TAG: "true"}, {})


def job_id(family: str, unix_seconds: float) -> str:
    """The id of a request made at that time.

    >>> job_id("ensemble", 1234567890.1234)
    'train_ensemble_1234567890.123'
    """
    return f"train_{family}_{unix_seconds:.3f}"
