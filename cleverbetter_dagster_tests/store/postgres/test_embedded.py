"""The embedded server, on a real server: starting, stopping, crashes, users."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import psycopg
import pytest

from cleverbetter_dagster.errors import EmbeddedServerError
from cleverbetter_dagster.store.postgres import programs
from cleverbetter_dagster.store.postgres.embedded import (
    ensure_server,
    running_server,
    stop_server,
)
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress, live_postmaster
from cleverbetter_dagster.store.postgres.programs import MAJOR_VERSION, NOBODY, postgres_program

START = "import sys, pathlib; from cleverbetter_dagster.store.postgres.embedded import ensure_server; "
START += "print(ensure_server(pathlib.Path(sys.argv[1])).pid)"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
open_to_others = pytest.mark.skipif(
    not all(folder.stat().st_mode & stat.S_IXOTH for folder in postgres_program("initdb").parents),
    reason="this environment lies in a folder closed to other users, who cannot run its programs",
)


@pytest.fixture
def folder(stopped_server: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of a server that has run before and is down."""
    yield shutil.copytree(stopped_server, tmp_path / "postgres")
    stop_server(tmp_path / "postgres")


def kill(server: ServerAddress) -> None:
    os.kill(server.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def answers(server: ServerAddress) -> bool:
    with server.connect() as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_a_new_server_listens_on_loopback_with_a_private_password(tmp_path: Path) -> None:
    # Longer than a socket's path may be, with everything a shell could trip over.
    folder = tmp_path / ("long " * 30) / 'it\'s "$HOME" `id` %d;' / "postgres"
    server = ensure_server(folder)
    try:
        assert answers(server)
        assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        listening = [c.laddr for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"]
        assert listening == [("127.0.0.1", server.port)]
        with server.connect() as connection:
            assert connection.info.server_version // 10_000 == int(MAJOR_VERSION)
            assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
    finally:
        stop_server(folder)


def test_the_password_is_asked_for_and_never_shown(folder: Path) -> None:
    server = ensure_server(folder)
    assert server.password not in repr(server)
    assert server.password not in " ".join(psutil.Process(server.pid).cmdline())
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url.replace(server.password, "guess"))


def test_a_running_server_is_found_without_the_lock(folder: Path) -> None:
    assert running_server(folder) is None
    server = ensure_server(folder)
    (folder / "lock").unlink()
    (folder / "lock").mkdir()  # taking the lock would now fail
    assert running_server(folder) == server
    assert ensure_server(folder) == server
    (folder / "lock").rmdir()


def test_eight_processes_starting_at_once_share_one_server(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    starters = [subprocess.Popen([sys.executable, "-c", START, str(folder)], stdout=subprocess.PIPE) for _ in range(8)]
    pids = {int(starter.communicate()[0]) for starter in starters}
    assert len(pids) == 1
    assert stop_server(folder)


def test_eight_threads_starting_at_once_share_one_server(folder: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        servers = set(threads.map(lambda _: ensure_server(folder), range(8)))
    assert len(servers) == 1


def test_a_restarted_server_keeps_its_port_and_rows(folder: Path) -> None:
    server = ensure_server(folder)
    with server.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert stop_server(folder)
    assert not stop_server(folder)
    assert running_server(folder) is None
    again = ensure_server(folder)
    assert (again.port, again.password) == (server.port, server.password)
    with again.connect() as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_port_in_use_is_left_alone(folder: Path) -> None:
    port = ensure_server(folder).port
    stop_server(folder)
    with socket.create_server(("127.0.0.1", port)):
        again = ensure_server(folder)
        assert again.port != port
        assert answers(again)


def test_after_a_killed_postmaster_the_next_command_works(folder: Path) -> None:
    server = ensure_server(folder)
    with server.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    busy = server.connect()
    # Spins without looking up: this child notices neither its postmaster's death nor a polite request to end.
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
    child = psutil.Process(busy.info.backend_pid)
    wait_for(lambda: child.cpu_times().user > 0)
    kill(server)
    again = ensure_server(folder)
    assert again.pid != server.pid
    with again.connect() as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_stale_pid_file_of_a_living_process_is_ignored(folder: Path) -> None:
    server = ensure_server(folder)
    pid_file = folder / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    kill(server)
    wait_for(lambda: live_postmaster(folder) is None)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]))
        assert running_server(folder) is None
        assert not stop_server(folder)
        assert answers(ensure_server(folder))
        assert bystander.poll() is None
        bystander.kill()


def test_a_copied_pid_file_does_not_lead_to_the_original(folder: Path, stopped_server: Path, tmp_path: Path) -> None:
    other = shutil.copytree(stopped_server, tmp_path / "other")
    original = ensure_server(folder)
    # What copying a running server's folder leaves: the same password, and the original's address.
    shutil.copy(folder / "data" / "postmaster.pid", other / "data" / "postmaster.pid")
    copied = ensure_server(other)
    try:
        assert (copied.pid, copied.port) != (original.pid, original.port)
        assert answers(original)
        stop_server(other)
        assert answers(original)
    finally:
        stop_server(other)


