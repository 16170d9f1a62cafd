"""The settings file: TOML that every program reads, for what the environment does not say.

It lies in the home folder, or where a variable says. Its keys are the names of settings in small letters.
"""

import os
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cleverbetter_dagster.errors import SettingsError, did_you_mean

FILE_NAME = "cleverbetter.toml"
FILE_VARIABLE = "CLEVERBETTER_SETTINGS_FILE"
"""Names the file, where it is not in the home folder. Not a setting: it says where settings are."""

ONLY_OUTSIDE = {"home": "The file is found by it, so it is set as DAGSTER_HOME only"}
"""Settings that the file cannot have, and why."""


def find_settings_file(home: Path) -> Path | None:
    """The file that is read for a home folder; None if there is none.

    Raises:
        SettingsError: the variable names a file that is missing, or no absolute path.
    """
    named = os.environ.get(FILE_VARIABLE)
    if not named:
        path = home / FILE_NAME
        return path if path.exists() else None
    path = Path(named).expanduser()
    if not path.is_absolute():
        raise SettingsError(
            f"{FILE_VARIABLE} is {named!r}; write an absolute path, since programs start in many folders."
        )
    if not path.exists():
        raise SettingsError(f"{FILE_VARIABLE} names {path}, which does not exist. Write it, or unset the variable.")
    return path


def read_settings_file(
    path: Path, known: Collection[str], secrets: Collection[str], flags: Collection[str]
) -> dict[str, Any]:
    """The settings in a file, by name, as TOML has them.

    Args:
        path: the file.
        known: names of all settings.
        secrets: those of them whose value may be a secret.
        flags: those of them that are true or false.

    Raises:
        SettingsError: it cannot be read, is no TOML, has an unknown name, or holds a secret that others may read.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            values = tomllib.load(file)
    except OSError as error:
        raise SettingsError(
            f"Cannot read the settings file {path}: {error.strerror}. Make it readable for us."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is not in UTF-8"
        raise SettingsError(
            f"The settings file {path} is no TOML: {where}. Write lines such as poll_seconds = 30."
        ) from None
    wrong = [_unknown(name, known) for name in values if name not in known or name in ONLY_OUTSIDE]
    for name in (name for name, value in values.items() if isinstance(value, bool) and name in {*known} - {*flags}):
        wrong.append(f"{name}: it is {str(values[name]).lower()}, and takes neither true nor false.")
    if wrong:
        raise SettingsError(f"The settings file {path} cannot be used:\n  " + "\n  ".join(wrong))
    held = sorted(name for name in values if name in secrets)
    if held and not _is_private(status):
        raise SettingsError(
            f"The settings file {path} holds secrets ({', '.join(held)}), and others may read it (mode "
            f"{status.st_mode & 0o777:04o}). Run: chmod 600 {path}"
        )
    return values


def _is_private(status: os.stat_result) -> bool:
    """0600; or 0640 where root owns it, so that a service's group may read it, as PostgreSQL has it for keys."""
    return not status.st_mode & (0o037 if status.st_uid == 0 else 0o077)


def _unknown(name: str, known: Collection[str]) -> str:
    if name in ONLY_OUTSIDE:
        return f"{name}: {ONLY_OUTSIDE[name]}."
    plain = name.lower().removeprefix("cleverbetter_")
    meant = did_you_mean(plain, known) if plain not in known else f"did you mean {plain}? "
    return f"{name}: there is no such setting; {meant}`cleverbetter settings` lists them all."
