"""PostgreSQL's client programs on any of our databases. Passwords go through the environment, never arguments."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from psycopg.pq import Conninfo

from cleverbetter_dagster.errors import BackupError, EmbeddedServerError, SettingsError
from cleverbetter_dagster.store.postgres.database import Target
from cleverbetter_dagster.store.postgres.programs import MAJOR_VERSION, postgres_program
from cleverbetter_dagster.store.postgres.url import without_password

SECRET_WITHOUT_VARIABLE = {"sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}


def client_program(name: str, server_version: int) -> Path:
    """A program that can talk to a server: that of the embedded server, or a newer one on the PATH.

    Args:
        name: such as `pg_dump`.
        server_version: as libpq gives it, such as 170002.

    Raises:
        SettingsError: there is none as new as the server.
    """
    major = server_version // 10_000
    if major <= int(MAJOR_VERSION):
        try:
            return postgres_program(name)
        except EmbeddedServerError:
            pass
    found = shutil.which(name)
    if found and _major(found) >= major:
        return Path(found)
    raise SettingsError(
        f"The server is PostgreSQL {major}, and there is no {name} as new as that. Install its client programs "
        f"(Debian: postgresql-client-{major}) and put them on the PATH."
    )


def client_environment(target: Target) -> dict[str, str]:
    """The environment in which a client program connects to a database.

    Raises:
        SettingsError: the address has a secret that libpq takes from no variable.
    """
    environment, given = dict(os.environ), dict(target.url.parameters)
    for option in Conninfo.get_defaults():
        value = given.pop(option.keyword.decode(), None)
        if value is None:
            continue
        if option.envvar:
            environment[option.envvar.decode()] = value
        elif option.keyword.decode() in SECRET_WITHOUT_VARIABLE:
            raise SettingsError(f"{target.variable} holds {option.keyword.decode()}, which a backup cannot pass on.")
    settings = {name: value for name, value in target.url.settings if name != "search_path"}
    if settings:
        options = ["-c" + re.sub(r"([\\ ])", r"\\\1", f"{name}={value}") for name, value in settings.items()]
        environment["PGOPTIONS"] = " ".join([environment.get("PGOPTIONS", ""), *options]).strip()
    return environment | {"LC_ALL": "C", "PGAPPNAME": "cleverbetter backup"}


def run_client(command: list[str], target: Target) -> None:
    """Run a client program to its end. Ctrl-C ends it and is passed on.

    Raises:
        BackupError: it failed; the message has the last of what it said, without the password.
    """
    done = subprocess.run(
        command,
        env=client_environment(target),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise failed(Path(command[0]).name, done.stdout, target)


def failed(program: str, said: str, target: Target) -> BackupError:
    """The error for a program that failed on a database."""
    lines = [line for line in without_password(said, target.url).splitlines() if line.strip()]
    return BackupError(f"{program} failed on {target} ({target.variable}): {' '.join(lines[-3:]) or 'it said nothing'}")


def _major(program: str) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)(\.\d+)?", done.stdout)
    return int(found[1]) if found else 0