def test_a_data_directory_of_another_version_is_refused(folder: Path) -> None:
    (folder / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError) as caught:
        ensure_server(folder)
    message = str(caught.value)
    assert all(part in message for part in ("PostgreSQL 16", f"PostgreSQL {MAJOR_VERSION}", str(folder / "data")))
    assert "pg_dumpall" in message
    (folder / "data" / "PG_VERSION").write_text(f"{MAJOR_VERSION}\n")


def test_a_starter_killed_during_initdb_does_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    starter = subprocess.Popen([sys.executable, "-c", START, str(folder)])
    wait_for(lambda: list(folder.glob("initialising-*/PG_VERSION")))
    starter.kill()
    starter.wait()
    assert not (folder / "data").exists()
    assert answers(ensure_server(folder))
    assert not list(folder.glob("initialising-*/global/pg_control"))
    stop_server(folder)


def test_an_incomplete_data_directory_is_set_aside_not_deleted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "data" / "global" / "pg_control").unlink()
    (folder / "data" / "witness").touch()
    assert answers(ensure_server(folder))
    (aside,) = folder.glob("set-aside-*")
    assert (aside / "witness").exists()
    assert str(aside) in caplog.text


def test_a_lost_password_is_named_at_once(folder: Path) -> None:
    (folder / "password").unlink()
    with pytest.raises(EmbeddedServerError, match=rf"{folder / 'password'} is missing"):
        ensure_server(folder)


def test_empty_files_after_a_power_cut_do_no_harm(folder: Path, tmp_path: Path) -> None:
    (folder / "port").write_text("")
    assert answers(ensure_server(folder))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "password").touch()
    assert answers(ensure_server(tmp_path / "new"))
    stop_server(tmp_path / "new")


def test_a_server_that_cannot_start_shows_its_log(folder: Path) -> None:
    (folder / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match=r"(?s)server\.log.*no_such_setting.*DATABASE_URL"):
        ensure_server(folder)


def test_the_server_survives_its_starter_and_terminal(folder: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", START + "; sys.stdout.flush(); import time; time.sleep(60)", str(folder)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGKILL):  # Ctrl-C, the window closed, the end
        os.killpg(starter.pid, number)
    starter.communicate()
    server = running_server(folder)
    assert server is not None
    assert server.pid == pid


def test_variables_meant_for_other_servers_are_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGSSLMODE": "require", "PGCLIENTENCODING": "LATIN1", "LC_ALL": "xx_XX"}.items():
        monkeypatch.setenv(name, value)
    server = ensure_server(folder)
    monkeypatch.delenv("PGCLIENTENCODING")
    with server.connect() as connection:
        assert connection.execute("SHOW client_encoding").fetchone() == ("UTF8",)


@as_root
@open_to_others
def test_root_without_user_namespaces_runs_it_as_the_files_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "USER_NAMESPACE", ("false",))
    folder = tmp_path / "postgres"
    server = ensure_server(folder)
    assert psutil.Process(server.pid).uids().real == NOBODY == (folder / "data").stat().st_uid
    kill(server)
    assert answers(ensure_server(folder))
    monkeypatch.undo()  # namespaces again: the owner stays who it is
    stop_server(folder)
    assert answers(ensure_server(folder))
    stop_server(folder)


@as_root
def test_root_without_another_user_learns_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_works", lambda _prefix: False)
    with pytest.raises(EmbeddedServerError, match=r"refuses to run as root.*DATABASE_URL"):
        ensure_server(tmp_path / "postgres")


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@pytest.fixture
def nobody() -> Iterator[ProcessPoolExecutor]:
    """An ordinary user: a process that gave root's rights away. Forked, should Python be out of its reach."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork"), initializer=become_nobody) as pool:
        yield pool


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may enter and only root may write."""
    folder = Path(tempfile.mkdtemp(prefix="cleverbetter-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    stop_server(folder / "postgres")
    shutil.rmtree(folder)


@as_root
@open_to_others
def test_root_restarts_the_server_of_an_ordinary_user(nobody: ProcessPoolExecutor, shared: Path) -> None:
    os.chown(shared, NOBODY, NOBODY)
    folder = shared / "postgres"
    server = nobody.submit(ensure_server, folder).result()
    assert psutil.Process(server.pid).uids().real == NOBODY
    assert running_server(folder) == server
    assert stop_server(folder)
    again = ensure_server(folder)
    assert psutil.Process(again.pid).uids().real == NOBODY
    assert nobody.submit(ensure_server, folder).result() == again


@as_root
@open_to_others
def test_the_folder_of_another_user_is_refused(nobody: ProcessPoolExecutor, shared: Path) -> None:
    folder = shared / "postgres"
    for server_is_up in (False, True):
        if server_is_up:
            ensure_server(folder)
        with pytest.raises(EmbeddedServerError, match=rf"{folder}.*Permission denied.*DAGSTER_HOME"):
            nobody.submit(ensure_server, folder).result()
