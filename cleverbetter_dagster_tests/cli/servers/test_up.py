"""`cleverbetter up` and `down`: what they start they stop, whatever happens, and nothing else."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cleverbetter_dagster.cli.servers.database_lock import AlreadyUp, DatabaseLock
from cleverbetter_dagster.cli.servers.processes import _got, code_service, mlflow_service
from cleverbetter_dagster.cli.servers.status import ServiceStatus, collect
from cleverbetter_dagster.cli.servers.supervisor import RESTARTS
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import embedded_folder
from cleverbetter_dagster.store.postgres.embedded import ensure_server, running_server, stop_server
from cleverbetter_dagster.web.address import LOOPBACK, Address, free_port
from cleverbetter_dagster.web.up_processes import ProcessRecord, UpRecord, processes_of, read_record, record_path

QUICK = (sys.executable, "-m", "cleverbetter_dagster_tests.cli.servers.quick_up")
REAL = (sys.executable, "-m", "cleverbetter_dagster.cli.main")


@pytest.fixture
def settings(stopped_server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home of its own, also in the environment, whose embedded server is down."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    settings = Settings(home=tmp_path)
    shutil.copytree(stopped_server, embedded_folder(settings))
    yield settings
    record = read_record(record_path(settings))
    for process in processes_of(record.token) if record else []:
        process.kill()
    stop_server(embedded_folder(settings))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*QUICK, *arguments], capture_output=True, text=True, check=False)


def start_up(
    settings: Settings, program: tuple[str, ...] = QUICK, *options: str
) -> tuple[subprocess.Popen[str], UpRecord]:
    """`up`, and what it recorded once everything answered."""
    process = subprocess.Popen(
        [*program, "up", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def ready() -> UpRecord | None:
        assert process.poll() is None, process.communicate()
        record = read_record(record_path(settings))
        return record if record and record.up.pid == process.pid and record.ready else None

    wait_for(ready)
    record = ready()
    assert record is not None
    return process, record


def answers(record: UpRecord) -> list[int]:
    return [urllib.request.urlopen(service.url, timeout=10).status for service in record.services if service.url]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_started_is_stopped_when_up_is_interrupted(settings: Settings, number: signal.Signals) -> None:
    process, record = start_up(settings)
    assert answers(record) == [200, 200]
    assert len(processes_of(record.token)) == 4  # two services, a child each
    assert all(os.getsid(service.pid) == service.pid for service in record.services)  # out of Ctrl-C's reach
    os.killpg(process.pid, number)  # as a terminal does: to the whole group
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert "Stopped." in output
    assert all(str(service.url) in output for service in record.services)
    assert processes_of(record.token) == []
    assert running_server(embedded_folder(settings)) is None
    assert not record_path(settings).exists()


def test_up_asks_its_services_past_a_dead_proxy(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("CLEVERBETTER_API_TOKEN", "correct horse battery staple")
    addresses = [one for listed in psutil.net_if_addrs().values() for one in listed if one.family == socket.AF_INET]
    own_address = next((one.address for one in addresses if not one.address.startswith("127.")), "127.0.0.1")
    process, record = start_up(settings, QUICK, "--host", own_address)
    inherited = [psutil.Process(service.pid).environ()["no_proxy"] for service in record.services]
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert all({"127.0.0.1", own_address} <= set(hosts.split(",")) for hosts in inherited)


def test_a_second_up_points_to_the_first_which_down_stops(settings: Settings) -> None:
    process, record = start_up(settings)
    second = run("up")
    assert second.returncode == 1
    assert "runs already" in second.stderr
    assert str(record.services[0].url) in second.stderr
    assert answers(record) == [200, 200]
    assert run("down").returncode == 0
    process.communicate()
    assert process.returncode == 0
    assert processes_of(record.token) == []


def test_down_stops_orphans_of_a_killed_up(settings: Settings) -> None:
    process, record = start_up(settings)
    process.kill()
    process.communicate()
    os.kill(record.services[0].pid, signal.SIGKILL)  # its child is an orphan now
    wait_for(lambda: len(processes_of(record.token)) == 3)
    refused = run("up")
    assert refused.returncode == 1
    assert "left 3 processes" in refused.stderr
    down = run("down")
    assert (down.returncode, "Stopped" in down.stdout) == (0, True)
    assert processes_of(record.token) == []
    assert running_server(embedded_folder(settings)) is None
    assert "Nothing was running" in run("down").stdout


def test_down_leaves_a_stranger_with_a_recorded_pid_alone(settings: Settings) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        created = psutil.Process(stranger.pid).create_time()
        stale = ProcessRecord("cleverbetter up", stranger.pid, created - 100.0)
        UpRecord(stale, "a token", True, (stale,)).write(record_path(settings))
        assert run("down").returncode == 0
        assert stranger.poll() is None
        stranger.kill()
    assert not record_path(settings).exists()


def recorded(settings: Settings, number: int) -> ProcessRecord:
    record = read_record(record_path(settings))
    assert record is not None
    return record.services[number]


def kill_times(settings: Settings, number: int, times: int) -> None:
    """Kill a service so often, each time once it is up again."""
    for count in range(times):
        wait_for(lambda count=count: recorded(settings, number).restarts == count)
        os.kill(recorded(settings, number).pid, signal.SIGKILL)


def test_a_dead_service_is_started_again_and_named(settings: Settings) -> None:
    process, before = start_up(settings)
    kill_times(settings, 1, times=1)
    wait_for(lambda: recorded(settings, 1).restarts == 1)
    service = recorded(settings, 1)
    assert service.pid != before.services[1].pid
    assert service.url == before.services[1].url
    wait_for(lambda: _got(str(service.url)))
    assert len(processes_of(before.token)) == 4  # the dead one's child is gone, the others' and its new one are there
    assert collect(settings).services["second"] == ServiceStatus("up", service.pid, service.url, restarts=1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 0
    assert "second was killed by SIGKILL. Restart 1 of 5" in output + errors
    assert processes_of(before.token) == []


def test_a_service_that_keeps_ending_is_given_up(settings: Settings) -> None:
    process, record = start_up(settings)
    kill_times(settings, 1, times=RESTARTS + 1)
    wait_for(lambda: recorded(settings, 1).given_up)
    assert str(collect(settings).services["second"]).startswith("[red]given up, started again 5 times")
    assert _got(str(record.services[0].url))  # the others go on
    assert process.poll() is None
    kill_times(settings, 0, times=RESTARTS + 1)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Every service is given up" in errors
    assert "after 5 restarts" in output + errors
    assert "serving" in output + errors  # the end of its log
    assert processes_of(record.token) == []


def test_a_dead_postgresql_is_started_again_where_it_was(settings: Settings) -> None:
    process, record = start_up(settings)
    server = running_server(embedded_folder(settings))
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: running_server(embedded_folder(settings)))
    again = running_server(embedded_folder(settings))
    assert again is not None
    assert (again.port, again.pid != server.pid) == (server.port, True)
    assert answers(record) == [200, 200]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 0
    assert "PostgreSQL has ended. Restart 1 of 5" in output + errors


def test_a_database_has_one_up(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = start_up(settings)
    server = running_server(embedded_folder(settings))
    assert server is not None
    monkeypatch.setenv("DATABASE_URL", server.url.replace("+psycopg", ""))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "another"))
    second = run("up")
    assert second.returncode == 1
    assert "has a `cleverbetter up` already (cleverbetter up on" in second.stderr
    assert first.poll() is None
    first.kill()  # the server releases the lock of a connection that is gone
    first.communicate()
    process, _ = start_up(Settings(home=tmp_path / "another"))
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0


def test_a_lost_lock_is_taken_again_or_given_to_another(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleverbetter_dagster.cli.servers.database_lock.CHECK_SECONDS", 0.0)
    ensure_server(embedded_folder(settings))
    lock, other = DatabaseLock(settings), DatabaseLock(settings)
    lock.hold()
    with pytest.raises(AlreadyUp):
        other.hold()
    stop_server(embedded_folder(settings))
    ensure_server(embedded_folder(settings))
    lock.keep()
    with pytest.raises(AlreadyUp):
        other.hold()
    stop_server(embedded_folder(settings))
    ensure_server(embedded_folder(settings))
    other.hold()
    with pytest.raises(AlreadyUp):
        lock.keep()
    other.release()


def test_postgresql_stays_up_for_others_who_use_it(settings: Settings) -> None:
    with ensure_server(embedded_folder(settings)).connect() as other:
        process, _ = start_up(settings)
        process.terminate()
        output, _ = process.communicate()
        assert process.returncode == 0
        assert "others are using" in output
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_detached_it_returns_once_everything_answers_and_runs_on(settings: Settings) -> None:
    done = run("up", "--detach")
    assert (done.returncode, done.stderr) == (0, "")
    record = read_record(record_path(settings))
    assert record is not None
    assert all(str(service.url) in done.stdout for service in record.services)
    assert answers(record) == [200, 200]
    assert run("down").returncode == 0
    assert processes_of(record.token) == []


def test_json_of_up_and_down_says_addresses_and_stops(settings: Settings) -> None:
    done = run("up", "--detach", "--json")
    record = read_record(record_path(settings))
    assert record is not None
    answer = json.loads(done.stdout)
    assert {service.name: service.url for service in record.services}.items() <= answer["services"].items()
    assert answer["services"]["PostgreSQL"].startswith("embedded, port")
    assert [json.loads(run("down", "--json").stdout)["stopped"] for _ in range(2)] == [True, False]


def test_detached_it_says_why_it_could_not_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann@127.0.0.1:1/racing")
    done = run("up", "--detach")
    assert done.returncode == 1
    assert "Cannot use the database ann@127.0.0.1:1/racing" in done.stderr


def test_the_next_free_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert free_port(port) > port
    assert free_port(port) == port


def test_the_password_is_in_no_arguments_and_no_repr(tmp_path: Path) -> None:
    url = "postgresql+psycopg2://ann:Tr0ub4dor@db/racing"
    service = mlflow_service(Settings(home=tmp_path), url, tmp_path.as_uri(), Address(LOOPBACK, 5000))
    assert service.environment["MLFLOW_BACKEND_STORE_URI"] == url
    assert "Tr0ub4dor" not in " ".join(service.command)
    assert "Tr0ub4dor" not in repr(service)


def test_links_of_runs_use_mlflows_port(tmp_path: Path) -> None:
    environment = code_service(Settings(home=tmp_path, mlflow_port=5999), tmp_path).environment
    assert environment["CLEVERBETTER_MLFLOW_PORT"] == "5999"


@pytest.mark.slow
def test_the_real_services_answer_and_stop(settings: Settings) -> None:
    ports = (
        "--port",
        str(free_port(31000)),
        "--mlflow-port",
        str(free_port(51000)),
        "--api-port",
        str(free_port(41000)),
    )
    process, record = start_up(settings, REAL, *ports)
    names = [service.name for service in record.services]
    assert names == ["MLflow", "Dagster code", "Dagster", "Dagster daemon", "API"]
    assert answers(record) == [200, 200, 200]
    ready = next(f"{service.url}/api/v1/ready" for service in record.services if service.name == "API")
    assert json.load(urllib.request.urlopen(ready, timeout=60))["status"] == "ok"
    shown = json.dumps([process.cmdline() for process in processes_of(record.token)])
    password = (embedded_folder(settings) / "password").read_text()
    assert password not in shown
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0
    assert processes_of(record.token) == []
    assert running_server(embedded_folder(settings)) is None
    assert {path.name for path in settings.home.iterdir()} == {"dagster.yaml", ".cleverbetter"}
