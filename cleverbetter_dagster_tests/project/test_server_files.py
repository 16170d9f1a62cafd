"""The files for servers: each command, variable and path that they name exists, and other tools can read them."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cleverbetter_dagster.cli.servers.serve import Server
from cleverbetter_dagster.settings import REPOSITORY, Settings, load_settings, may_hold_a_secret, variable_of
from cleverbetter_dagster.settings_file import FILE_VARIABLE, read_settings_file
from cleverbetter_dagster_tests.project.test_hints import trouble

DEPLOY = REPOSITORY / "docs" / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "cleverbetter"}
WORKERS = yaml.safe_load((DEPLOY / "compose.workers.yaml").read_text())
UNITS = sorted((DEPLOY / "systemd").iterdir())
SETTINGS_FILE = DEPLOY / "cleverbetter.toml"
IN_IMAGE = "/etc/cleverbetter/cleverbetter.toml"
OF_OTHERS = {"PATH", "PYTHONUNBUFFERED"}
"""Variables of the system and of Python."""


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions, each a word and the rest on one line."""
    lines = [line for line in (DEPLOY / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in joined if line]


def variables(environment: dict[str, Any]) -> dict[str, str]:
    """Variables as the compose file sets them, with a value for each that it takes from `.env`."""
    return {name: re.sub(r"\$\{[^}]+\}", "x" * 16, str(value)) for name, value in environment.items()}


def test_the_compose_file_has_the_servers() -> None:
    served = {service["command"][1] for service in OURS.values() if service["command"][0] == "serve"}
    assert served == {server.value for server in Server}
    assert "timescaledb" in COMPOSE["services"]["database"]["image"]


@pytest.mark.parametrize("file", ["compose.yaml", "compose.workers.yaml"])
def test_a_compose_file_is_valid_by_its_schema(file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(DEPLOY / file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_server_and_two_workers_share_redis_and_storage() -> None:
    worker = WORKERS["services"]["worker"]
    assert trouble(worker["command"]) is None and worker["deploy"]["replicas"] == 2
    served = {name for name, service in OURS.items() if service["command"][0] == "serve"}
    clouds = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}
    for name in (*served, "worker"):
        environment = WORKERS["services"][name]["environment"]
        settings = {variable_of("storage_url"), variable_of("workers_url")}
        assert settings <= set(environment)
        assert set(environment) - clouds <= {variable_of(field) for field in Settings.model_fields} | {FILE_VARIABLE}
        assert "shared:/srv/cleverbetter" in WORKERS["services"][name]["volumes"]
    assert set(worker["depends_on"]) <= {*COMPOSE["services"], *WORKERS["services"]}


@pytest.mark.parametrize("name", OURS)
def test_commands_of_containers_exist(name: str) -> None:
    assert trouble(OURS[name]["command"]) is None
    if "healthcheck" in OURS[name]:
        kind, program, *words = OURS[name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "cleverbetter")
        assert trouble(words) is None
        assert words[:2] == OURS[name]["command"][:2] and words[2:] == ["--check"]


@pytest.mark.parametrize("name", OURS)
def test_variables_of_containers_are_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = variables(OURS[name]["environment"])
    known = {variable_of(field) for field in Settings.model_fields} | {FILE_VARIABLE}
    assert set(environment) <= known
    for variable, value in environment.items():
        monkeypatch.setenv(variable, str(SETTINGS_FILE) if value == IN_IMAGE else value)
    settings = load_settings()
    assert settings.dagster_address == "http://webserver:3000"
    assert "webserver" in COMPOSE["services"] and "database" in COMPOSE["services"]


def test_containers_wait_for_services_there_are() -> None:
    for service in COMPOSE["services"].values():
        for name in service.get("depends_on", {}):
            assert "healthcheck" in COMPOSE["services"][name]


def test_ports_are_published_to_this_machine_alone() -> None:
    published = {port for service in COMPOSE["services"].values() for port in service.get("ports", [])}
    defaults = (Settings.model_fields[name].default for name in ("dagster_port", "mlflow_port", "api_port"))
    assert published == {f"127.0.0.1:{port}:{port}" for port in defaults}


def test_the_image_runs_a_command_that_exists() -> None:
    found = dict(instructions())
    entry, words = json.loads(found["ENTRYPOINT"]), json.loads(found["CMD"])
    assert entry == ["cleverbetter"]
    assert trouble(words) is None
    assert found["USER"] == "1000"


def test_the_image_copies_what_there_is_and_is_sent() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]
    names = {name for several in copied for name in several}
    assert ignored[0] == "*"
    assert names == sent
    assert all((REPOSITORY / name).exists() for name in names)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["dynamic"]["readme"]["file"]) <= names


def test_variables_of_the_image_are_known() -> None:
    named = {word.partition("=")[0] for kind, rest in instructions() if kind == "ENV" for word in rest.split()}
    assert named - OF_OTHERS == {"DAGSTER_HOME"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_commands_and_variables_of_units_exist(unit: Path) -> None:
    text = unit.read_text()
    names = set(re.findall(r"^Environment=(\w+)=", text, re.M))
    assert names <= {variable_of("home"), FILE_VARIABLE}
    for start in re.findall(r"^ExecStart=(.*)$", text, re.M):
        (words,) = re.findall(r"/opt/cleverbetter/bin/cleverbetter (.*?)'?$", start)
        assert trouble(shlex.split(words)) is None
    if unit.suffix == ".timer":
        assert unit.with_suffix(".service") in UNITS


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_can_read_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text().replace("/opt/cleverbetter/bin/cleverbetter up", "/bin/true up")
        (tmp_path / unit.name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    about_ours = [line for line in done.stderr.splitlines() if "cleverbetter" in line]
    assert about_ours == []


def test_the_settings_file_is_valid_with_and_without_comments(tmp_path: Path) -> None:
    fields = Settings.model_fields
    secrets = [name for name in fields if may_hold_a_secret(name)]
    stated = read_settings_file(SETTINGS_FILE, fields, secrets, ["automation"])
    whole = tmp_path / "whole.toml"
    whole.touch(0o600)
    whole.write_text(re.sub(r"^# (?=\w+ = )", "", SETTINGS_FILE.read_text(), flags=re.M))
    assert set(stated) < set(read_settings_file(whole, fields, secrets, ["automation"]))
    assert Settings(**stated).automation is True
