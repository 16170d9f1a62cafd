"""What `cleverbetter up` started: the record it leaves for `down`, `status` and the page, and the processes themselves.

Every process that `up` starts, and whatever that starts in turn, carries `up`'s token in its environment. By it
they are found again, even when `up` was killed and their parents are gone; a pid alone may by now be anybody's.
"""

import json
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

from cleverbetter_dagster.settings import UP_TOKEN, Settings

STOP_TIMEOUT_SECONDS = 20.0
CLOCK_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True)
class ProcessRecord:
    """A process, told apart from a later one of the same pid by when it was created (Unix seconds).

    Attributes:
        restarts: how often `up` started it again, after it had ended by itself.
        given_up: whether it ended once more and `up` tries no longer.
    """

    name: str
    pid: int
    created: float
    url: str | None = None
    restarts: int = 0
    given_up: bool = False

    @classmethod
    def of(cls, name: str, pid: int, url: str | None = None) -> "ProcessRecord":
        return cls(name, pid, psutil.Process(pid).create_time(), url)

    @property
    def state(self) -> Literal["up", "down", "given up"]:
        """`given up` if it ended, was started again as often as `up` tries, and ended once more."""
        if self.given_up:
            return "given up"
        return "up" if self.process() else "down"

    def process(self) -> psutil.Process | None:
        """The process, while it lives."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < CLOCK_TOLERANCE_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True)
class UpRecord:
    """One `cleverbetter up`: itself, its token, and its services once each of them answered."""

    up: ProcessRecord
    token: str
    ready: bool
    services: tuple[ProcessRecord, ...]

    def write(self, path: Path) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=1))
        fresh.replace(path)


def record_path(settings: Settings) -> Path:
    return settings.state_folder / "up.json"


def read_record(path: Path) -> UpRecord | None:
    """The record, of living or dead processes; None where there is none."""
    try:
        record = json.loads(path.read_text())
        services = tuple(ProcessRecord(**service) for service in record["services"])
        return UpRecord(ProcessRecord(**record["up"]), record["token"], record["ready"], services)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):  # missing, or not ours
        return None


def states_of_services(settings: Settings) -> dict[str, str]:
    """Of the processes that a living `cleverbetter up` started: `ok`, or what is the matter. Empty without one."""
    record = read_record(record_path(settings))
    if record is None or record.up.process() is None:
        return {}
    return {f"process {service.name}": _words(service) for service in record.services}


def again(restarts: int) -> str:
    """How often something was started again.

    >>> again(1)
    'started again 1 time'
    """
    return f"started again {restarts} time{'' if restarts == 1 else 's'}"


def processes_of(token: str) -> list[psutil.Process]:
    """Every living process that carries the token, PostgreSQL's left out: it serves others as well."""
    return [process for process in psutil.process_iter() if _carries(process, token)]


def stop_processes(token: str, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> int:
    """Ask every process of the token to end, and kill those that do not within the time; how many there were."""
    signalled: set[int] = set()
    deadline = time.monotonic() + timeout_seconds
    while remaining := processes_of(token):
        late = time.monotonic() > deadline
        for process in remaining:
            if late or process.pid not in signalled:
                signalled.add(process.pid)
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.1)
    return len(signalled)


def _words(service: ProcessRecord) -> str:
    if service.state == "up" and not service.restarts:
        return "ok"
    return f"{service.state}, {again(service.restarts)}"


def _carries(process: psutil.Process, token: str) -> bool:
    try:
        return process.name() != "postgres" and process.environ().get(UP_TOKEN) == token
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # gone, a zombie, or somebody else's
        return False
