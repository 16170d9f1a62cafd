"""The last import of the server that steps are forked from: does once what else each step does at its start."""

import gc

from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches
from sqlalchemy.orm import configure_mappers

from cleverbetter_dagster.settings import load_settings

configure_mappers()  # of the tables of MLflow, Optuna and Dagster
load_settings()  # pydantic compares the settings' types with every model class there is, once a type
warn_dependency_requirement_mismatches(["mlflow"])  # MLflow lists the modules of all packages, once a process
gc.collect()
gc.freeze()  # the collector leaves alone what is shared, so it stays shared
