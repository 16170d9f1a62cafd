"""The executors of runs, and the server that steps are forked from."""

from multiprocessing import forkserver

import dagster as dg

STEP_IMPORTS = [
    "dagster._core.executor.multiprocess",  # first, as Dagster itself has it
    "cleverbetter_dagster.definitions",
    "cleverbetter_dagster.cli.models.launch",  # where a command's runs find their job
    "cleverbetter_dagster.store.dagster_storage",
    "cleverbetter_dagster.store.postgres.dialect",
    "clarabel",
    "dagster_mlflow.resources",
    "lightgbm",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "optuna.storages._rdb.models",
    "sklearn.ensemble",
    "stable_baselines3",
    "torch._dynamo",  # by torch's optimisers
    "cleverbetter_dagster.defs.steps.warm",  # last
]
"""What steps import. The server imports it once, and the steps share its memory; alone, each would take 3 to 5 s."""

STEPS_AT_ONCE = 2

SIDE_BY_SIDE = dg.multiprocess_executor.configured(
    {"max_concurrent": STEPS_AT_ONCE, "start_method": {"forkserver": {"preload_modules": STEP_IMPORTS}}}
)
"""`STEPS_AT_ONCE` steps, each in a process of its own."""

IN_RUN_PROCESS = dg.in_process_executor
"""For runs of one step: it shares the run's process, so there is no server to wait for."""


def start_server() -> None:
    """Let the server import while this process does other things. It keeps the environment it is started with.

    A server that runs already stays as it is.
    """
    forkserver.set_forkserver_preload(STEP_IMPORTS)
    forkserver.ensure_running()
