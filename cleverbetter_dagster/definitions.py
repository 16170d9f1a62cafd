"""Wiring only: what Dagster loads. Reads the settings; opens no connection and no file."""

from typing import Any

import dagster as dg

from cleverbetter_dagster.defs.alerts import alerts
from cleverbetter_dagster.defs.champion import champion_assets
from cleverbetter_dagster.defs.families import family_assets
from cleverbetter_dagster.defs.io_manager import ArtefactIOManager
from cleverbetter_dagster.defs.jobs import EXECUTOR, jobs
from cleverbetter_dagster.defs.partitions import monthly
from cleverbetter_dagster.defs.reports import report_assets
from cleverbetter_dagster.defs.resources import Deployment, mlflow_run
from cleverbetter_dagster.defs.rows import row_assets
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.settings import load_settings

partitions = monthly(load_settings().first_month)

assets: list[Any] = [
    *row_assets(partitions),
    *(asset for family in FAMILIES.values() for asset in family_assets(family, partitions)),
    *champion_assets(list(FAMILIES), partitions),
    *report_assets(list(FAMILIES), partitions),
]

defs = dg.Definitions(
    assets=assets,
    jobs=jobs(partitions),
    sensors=[alerts],
    resources={"io_manager": ArtefactIOManager(), "deployment": Deployment(), "mlflow": mlflow_run},
    executor=EXECUTOR,
)
