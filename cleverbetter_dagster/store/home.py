"""The home folder, `DAGSTER_HOME`, made ready for Dagster."""

import hashlib
import logging
import os
from importlib.resources import files
from pathlib import Path

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings

INSTANCE_FILE = "dagster.yaml"
OWNER_ONLY = 0o700

COPIED = "# Copied by cleverbetter, which renews it; edit it, and it is yours and stays as it is: sha256 "
"""First line of a copy, before the hash of the rest. The hash shows whether a copy was edited or is only old.

Do not reword it: copies of earlier releases are recognised by it.
"""

logger = logging.getLogger(__name__)


def prepare_home(settings: Settings) -> Path:
    """Create the home folder and its `dagster.yaml` where missing; renew an unedited copy of an earlier release.

    One that somebody wrote or edited is left as it is; where it is not what this release comes with, the log says so.

    Raises:
        SettingsError: the folder cannot be written.
    """
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        if is_ours(settings):
            _replace(home / INSTANCE_FILE, _copy())
        elif not is_current(settings):
            logger.warning(
                f"{home / INSTANCE_FILE} is not what this release comes with. `cleverbetter doctor` says more."
            )
        prepare_state_folder(settings)
    except OSError as error:
        raise SettingsError(f"Cannot use {home} (DAGSTER_HOME): {error}. Set it to a folder of yours.") from error
    return home


def prepare_state_folder(settings: Settings) -> None:
    """Create the state folder, or close one that others may enter: it holds rows, models and logs.

    Raises:
        OSError: it cannot be created.
    """
    folder = settings.state_folder
    folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        folder.chmod(OWNER_ONLY)


def is_ours(settings: Settings) -> bool:
    """Whether `dagster.yaml` of the home is missing, or an unedited copy of this or an earlier release."""
    file = settings.home / INSTANCE_FILE
    if not file.exists():
        return not file.is_symlink()
    first, _, rest = _read(file).partition("\n")
    return first == COPIED + _hash(rest)


def is_current(settings: Settings) -> bool:
    """Whether `dagster.yaml` of the home says what this release's does; False where there is none."""
    file = settings.home / INSTANCE_FILE
    return file.exists() and _read(file) in (_template(), _copy())


def _read(file: Path) -> str:
    return file.read_text(errors="replace")  # whatever somebody put there


def _template() -> str:
    return (files("cleverbetter_dagster") / INSTANCE_FILE).read_text()


def _copy() -> str:
    text = _template()
    return f"{COPIED}{_hash(text)}\n{text}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _replace(file: Path, text: str) -> None:
    """Write it whole or not at all, whoever reads it meanwhile."""
    if file.exists() and _read(file) == text:
        return
    beside = file.with_suffix(f".{os.getpid()}.part")
    beside.write_text(text)
    beside.replace(file)
