"""Making a backup: databases and files as they are at one instant, while runs go on.

Every file is listed, a snapshot of the databases is taken, the files are linked, and all are listed again. If nothing
changed between the listings, the links and the snapshot are of the same instant; otherwise it begins again. The rest,
reading and writing all of it, takes as long as it takes: nobody waits for it, and what runs write meanwhile is
left out.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from time import sleep

from cleverbetter_dagster.errors import BackupError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.backups.archive import ArchiveReader, ArchiveWriter, Dump, Manifest
from cleverbetter_dagster.store.backups.databases import SnapshotSchema, dump, own_schemas, snapshot_of
from cleverbetter_dagster.store.backups.trees import Listing, Tree, link, listing, own_trees
from cleverbetter_dagster.store.home import prepare_state_folder
from cleverbetter_dagster.store.tracking.places import artefact_address

MOST_TRIES = 30
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 5.0
"""Between tries, doubled each time: about two minutes in all."""

FILES = {"artefacts": "the assets", "mlartifacts": "MLflow"}
"""Folders of a backup, and whose files they have."""

Say = Callable[[str], None]


def left_out(settings: Settings) -> list[str]:
    """What is no part of a backup, in sentences."""
    sentences = [
        f"The tables of rows ({settings.results_table}, {settings.features_table}, {settings.strategies_table}) are "
        "yours and not in it: back them up yourself.",
        "Settings are not in it: keep cleverbetter.toml, or the variables, with your secrets.",
    ]
    if settings.mlflow_tracking_uri is not None:
        sentences.append(
            "Runs and models are at MLFLOW_TRACKING_URI and not in it: back that server up at the same time."
        )
    here = {tree.name for tree in own_trees(settings)} | ({"mlartifacts"} if settings.mlflow_tracking_uri else set())
    if missing := [what for name, what in FILES.items() if name not in here]:
        sentences.append(
            f"The files of {' and '.join(missing)} are in a storage elsewhere and not in it: keep their versions there."
        )
    return sentences


def make_backup(settings: Settings, file: Path, say: Say = lambda _: None) -> Manifest:
    """Write a backup and read it again to compare every hash. The file appears whole or not at all.

    Args:
        file: a new one, or one to be replaced; readable by us alone.
        say: gets a sentence on each step.

    Raises:
        BackupError: it cannot be made. Nothing is left of it.
        CleverBetterError: as `psycopg_connect`.
    """
    beside = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with one_at_a_time(settings) as folder:
            say("taking a snapshot of databases and files")
            with _instant(settings, folder, say) as (schemas, trees):
                manifest = _manifest(settings, schemas, trees)
                with os.fdopen(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                    writer = ArchiveWriter(out)
                    for one in schemas:
                        say(f"dumping {one.schema}")
                        dump(one, folder / "dump")
                        writer.add(manifest.dumps[one.schema.purpose].file, folder / "dump")
                    for tree, files in trees.items():
                        say(f"adding {len(files):,} files of {tree.folder}")
                        for name in files:
                            writer.add(f"files/{tree.name}/{name}", folder / tree.name / name)
                    manifest = writer.close(manifest)
                    out.flush()
                    os.fsync(out.fileno())
            say("reading it again")
            ArchiveReader(beside).verify()
            beside.replace(file)
    except OSError as error:
        raise BackupError(f"Cannot write the backup {file}: {error}. Name one in a folder of yours.") from error
    finally:
        beside.unlink(missing_ok=True)
    return manifest


@contextmanager
def one_at_a_time(settings: Settings) -> Iterator[Path]:
    """A temporary folder in the state folder, for the only backup or restore of this home.

    Raises:
        BackupError: another one is under way.
    """
    prepare_state_folder(settings)
    with (settings.state_folder / "backup.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Another backup or restore of {settings.home} is under way; wait for it.") from None
        for leftover in settings.state_folder.glob("backup-*"):  # of one that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="backup-", dir=settings.state_folder) as folder:
            yield Path(folder)


@contextmanager
def _instant(settings: Settings, folder: Path, say: Say) -> Iterator[tuple[list[SnapshotSchema], dict[Tree, Listing]]]:
    """The databases in snapshots, and the files as links in `folder`, of one instant."""
    schemas, trees = own_schemas(settings), own_trees(settings)
    pause = FIRST_PAUSE_SECONDS
    for _ in range(MOST_TRIES):
        before = {tree: listing(tree.folder) for tree in trees}
        with snapshot_of(schemas) as snapshots:
            for tree, files in before.items():
                link(tree.folder, files, folder / tree.name)
            if all(listing(tree.folder) == files for tree, files in before.items() if tree.still):
                yield [one for one in snapshots if one.relations], _linked(before, folder)
                return
        for tree in trees:
            shutil.rmtree(folder / tree.name, ignore_errors=True)
        say("a run wrote a file meanwhile; taking another snapshot")
        sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    raise BackupError(
        f"In each of {MOST_TRIES} tries a run wrote files while the snapshot was taken. Try again when it has ended."
    )


def _linked(files: dict[Tree, Listing], folder: Path) -> dict[Tree, Listing]:
    """What was linked; of logs some may have vanished before."""
    return {
        tree: {name: one for name, one in found.items() if (folder / tree.name / name).exists()}
        for tree, found in files.items()
    }


def _manifest(settings: Settings, schemas: list[SnapshotSchema], trees: dict[Tree, Listing]) -> Manifest:
    dumps = {
        one.schema.purpose: Dump(
            file=f"{one.schema.purpose}.dump",
            schema_name=one.schema.name,
            server_version=one.server_version,
            grants=one.grants,
        )
        for one in schemas
    }
    return Manifest(
        release=version("cleverbetter-dagster"),
        dumps=dict(dumps),
        trees={tree.name: len(files) for tree, files in trees.items()},
        mlflow_address=artefact_address(settings),
        left_out=tuple(left_out(settings)),
    )
