"""`cleverbetter report`: opens a report in the browser or writes it to a file."""

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from cleverbetter_dagster.cli.options import AsJson, AsOfMonth
from cleverbetter_dagster.cli.output import VisibleConsole, print_json
from cleverbetter_dagster.errors import DataError, NotStored
from cleverbetter_dagster.settings import load_settings


def report(
    family: Annotated[str | None, typer.Option(help="Family. Default: the first of the catalogue.")] = None,
    as_of: AsOfMonth = None,
    kind: Annotated[
        str | None, typer.Option(help="split, comparison or walk_forward instead of a family's report.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the HTML file here instead of opening it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Open a report in the browser: of a family, a month's split, the comparison or the walk-forward study.

    Makes it if it is missing and its evaluation is stored. --output writes it to a file; --json prints where the file
    is.
    """
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.defs.jobs import RETRAIN
    from cleverbetter_dagster.defs.launches import Launch
    from cleverbetter_dagster.learning.catalogue import DEFAULT_FAMILY
    from cleverbetter_dagster.services.ingest.next_step import training_step
    from cleverbetter_dagster.services.reports.store import WALK_FORWARD, find_report, month_to_report
    from cleverbetter_dagster.store.artefacts import ArtefactStore

    settings, console = load_settings(), VisibleConsole(highlight=False)
    kind = (kind or family or DEFAULT_FAMILY).replace("-", "_")
    try:
        month, path = find_report(settings, kind, as_of)
    except NotStored as error:
        if kind == WALK_FORWARD:
            raise
        if (made := month_to_report(settings, kind, as_of)) is None:
            raise NotStored(f"{error}\n{training_step(settings, as_of)}") from error
        run_job(settings, Launch(RETRAIN, (f"{kind}_report",), (made, made), {}, {}), quiet=as_json)
        month, path = find_report(settings, kind, made)
    store = ArtefactStore(settings.artefacts_base)
    file = output or Path(store.url(path))
    if output is None and not file.is_file():  # it is elsewhere, such as in an object store
        file = Path(tempfile.mkdtemp(prefix="cleverbetter-")) / f"{kind}-{month}.html"
    if output is not None or not file.is_file():
        _write(file, store.read_text(path))
    if as_json:
        print_json({"kind": kind, "as_of": month, "file": str(file)})
        return
    opened = output is None and webbrowser.open(file.as_uri())
    how = "opened " if opened else "" if output else "no browser to open it with; the file is "
    console.print(f"Report on {kind} as of {month}: {how}{file}", markup=False, soft_wrap=True)


def _write(file: Path, html: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html, encoding="utf-8")
    except OSError as error:
        raise DataError(f"Cannot write the report to {file}: {error}. Name a file in a folder of yours.") from error
