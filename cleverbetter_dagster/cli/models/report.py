"""`cleverbetter report`: opens a report in the browser, or writes it to a file."""

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import print_json
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.settings import load_settings


def report(
    family: Annotated[
        str | None, typer.Option(help="The family whose report is wanted; by default the first of the catalogue.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="Month such as 2023-12; by default the newest there is.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="split, comparison or walk_forward, instead of a family; or a family's name.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the HTML file here instead of opening it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Open the report on a family, on a month's rows, on the comparison or the walk-forward; --output exports it.

    With --json it is not opened, and its file is named.
    """
    from cleverbetter_dagster.learning.catalogue import DEFAULT_FAMILY
    from cleverbetter_dagster.services.reports.store import find_report
    from cleverbetter_dagster.store.artefacts import ArtefactStore

    settings, console = load_settings(), Console(highlight=False)
    wanted = (kind or family or DEFAULT_FAMILY).replace("-", "_")
    month, path = find_report(settings, wanted, as_of)
    store = ArtefactStore(settings.artefacts_base)
    file = output or Path(store.url(path))
    if output is not None:
        _write(output, store.read_text(path))
    elif not file.is_file():  # kept elsewhere, such as in an object store
        file = Path(tempfile.mkdtemp(prefix="cleverbetter-")) / f"{wanted}-{month}.html"
        file.write_text(store.read_text(path), encoding="utf-8")
    if as_json:
        print_json({"kind": wanted, "as_of": month, "file": str(file)})
        return
    if output is not None:
        console.print(f"Report on {wanted} as of {month}: {output}", markup=False, soft_wrap=True)
        return
    opened = webbrowser.open(file.as_uri())
    told = "opened" if opened else "no browser to open it with; the file is"
    console.print(f"Report on {wanted} as of {month}: {told} {file}", markup=False, soft_wrap=True)


def _write(output: Path, html: str) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(html, encoding="utf-8")
    except OSError as error:
        raise DataError(f"Cannot write the report to {output}: {error}. Name a file in a folder of yours.") from error
