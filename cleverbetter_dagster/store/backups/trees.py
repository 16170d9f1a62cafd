"""Our folders of files: what is in them, a copy that costs no time, and putting another in their place."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.tracking.moved_home import path_of
from cleverbetter_dagster.store.tracking.places import artefact_address

UNFINISHED = ".part"
"""Ending of a file that an artefact is written to before it gets its name."""


@dataclass(frozen=True)
class Tree:
    """A folder of ours.

    Attributes:
        still: whether a backup waits until nothing in it changes; logs are taken as they are.
    """

    name: str
    folder: Path
    still: bool


Listing = Mapping[str, tuple[int, int, int]]
"""By path below a folder: size, time of the last change in ns, and inode. Equal listings are equal contents."""


def own_trees(settings: Settings) -> list[Tree]:
    """The folders that belong to a backup; artefacts and MLflow's only where they are on a disk of this machine."""
    trees = []
    base = ArtefactStore(settings.artefacts_base).url("")
    if base.startswith("/"):
        trees.append(Tree("artefacts", Path(base), still=True))
    address = artefact_address(settings)
    if settings.mlflow_tracking_uri is None and address.startswith("file:"):
        trees.append(Tree("mlartifacts", path_of(address), still=True))
    return [*trees, Tree("dagster", settings.state_folder / "dagster", still=False)]


def listing(folder: Path) -> Listing:
    """The files below a folder; empty where it is missing. Files that are being written are left out."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with suppress(FileNotFoundError):  # it was renamed or removed meanwhile
                if not name.endswith(UNFINISHED) and path.is_file() and not path.is_symlink():
                    status = path.stat()
                    found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def link(folder: Path, files: Listing, target: Path) -> None:
    """Make the files of a listing appear in another folder too: as links if the disk is the same, else as copies.

    One that vanished meanwhile is left out; a second listing shows that.
    """
    for name in files:
        place = target / name
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            try:
                os.link(folder / name, place)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copy2(folder / name, place)


@contextmanager
def swapped(trees: Mapping[Path, Path]) -> Iterator[None]:
    """Put new folders in the place of others, by renaming. Back again if the block fails, else the old are removed.

    Args:
        trees: by folder, the new one, on the same disk.
    """
    aside = {folder: folder.with_name(f"{folder.name}.replaced-{uuid4().hex[:8]}") for folder in trees}
    done: list[Path] = []
    try:
        for folder, new in trees.items():
            if folder.exists():
                folder.rename(aside[folder])
            done.append(folder)
            new.rename(folder)
        yield
    except BaseException:
        for folder in reversed(done):
            if aside[folder].exists():
                shutil.rmtree(folder, ignore_errors=True)
                aside[folder].rename(folder)
            elif folder.exists():
                folder.rename(trees[folder])
        raise
    for old in aside.values():
        shutil.rmtree(old, ignore_errors=True)
