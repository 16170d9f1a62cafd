"""Wiring only: what Dagster loads. Reads the settings; opens no connection and no file."""

from typing import Any

import dagster as dg

from cleverbetter_dagster.defs.assets.champion import champion_assets
from cleverbetter_dagster.defs.assets.families import family_assets
from cleverbetter_dagster.defs.assets.judgement import model_comparison
from cleverbetter_dagster.defs.assets.monitoring import monitoring_assets
from cleverbetter_dagster.defs.assets.reports import report_assets
from cleverbetter_dagster.defs.assets.rows import row_assets
from cleverbetter_dagster.defs.assets.walk_forward import walk_forward_assets
from cleverbetter_dagster.defs.automation.alerts import alerts
from cleverbetter_dagster.defs.automation.failed_checks import failed_checks_sensor
from cleverbetter_dagster.defs.automation.heartbeat import heartbeat_sensor
from cleverbetter_dagster.defs.automation.new_rows import new_rows_sensor
from cleverbetter_dagster.defs.automation.schedules import schedules
from cleverbetter_dagster.defs.io_manager import ArtefactIOManager
from cleverbetter_dagster.defs.jobs import jobs
from cleverbetter_dagster.defs.partitions import monthly
from cleverbetter_dagster.defs.resources import Deployment, mlflow_run
from cleverbetter_dagster.defs.steps.executor import SIDE_BY_SIDE
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.settings import load_settings

settings = load_settings()
partitions = monthly(settings.first_month)

assets: list[Any] = [
    *row_assets(partitions),
    *(asset for family in FAMILIES.values() for asset in family_assets(family, partitions)),
    model_comparison(list(FAMILIES), partitions),
    *champion_assets(partitions),
    *walk_forward_assets(list(FAMILIES)),
    *monitoring_assets(partitions),
    *report_assets(list(FAMILIES), partitions),
]

training_jobs = jobs(partitions)

defs = dg.Definitions(
    assets=assets,
    jobs=training_jobs,
    schedules=schedules(list(FAMILIES), settings),
    sensors=[
        new_rows_sensor(list(FAMILIES), settings, training_jobs),
        failed_checks_sensor(settings),
        alerts,
        heartbeat_sensor(settings),
    ],
    resources={"io_manager": ArtefactIOManager(), "deployment": Deployment(), "mlflow": mlflow_run},
    executor=SIDE_BY_SIDE,
)
