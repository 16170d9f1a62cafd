"""Options and arguments that several commands share, with one name and one help text."""

from pathlib import Path
from typing import Annotated, Any

import typer


def _month(key: str | None) -> str | None:
    """A month that can be read; it is refused before anything else is looked at."""
    from cleverbetter_dagster.dataset.as_of import AsOf  # slow to import

    return None if key is None else AsOf.parse(key).key


def month_option(name: str, text: str) -> Any:
    """A month that must be given."""
    return typer.Option(name, metavar="YYYY-MM", help=text, show_default=False, callback=_month)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else, for programs.")]
Csv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write all of it to a CSV file too.", show_default=False)
]
Xlsx = Annotated[
    Path | None,
    typer.Option("--xlsx", metavar="FILE", help="Write all of it to a spreadsheet too.", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Family = Annotated[str, typer.Argument(help="Model family, such as ensemble.", show_default=False)]
AsOfMonth = Annotated[
    str | None, typer.Option("--as-of", metavar="YYYY-MM", help="Month. Default: the newest.", callback=_month)
]
Reason = Annotated[str, typer.Option(help="Why you decide so; it is recorded in the ledger.", show_default=False)]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="OPTION=VALUE", help="Option of dataset, study or staking, as JSON or text. May be repeated."
    ),
]
Trials = Annotated[
    int | None, typer.Option(help="Trials of the search; the first has the defaults.", min=1, show_default=False)
]
