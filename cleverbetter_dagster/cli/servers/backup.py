"""`cleverbetter backup` and `restore`: databases and files at one instant, in one archive, and back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cleverbetter_dagster.cli.options import AsJson, Yes
from cleverbetter_dagster.cli.output import NotConfirmed, confirm, print_json, progress_console, result_console
from cleverbetter_dagster.cli.servers.database_lock import DatabaseLock
from cleverbetter_dagster.errors import BackupError, InvalidInput
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.web.up_processes import read_record, record_path

if TYPE_CHECKING:
    from cleverbetter_dagster.store.backups.archive import ArchiveReader

MIB = 1 << 20


def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save databases and artefacts as they are at one instant, while runs go on. The tables of rows are not in it."""
    from cleverbetter_dagster.store.backups.archive import counted
    from cleverbetter_dagster.store.backups.making import make_backup

    if file.exists() and not overwrite:
        raise InvalidInput(f"{file} exists. Name another file, or add --overwrite.")
    with progress_console(quiet=as_json).status("connecting") as shown:
        manifest = make_backup(load_settings(), file.absolute(), shown.update)
    size = file.stat().st_size
    if as_json:
        stored = manifest.model_dump(mode="json", exclude={"members"})
        print_json({"file": str(file.absolute()), "bytes": size, "files": len(manifest.members), **stored})
        return
    console = result_console()
    what = f"{counted(len(manifest.dumps), 'schema')} and {counted(sum(manifest.trees.values()), 'file')}"
    console.print(f"{file} holds {what}, {size / MIB:,.1f} MiB, as of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC.")
    console.print("It was read again, and every hash is right.")
    _print_lines(manifest.left_out, console)


def restore(
    file: Annotated[Path, typer.Argument(help="An archive that `cleverbetter backup` wrote.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there; it is gone then.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put what a backup holds in its place: all of it or, where anything fails or is interrupted, nothing."""
    from cleverbetter_dagster.store.backups.archive import ArchiveReader

    settings, console = load_settings(), progress_console(quiet=as_json)
    archive = ArchiveReader(file.absolute())
    with console.status("comparing every hash"):
        archive.verify()
    _refuse_while_up(settings)
    lock = DatabaseLock(settings)
    lock.hold()  # no daemon starts meanwhile, on whatever machine
    try:
        _restore(settings, archive, console, overwrite=overwrite, yes=yes)
    finally:
        lock.release()
    if as_json:
        print_json({"home": settings.home, "taken_at": archive.manifest.taken_at, "trees": archive.manifest.trees})
        return
    result_console().print(f"Restored to {settings.home}. `cleverbetter status` shows what is there.", soft_wrap=True)


def _restore(settings: Settings, archive: "ArchiveReader", console: Console, *, overwrite: bool, yes: bool) -> None:
    """Say what will be done, ask, and do it."""
    from cleverbetter_dagster.store.backups.restoring import plan_restore, restore_backup

    plan, manifest = plan_restore(settings, archive.manifest), archive.manifest
    when = f"{manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    _print_lines((f"The backup is whole. It is of {when}, release {manifest.release}.",), console)
    _print_lines(plan.lines, console)
    if plan.occupied:
        _print_lines(("This is there now and would be gone:", *(f"  {one}" for one in plan.occupied)), console)
        if not overwrite:
            raise NotConfirmed("Nothing was changed. To replace what is there, back it up first, then add --overwrite.")
    confirm(f"Restore to {settings.home}?", yes)
    with console.status("restoring") as shown:
        restore_backup(settings, archive, shown.update)


def _refuse_while_up(settings: Settings) -> None:
    record = read_record(record_path(settings))
    if record and record.up.process():
        raise BackupError(f"`cleverbetter up` runs for {settings.home}: stop it first, with `cleverbetter down`.")


def _print_lines(lines: tuple[str, ...], console: Console) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
