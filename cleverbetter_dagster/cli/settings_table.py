"""`cleverbetter settings`: every setting, its variable, its default and what it means; and what it is set to."""

import os
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import ResultTable, print_json, result_console
from cleverbetter_dagster.settings import DEFAULT, Settings, load_settings, may_hold_a_secret, variable_of


@dataclass(frozen=True)
class SettingRow:
    """One line of the table. `value` is what holds now, `(hidden)` where it may be a secret, None where unset."""

    variable: str
    default: str
    meaning: str
    value: str | None
    is_set: bool


def settings_table(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the README has it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every environment variable, its default and meaning, and what it is set to here. Shows no secret."""
    if markdown:
        typer.echo(as_markdown())
        return
    variables = rows(load_settings())
    if as_json:
        print_json(variables)
        return
    table = ResultTable("Settings", ("variable", "value", "default", "meaning"))
    for row in variables:
        value = Text(row.value or "unset", style="bold" if row.is_set else "dim")
        table.add_row(row.variable, value, Text(row.default), Text(row.meaning))
    result_console().print(table)


def rows(settings: Settings | None = None) -> list[SettingRow]:
    """The table, with the values of `settings` where they are given."""
    variables = []
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name) if settings else None
        shown = None if value is None or value == () else "(hidden)" if may_hold_a_secret(name) else str(value)
        variable = variable_of(name)
        variables.append(SettingRow(variable, _default(field), str(field.description), shown, variable in os.environ))
    return variables


def as_markdown() -> str:
    """The table as the README has it."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{row.variable}` | {row.default} | {row.meaning} |" for row in rows()]
    return "\n".join(lines)


def _default(field: Any) -> str:
    """The default as people read it: what the field says of it, else the value itself."""
    shown_default = (field.json_schema_extra or {}).get(DEFAULT)
    return str(shown_default) if shown_default else f"`{field.default}`"
