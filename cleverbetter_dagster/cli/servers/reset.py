"""`cleverbetter reset --demo`: removes the demo, so that a team's own rows can be imported."""

from typing import Annotated

import typer

from cleverbetter_dagster.cli.options import AsJson, Yes
from cleverbetter_dagster.cli.output import confirm, print_json, progress_console, result_console
from cleverbetter_dagster.errors import DataError, NotStored
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.web.up_processes import read_record, record_path


def reset(
    demo: Annotated[bool, typer.Option("--demo", help="Remove the demo's rows, models, runs and files.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove all that the demo made, and nothing else: a home with rows of your own is refused."""
    from cleverbetter_dagster.store.imports.demo import remove_demo

    if not demo:
        raise typer.BadParameter("say what to remove: --demo")
    settings = _home_of_the_demo(load_settings())
    record = read_record(record_path(settings))
    if record and record.up.process():
        raise DataError(f"`cleverbetter up` runs for {settings.home}: stop it first, with `cleverbetter down`.")
    confirm(f"Remove the demo's rows, models, runs and files in {settings.home}?", yes)
    with progress_console(quiet=as_json).status("removing"):
        remove_demo(settings)
    if as_json:
        print_json({"home": settings.home, "removed": True})
        return
    result_console().print(f"The demo in {settings.home} was removed.", highlight=False)


def _home_of_the_demo(settings: Settings) -> Settings:
    """The settings of this home if the demo ran in it, else of the home the demo makes for itself."""
    from cleverbetter_dagster.store.imports.demo import demo_home, is_demo

    own = Settings(home=demo_home(settings))  # with its own settings file, as the demo read it
    for candidate in (settings, own):
        if is_demo(candidate):
            return candidate
    raise NotStored(f"The demo did not run in {settings.home}, and not in {own.home}; there is nothing to remove.")
