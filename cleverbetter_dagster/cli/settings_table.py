"""`cleverbetter settings`: every setting, its variable, its default and what it means; and what it is set to."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import ResultTable, print_json, result_console
from cleverbetter_dagster.setting_sources import Source, file_in_use, sources
from cleverbetter_dagster.settings import (
    DEFAULT,
    Settings,
    default_home,
    load_settings,
    may_hold_a_secret,
    variable_of,
)
from cleverbetter_dagster.settings_file import FILE_NAME


@dataclass(frozen=True)
class SettingRow:
    """One line of the table.

    Attributes:
        value: what holds now, `(hidden)` where it may be a secret, None where unset.
        source: where it comes from; None if the table is made without settings.
    """

    variable: str
    default: str
    meaning: str
    value: str | None
    source: Source | None


def settings_table(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the documentation has it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every setting: its variable, default and meaning, what holds here and where that comes from. Shows no secret.

    A setting is read from the environment, else from the file `cleverbetter.toml` in the home folder, or the one that
    CLEVERBETTER_SETTINGS_FILE names.
    """
    if markdown:
        typer.echo(as_markdown())
        return
    variables = rows(load_settings())
    if as_json:
        print_json(variables)
        return
    table = ResultTable("Settings", ("variable", "value", "from", "default", "meaning"))
    for row in variables:
        value = Text(row.value or "unset", style="dim" if row.source == "default" else "bold")
        table.add_row(row.variable, value, row.source or "", Text(row.default), Text(row.meaning))
    path, would_be = file_in_use(), default_home() / FILE_NAME
    table.caption = f"Settings file: {path}" if path else f"No settings file; {would_be} would be read."
    result_console().print(table)


def rows(settings: Settings | None = None) -> list[SettingRow]:
    """The table, with the values of `settings` where they are given."""
    variables, where = [], sources() if settings else {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name) if settings else None
        shown = None if value is None or value == () else "(hidden)" if may_hold_a_secret(name) else str(value)
        source = where[name] if settings else None
        variables.append(SettingRow(variable_of(name), _default(field), str(field.description), shown, source))
    return variables


def as_markdown() -> str:
    """The table as the documentation has it."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{row.variable}` | {row.default} | {row.meaning} |" for row in rows()]
    return "\n".join(lines)


def _default(field: Any) -> str:
    """The default as people read it: what the field says of it, else the value itself."""
    shown_default = (field.json_schema_extra or {}).get(DEFAULT)
    return str(shown_default) if shown_default else f"`{field.default}`"
