"""The process of one run on a worker: `python -m cleverbetter_dagster.store.workers.run_process RUN_ID`.

It holds the run's lease, so it may outlive its worker. It ends when somebody else ended the run meanwhile, and cancels
the run when that is asked for.
"""

import os
import signal
import sys

import dagster as dg
import psutil
from dagster._cli.api import _execute_run_command_body
from dagster._utils.interrupts import setup_interrupt_handlers

from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.store.workers.leases import held_lease


def main(run_id: str) -> int:
    """Execute a run of the Dagster instance of `DAGSTER_HOME`; the exit code."""
    setup_interrupt_handlers()  # SIGTERM cancels the run
    with dg.DagsterInstance.get() as instance:

        def look() -> None:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                _end_at_once()
            elif run.status == dg.DagsterRunStatus.CANCELING:
                os.kill(os.getpid(), signal.SIGTERM)

        with held_lease(load_settings(), run_id, look):
            return int(_execute_run_command_body(run_id, instance, _say_nothing, set_exit_code_on_failure=False) or 0)


def _say_nothing(_: object) -> None:
    """Dagster's events are in the database."""


def _end_at_once() -> None:
    """With the processes of its steps: nothing of what they do may be stored any more."""
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
