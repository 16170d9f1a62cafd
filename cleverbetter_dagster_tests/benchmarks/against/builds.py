"""The builds that `bench_against` compares: how their commands are run, and what those cost."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO, Any

from cleverbetter_dagster_tests.benchmarks.against import work

COMMAND = "from cleverbetter_dagster.cli.main import main; main()"


@dataclass(frozen=True)
class Cost:
    """What one piece of work took: seconds, CPU seconds of all its processes, and MB of the largest."""

    wall: float
    cpu: float
    peak_mb: float


@dataclass(frozen=True)
class Build:
    """One of the builds: its name and the folder with its packages."""

    name: str
    tree: Path

    def command(self, *arguments: str) -> list[str]:
        """A `cleverbetter` command of this build."""
        return [sys.executable, "-c", COMMAND, *arguments]

    def work(self, name: str, *arguments: str) -> list[str]:
        """A function of `against.work`, run with the packages of this build."""
        return [sys.executable, work.__file__, name, *arguments]

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """The variables of a process of this build in a home."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLEVERBETTER_", "DAGSTER_"))}
        kept.pop("DATABASE_URL", None)
        return {**kept, "PYTHONPATH": str(self.tree), "DAGSTER_HOME": str(home), **more}

    def run(self, command: Sequence[str], home: Path) -> tuple[Cost, dict[str, Any]]:
        """Run a command in a home until the last of its processes has ended, the database's included.

        Returns:
            Its cost, and the JSON it printed.

        Raises:
            CalledProcessError: it failed.
        """
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
        with tempfile.TemporaryFile("w+") as output:  # no pipe: the database's server keeps it open
            usage = self._ended(command, home, output)
            wall, stopping = perf_counter() - started, self._ended(self.command("down"), home, output=None)
            peak = max(usage.ru_maxrss, reap())
            output.seek(0)
            printed = output.read()
        cpu = _cpu(resource.getrusage(resource.RUSAGE_CHILDREN)) - _cpu(before) - _cpu(stopping)
        return Cost(wall, cpu, peak / 1024), json.loads(printed) if printed.startswith("{") else {}

    def _ended(self, command: Sequence[str], home: Path, output: IO[str] | None) -> resource.struct_rusage:
        """Run a command to its end; what it and those it waited for took."""
        process = subprocess.Popen(
            command,
            cwd=home,
            env=self.environment(home),
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return usage


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def reap() -> int:
    """Wait for every process that is left; KB of the largest."""
    peak = 0
    while True:
        try:
            _, _, usage = os.wait3(0)
        except ChildProcessError:
            return peak
        peak = max(peak, usage.ru_maxrss)
