"""Where each setting comes from: the environment, the settings file or its default; and variables nothing reads."""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import (
    PREFIX,
    UP_TOKEN,
    Settings,
    default_home,
    file_settings,
    may_hold_a_secret,
    set_in_environment,
    variable_of,
)
from cleverbetter_dagster.settings_file import FILE_VARIABLE, find_settings_file

Source = Literal["environment", "file", "default"]


def sources() -> dict[str, Source]:
    """By field of `Settings`, where its value in this process comes from.

    Raises:
        SettingsError: the settings file cannot be used.
    """
    in_file = file_settings(default_home())
    return {
        field: "environment" if set_in_environment(field) else "file" if field in in_file else "default"
        for field in Settings.model_fields
    }


def file_in_use() -> Path | None:
    """The settings file that this process reads; None if there is none.

    Raises:
        SettingsError: the variable that names it is wrong.
    """
    return find_settings_file(default_home())


def secret_texts() -> Iterator[tuple[str, str]]:
    """Each value that may be a secret with its field, from the environment and from the file.

    A file that cannot be used gives none: no message says what is in it.
    """
    fields = [field for field in Settings.model_fields if may_hold_a_secret(field)]
    for field in fields:
        if value := os.environ.get(variable_of(field), ""):
            yield field, value
    try:
        in_file = file_settings(default_home())
    except SettingsError:
        return
    for field in fields:
        values = in_file.get(field, [])
        for value in values if isinstance(values, list) else [values]:
            yield field, str(value)


def unread_variables() -> dict[str, str | None]:
    """Variables of the environment that start like ours but are not read, each with the variable probably meant."""
    ours = {variable_of(field).removeprefix(PREFIX): variable_of(field) for field in Settings.model_fields}
    ours[FILE_VARIABLE.removeprefix(PREFIX)] = FILE_VARIABLE
    known = {*ours.values(), *(f"{PREFIX}{field.upper()}" for field in Settings.model_fields), UP_TOKEN}
    unread = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    similar = {name: get_close_matches(name.upper().removeprefix(PREFIX), ours, n=1) for name in unread}
    return {name: ours[match[0]] if match else None for name, match in similar.items()}
