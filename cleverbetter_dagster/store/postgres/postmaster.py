"""The server of a data directory: its recorded address, its processes, and whether it really answers.

Nothing here starts a server. `folder` is the embedded server's folder, as in `embedded.py`.
"""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

HOST = "127.0.0.1"
ROLE = "postgres"  # no name of our schemas: the default search path begins with the role's name
DATABASE = "cleverbetter"

_UNREADABLE = (FileNotFoundError, NotADirectoryError, IndexError, ValueError)


@dataclass(frozen=True)
class ServerAddress:
    """The address of a running embedded server."""

    pid: int
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """The URL of the database, with the password."""
        # sslmode is given because PGSSLMODE=require in the environment would make connecting impossible.
        return f"postgresql://{ROLE}:{self.password}@{HOST}:{self.port}/{DATABASE}?sslmode=disable"

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        """An autocommit connection of the superuser."""
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=ROLE,
            password=self.password,
            dbname=database,
            sslmode="disable",
            connect_timeout=5,
            autocommit=True,
        )


def recorded_address(folder: Path) -> ServerAddress | None:
    """The address in the folder's files, which may be stale; None if they are missing or incomplete."""
    with suppress(*_UNREADABLE):
        lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
        return ServerAddress(pid=int(lines[0]), port=int(lines[3]), password=(folder / "password").read_text().strip())
    return None


def problem_at(address: ServerAddress, folder: Path, database: str) -> str | None:
    """Why the server of `folder` cannot be used at `address`; None if it can.

    A server that accepts the password is not enough: a copied folder has the original's password and pid file.
    """
    if live_postmaster(folder) is None:
        return f"process {address.pid} does not serve {folder / 'data'}"
    try:
        address.connect(database).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return None


def last_port(folder: Path) -> int:
    """The port that the server of a folder had when it last answered; 0 if it never did."""
    try:
        return int((folder / "port").read_text())
    except (FileNotFoundError, ValueError):
        return 0


def live_postmaster(folder: Path) -> psutil.Process | None:
    """The folder's postmaster. The recorded pid may be stale, or belong to another process now."""
    data = folder / "data"
    pid = _recorded_pid(data)
    try:
        process = psutil.Process(pid) if pid else None
    except psutil.NoSuchProcess:
        return None
    return process if process and _works_in(process, data) else None


def end_server_processes(folder: Path) -> None:
    """End the children of a killed postmaster: they still hold its shared memory."""
    orphans = [process for process in psutil.process_iter() if _works_in(process, folder / "data")]
    for stop in (signal.SIGQUIT, signal.SIGKILL):
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(stop)
        orphans = wait_until_gone(orphans, folder, timeout_seconds=5)


def wait_until_gone(processes: list[psutil.Process], folder: Path, timeout_seconds: float) -> list[psutil.Process]:
    """Wait for server processes to end. Returns those that have not; an unreaped zombie counts as gone."""
    deadline = time.monotonic() + timeout_seconds
    while remaining := [process for process in processes if _works_in(process, folder / "data")]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return remaining


def _works_in(process: psutil.Process, data: Path) -> bool:
    """True if it is a PostgreSQL process of `data`, which is the working directory of all of them."""
    try:
        if process.name() != "postgres":
            return False
        return os.path.realpath(process.cwd()) == os.path.realpath(data)
    except psutil.NoSuchProcess:  # also a zombie
        return False
    except psutil.AccessDenied:
        # Another user's process: it counts as the recorded server, so that no second one is started.
        return process.pid == _recorded_pid(data)


def _recorded_pid(data: Path) -> int | None:
    with suppress(*_UNREADABLE):
        return int((data / "postmaster.pid").read_text().split()[0])
    return None
