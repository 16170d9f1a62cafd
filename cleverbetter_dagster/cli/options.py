"""Options and arguments that several commands share, with one name and one help text."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Family = Annotated[str, typer.Argument(help="Model family, such as ensemble.", show_default=False)]
AsOfMonth = Annotated[str | None, typer.Option("--as-of", metavar="YYYY-MM", help="Month. Default: the newest.")]
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
