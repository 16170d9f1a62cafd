"""What fitting an ensemble takes alone and beside another, as the package sets OpenMP's threads and as GNU does.

    python -m cleverbetter_dagster_tests.benchmarks.bench_side_by_side

Trainings share the cores wherever a run has several families, or two runs are at work. Every fit is in a process of its
own, with as many threads as there are cores; the time is that of the fit alone, the slowest of those side by side.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from time import perf_counter

from rich.console import Console
from rich.table import Table

SPIN = "GOMP_SPINCOUNT"
GNU_DEFAULT = "300000"
WORTH_FITTING = 300
"""Strategies simulated."""


def fit() -> float:
    """Seconds that one ensemble takes in this process, once everything is loaded."""
    from cleverbetter_dagster.learning.catalogue import FAMILIES
    from cleverbetter_dagster_tests.learning.conftest import backtest_rows, partition_of

    family, parts = FAMILIES["ensemble"], partition_of(backtest_rows(WORTH_FITTING))
    threads = os.cpu_count() or 1
    family.fit(parts.train, parts.validation, family.default_params(), 0, threads)
    started = perf_counter()
    family.fit(parts.train, parts.validation, family.default_params(), 0, threads)
    return perf_counter() - started


def side_by_side(processes: int, spin: str | None) -> float:
    """Seconds of the slowest of so many fits at once; `spin` None leaves the threads to the package."""
    environment = {name: value for name, value in os.environ.items() if name not in (SPIN, "OMP_WAIT_POLICY")}
    if spin:
        environment[SPIN] = spin
    command = [sys.executable, "-m", __spec__.name, "--one"]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return max(float(process.communicate()[0]) for process in started)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit once, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", action="store_true", help="fit one ensemble and print the seconds")
    if parser.parse_args(arguments).one:
        print(fit())
        return
    table = Table(title="Seconds", title_justify="left")
    for heading in ("threads", "alone", "two side by side", "ratio"):
        table.add_column(heading, justify="right" if heading != "threads" else "left")
    for name, spin in (("as the package sets them", None), ("GNU's default", GNU_DEFAULT)):
        alone, together = side_by_side(1, spin), side_by_side(2, spin)
        table.add_row(name, f"{alone:.2f}", f"{together:.2f}", f"{together / alone:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
