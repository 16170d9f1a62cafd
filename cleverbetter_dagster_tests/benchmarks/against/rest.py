"""What `cleverbetter up` costs while nothing happens."""

import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from time import perf_counter

import psutil

from cleverbetter_dagster_tests.benchmarks.against.builds import Build, Cost, reap

PAGES = {"DAGSTER": "/server_info", "MLFLOW": "/health", "API": "/api/v1/health"}
"""Of each service a page that answers without a token, by the name of its port in the settings."""

ANSWER_SECONDS = 300
SETTLE_SECONDS = 30
"""Until what starting brought has ended: imports, first ticks of all sensors."""


def at_rest(build: Build, home: Path, seconds: float) -> Cost:
    """Start a build's services in an empty home and watch them.

    Returns:
        Seconds until every page has answered; per cent of a core, and MB of memory, of all processes with the
        database's, over the seconds watched. Memory that processes share counts once.

    Raises:
        TimeoutError: a page did not answer in time.
    """
    ports = {name: _free_port() for name in PAGES}
    variables = {f"CLEVERBETTER_{name}_PORT": str(port) for name, port in ports.items()}
    with (home / "up.log").open("w") as log:
        started = perf_counter()
        process = subprocess.Popen(
            build.command("up"), cwd=home, env=build.environment(home, **variables), stdout=log, stderr=log
        )
        try:
            for name, page in PAGES.items():
                _await_answer(f"http://127.0.0.1:{ports[name]}{page}", started + ANSWER_SECONDS)
            answered = perf_counter() - started
            time.sleep(SETTLE_SECONDS)
            before = _cpu_seconds()
            time.sleep(seconds)
            share = (_cpu_seconds() - before) / seconds
            memory = sum(one.memory_full_info().pss for one in _processes())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            subprocess.run(build.command("down"), env=build.environment(home), stdout=log, stderr=log, check=False)
            reap()
    return Cost(answered, 100 * share, memory / 1024**2)


def _processes() -> list[psutil.Process]:
    """All descendants of this process, which adopts those whose parent ended."""
    return psutil.Process().children(recursive=True)


def _cpu_seconds() -> float:
    """Of all descendants, with those that ended."""
    alive = sum(sum(one.cpu_times()) for one in _processes())  # with children_user and children_system
    own = psutil.Process().cpu_times()
    return alive + own.children_user + own.children_system


def _await_answer(url: str, deadline: float) -> None:
    while perf_counter() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer in {ANSWER_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
