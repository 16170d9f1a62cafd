"""A code location for the real daemon: the real sensor and loading of rows, and trainings that only take time.

Runs use the lanes and pools of the real jobs. They write what they do, and when, into `spans.txt` in DAGSTER_HOME. The
file `asked.json` there lists runs to request. If the file `kill` is there, the daemon is killed at the next request of
`new_rows`.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from cleverbetter_dagster.defs.assets.config import SplitConfig
from cleverbetter_dagster.defs.assets.rows import training_rows
from cleverbetter_dagster.defs.automation import new_rows
from cleverbetter_dagster.defs.io_manager import ArtefactIOManager
from cleverbetter_dagster.defs.jobs import INCREMENTAL, PREDICT, PREDICTION_LANE, RETRAIN, TRAINING_LANE
from cleverbetter_dagster.defs.partitions import by_month, monthly
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.settings import load_settings

POOL, SINGLE, TUNING_SECONDS = "ensemble_training", "single", "TUNING_SECONDS"

settings = load_settings()
partitions = monthly(settings.first_month)


@contextmanager
def _span(name: str) -> Iterator[None]:
    for edge in ("begin", "end"):
        with (settings.home / "spans.txt").open("a") as file:
            file.write(f"{time.time()} {edge} {name}\n")
        if edge == "begin":
            yield


@dg.asset(**by_month(partitions), deps=["training_rows"])
def temporal_split(config: SplitConfig) -> None:
    """Splits nothing."""


@dg.asset(**by_month(partitions), deps=[temporal_split], pool=POOL)
def ensemble_model(context: dg.AssetExecutionContext) -> None:
    """A family's long training."""
    with _span(f"train {context.run_id}"):
        time.sleep(float(os.environ.get(TUNING_SECONDS, "0")))


@dg.asset(**by_month(partitions), deps=[ensemble_model])
def champion() -> None:
    """Promotes nothing."""


@dg.asset(**by_month(partitions))
def strategy_predictions(context: dg.AssetExecutionContext) -> None:
    """Predicts nothing."""
    with _span(f"predict {context.run_id}"):
        pass


def _job(name: str, assets: list[str], lane: dict[str, str]) -> Any:
    selection = dg.AssetSelection.assets(*assets)
    return dg.define_asset_job(
        name, selection, partitions_def=partitions, tags=lane, executor_def=dg.in_process_executor
    )


TRAINING = ["training_rows", "temporal_split", "ensemble_model", "champion"]
JOBS = [
    _job(RETRAIN, TRAINING, TRAINING_LANE),
    _job(INCREMENTAL, TRAINING, TRAINING_LANE),
    _job(PREDICT, ["strategy_predictions"], PREDICTION_LANE),
    _job(SINGLE, ["ensemble_model"], {}),  # as a backfill of one asset: in no lane
]


@dg.sensor(jobs=JOBS, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def asked() -> dg.SensorResult:
    """Requests what `asked.json` lists: names of jobs."""
    path = settings.home / "asked.json"
    names = json.loads(path.read_text()) if path.exists() else []
    month = partitions.get_first_partition_key()
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{number} {name}", job_name=name, partition_key=month)
            for number, name in enumerate(names)
        ]
    )


def _request_or_be_killed(*arguments: Any) -> dg.RunRequest:
    order = settings.home / "kill"
    if order.exists():
        order.unlink()
        os.kill(os.getppid(), signal.SIGKILL)  # the daemon started this server
        time.sleep(60)
    return _request(*arguments)


_request = new_rows._request
new_rows._request = _request_or_be_killed

defs = dg.Definitions(
    assets=[training_rows(partitions), temporal_split, ensemble_model, champion, strategy_predictions],
    jobs=JOBS,
    sensors=[asked, new_rows.new_rows_sensor(["ensemble"], settings, JOBS)],
    resources={"io_manager": ArtefactIOManager(), "deployment": Deployment()},
)
