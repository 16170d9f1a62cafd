"""Options and arguments that commands share, so that they are named and explained alike everywhere."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Family = Annotated[str, typer.Argument(help="Model family, such as ensemble.", show_default=False)]
AsOfMonth = Annotated[str | None, typer.Option("--as-of", metavar="YYYY-MM", help="The month; else the newest.")]
Reason = Annotated[str, typer.Option(help="Why; the ledger keeps it.", show_default=False)]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="OPTION=VALUE", help="An option of dataset, study or stakes; may be repeated. JSON or text."
    ),
]
Trials = Annotated[
    int | None, typer.Option(help="Settings the search judges, the defaults first.", min=1, show_default=False)
]
