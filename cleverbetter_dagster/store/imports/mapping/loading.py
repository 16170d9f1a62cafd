"""Reads mappings from TOML: files of a user, and the presets for exports of known tools."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from pydantic import BaseModel, ValidationError

from cleverbetter_dagster.errors import ImportFileError, InvalidRequest, Problem
from cleverbetter_dagster.store.imports.mapping.spec import COLUMNS, PART, Bets, Dates, FileShape, ImportMapping

_TOOLS = Path(__file__).parent / "tools"
_FIELDS: dict[str, type[BaseModel]] = {"file": FileShape, "dates": Dates, "bets": Bets}
_LEAST_IN_COMMON = 4
"""Columns of a file that a preset must name for the file to look like an export of its tool."""


def load_mapping(path: Path) -> ImportMapping:
    """A mapping from a TOML file.

    Raises:
        ImportFileError: the file cannot be read, or is no TOML.
        InvalidRequest: it names what does not exist; all such places are listed, with the closest names.
    """
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ImportFileError(
            f"{path} cannot be read as a mapping: {error}. Start from `cleverbetter import --show-preset NAME`."
        ) from None


def load_preset(name: str) -> ImportMapping:
    """The mapping for the exports of a known tool.

    Raises:
        InvalidRequest: there is none of this name.
    """
    return _parsed(preset_text(name))


def preset_text(name: str) -> str:
    """The preset as TOML, to start a mapping of one's own from.

    Raises:
        InvalidRequest: there is none of this name.
    """
    if name not in preset_names():
        remedy = f"the presets are {', '.join(preset_names())}"
        raise InvalidRequest([Problem("--preset", f"{name!r} is none{_closest(name, preset_names())}", remedy)])
    return (_TOOLS / f"{name}.toml").read_text(encoding="utf-8")


@cache
def preset_names() -> tuple[str, ...]:
    """The tools whose exports are known."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in _TOOLS.glob("*.toml")))


def likely_preset(names: Iterable[str]) -> str | None:
    """The preset that names most of these columns or statistics; None if none names enough."""
    counts = {preset: len(load_preset(preset).named & set(names)) for preset in preset_names()}
    best = max(counts, key=lambda preset: counts[preset], default=None)
    return best if best is not None and counts[best] >= _LEAST_IN_COMMON else None


def check_constants(names: Iterable[str]) -> None:
    """
    Raises:
        InvalidRequest: some are no columns of ours.
    """
    problems = list(_unknown("--set", names, COLUMNS))
    if problems:
        raise InvalidRequest(problems)


def _parsed(text: str) -> ImportMapping:
    content = tomllib.loads(text)
    try:
        mapping = ImportMapping.model_validate(content)
    except ValidationError as error:
        unknown = [problem for table in ("columns", "constants") for problem in _unknown_in(content, table)]
        raise InvalidRequest([*map(_problem, error.errors()), *unknown]) from None
    problems = [*_names(mapping), *_units(mapping), *_zone(mapping)]
    if problems:
        raise InvalidRequest(problems)
    return mapping


def _problem(detail: Mapping[str, Any]) -> Problem:
    place = [str(part) for part in detail["loc"] if not str(part).startswith(("literal[", "tuple[", "str", "union"))]
    if detail["type"] == "extra_forbidden":
        known = _FIELDS.get(place[0], ImportMapping).model_fields if len(place) > 1 else ImportMapping.model_fields
        message = f"a mapping has no {place[-1]!r}{_closest(place[-1], known)}"
        return Problem(".".join(place), message, f"it may have {', '.join(known)}")
    return Problem(".".join(place), f"{detail['input']!r} does not fit", detail["msg"])


def _names(mapping: ImportMapping) -> Iterator[Problem]:
    for table in ("columns", "constants"):
        yield from _unknown(table, getattr(mapping, table), COLUMNS)
    yield from _unknown("file.name", (part[1:-1] for part in PART.findall(mapping.file.name)), COLUMNS)
    yield from _unknown("units", mapping.units, (*mapping.columns, *mapping.features))
    if mapping.bets and (mapping.columns or mapping.features):
        yield Problem("bets", "does not go with columns and features", "leave these out: rows are made of the bets")
    for name in mapping.constants.keys() & mapping.columns.keys():
        yield Problem(f"constants.{name}", "is among the columns as well", "keep one of the two")


def _unknown(table: str, names: Iterable[str], known: Iterable[str]) -> Iterator[Problem]:
    for name in names:
        if name not in known:
            yield Problem(f"{table}.{name}", f"there is no such column{_closest(name, known)}", f"use {_any_of(known)}")


def _unknown_in(content: Mapping[str, Any], table: str) -> Iterator[Problem]:
    names = content.get(table)
    return _unknown(table, names if isinstance(names, dict) else (), COLUMNS)


def _units(mapping: ImportMapping) -> Iterator[Problem]:
    for name, unit in mapping.units.items():
        if name in (*mapping.columns, *mapping.features) and unit not in mapping.units_of(name):
            remedy = f"use {_any_of(mapping.units_of(name))}"
            yield Problem(f"units.{name}", f"{name} has no unit {unit!r}", remedy)


def _zone(mapping: ImportMapping) -> Iterator[Problem]:
    zone = mapping.dates.timezone
    if zone not in available_timezones():
        problem = f"{zone!r} is no time zone{_closest(zone, available_timezones())}"
        yield Problem("dates.timezone", problem, "write a name such as Europe/London")


def _any_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}" if names else "none"


def _closest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; closest: {close[0]}" if close else ""
