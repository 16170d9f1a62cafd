"""Steps find in the server they are forked from what they import, and runs of one step need no server."""

import subprocess
import sys
from importlib.util import find_spec

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.jobs import ONE_STEP
from cleverbetter_dagster.defs.steps.executor import STEP_IMPORTS

FORKED = """
import gc, os, sys
for name in {names}:
    __import__(name)
kept = gc.get_freeze_count()
from cleverbetter_dagster.settings import load_settings
if not os.fork():
    imported = set(sys.modules)
    from cleverbetter_dagster.definitions import defs
    from mlflow import MlflowClient
    from optuna.storages import RDBStorage
    from stable_baselines3 import PPO
    import torch
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    sys.exit(len(set(sys.modules) - imported) > {most} or not kept)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_every_import_of_steps_can_be_found() -> None:
    assert [name for name in STEP_IMPORTS if find_spec(name) is None] == []  # the server leaves out what it cannot find


def test_a_forked_step_imports_nothing_heavy() -> None:
    subprocess.run([sys.executable, "-c", FORKED.format(names=STEP_IMPORTS, most=20)], check=True, timeout=120)


def test_jobs_of_one_step_run_it_in_their_process() -> None:
    executors = {job.name: job.executor_def.name for job in defs.resolve_all_job_defs() if job.name != "__ASSET_JOB"}
    assert {name for name, executor in executors.items() if executor == "in_process"} == ONE_STEP
    assert all(len(defs.resolve_job_def(name).asset_layer.executable_asset_keys) == 1 for name in ONE_STEP)
