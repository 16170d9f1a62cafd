"""Who a data directory's server is: its recorded address, its processes, and whether it truly answers.

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
ROLE = "postgres"  # not the name of one of our schemas: the default search path begins with the role's name
DATABASE = "cleverbetter"


@dataclass(frozen=True)
class ServerAddress:
    """Where a running embedded server answers."""

    pid: int
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Of the database that holds everything; password included."""
        # sslmode is named because PGSSLMODE=require in somebody's environment would lock us out.
        return f"postgresql://{ROLE}:{self.password}@{HOST}:{self.port}/{DATABASE}?sslmode=disable"

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        """An autocommit connection of the owner of everything."""
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
    """The address that the folder's files claim, true or stale; None where they are missing or unfinished."""
    try:
        lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
        return ServerAddress(pid=int(lines[0]), port=int(lines[3]), password=(folder / "password").read_text().strip())
    except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
        return None


def trouble_at(address: ServerAddress, folder: Path, database: str) -> str | None:
    """Why the server of `folder` cannot be used at `address`; None where it can.

    That it accepts the password is not enough: a copied folder has the original's password and pid file.
    """
    if live_postmaster(folder) is None:
        return f"process {address.pid} does not serve {folder / 'data'}"
    try:
        address.connect(database).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return None


def live_postmaster(folder: Path) -> psutil.Process | None:
    """The folder's postmaster; the recorded pid may be stale, or by now be another process's."""
    data = folder / "data"
    pid = _recorded_pid(data)
    try:
        process = psutil.Process(pid) if pid else None
    except psutil.NoSuchProcess:
        return None
    return process if process and _works_in(process, data) else None


def end_server_processes(folder: Path) -> None:
    """End the children that a killed postmaster left: they hold its shared memory, and serve nobody."""
    orphans = [process for process in psutil.process_iter() if _works_in(process, folder / "data")]
    for stop in (signal.SIGQUIT, signal.SIGKILL):
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(stop)
        orphans = wait_until_gone(orphans, folder, timeout_seconds=5)


def wait_until_gone(processes: list[psutil.Process], folder: Path, timeout_seconds: float) -> list[psutil.Process]:
    """Wait for server processes to end; those that have not. An unreaped zombie counts as gone."""
    deadline = time.monotonic() + timeout_seconds
    while remaining := [process for process in processes if _works_in(process, folder / "data")]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return remaining


def _works_in(process: psutil.Process, data: Path) -> bool:
    """Whether a process is a PostgreSQL one over `data`: every one of them makes it its working directory."""
    try:
        if process.name() != "postgres":
            return False
        return os.path.realpath(process.cwd()) == os.path.realpath(data)
    except psutil.NoSuchProcess:  # also a zombie
        return False
    except psutil.AccessDenied:
        # Another user's: better to take it for the recorded server than to start a second one.
        return process.pid == _recorded_pid(data)


def _recorded_pid(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
        return None
