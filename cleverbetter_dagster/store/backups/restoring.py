"""Restoring a backup: everything is prepared first, and then takes its place in an instant, or nothing does.

The databases are filled inside a transaction each, the files beside their place. When all of it is there, the folders
are renamed and the transactions committed.
"""

import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from psycopg import sql

from cleverbetter_dagster.errors import BackupError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.backups.archive import ArchiveReader, Dump, Grant, Manifest, counted
from cleverbetter_dagster.store.backups.clients import client_program, run_client
from cleverbetter_dagster.store.backups.databases import OwnSchema, SchemaState, own_schemas, state_of
from cleverbetter_dagster.store.backups.making import one_at_a_time
from cleverbetter_dagster.store.backups.sessions import OpenTransaction
from cleverbetter_dagster.store.backups.trees import Tree, listing, own_trees, swapped
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.tracking.moved_home import ADDRESSES
from cleverbetter_dagster.store.tracking.places import artefact_address

LOCK_SECONDS = 15
"""So long others may hold a table that is to be overwritten."""

HEADER_LINES = 60
NEW_SETTINGS = {"transaction_timeout": 17}
"""Settings at the head of a dump that earlier servers do not know, with the first version that does."""

NEW_RIGHTS = {"MAINTAIN": 17}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a restore will do.

    Attributes:
        lines: in sentences.
        occupied: what is there now and will be gone, in words; empty where nothing is.
    """

    lines: tuple[str, ...]
    occupied: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    schema: OwnSchema
    state: SchemaState
    dump: Dump | None


def plan_restore(settings: Settings, manifest: Manifest) -> Plan:
    """Look at what is there; changes nothing but that an embedded server is started and missing schemas are made.

    Raises:
        BackupError: this deployment cannot hold what the backup has; the message says why.
        CleverBetterError: as `psycopg_connect`.
    """
    prepare_home(settings)
    lines, occupied = [], []
    for part in _parts(settings, manifest):
        if part.dump:
            lines.append(f"{part.schema} is filled from the backup.")
        if part.state.relations:
            if not part.dump:
                lines.append(f"{part.schema} is emptied: it was empty when the backup was taken.")
            occupied.append(f"{counted(part.state.relations, 'relation')} (tables, views, sequences) in {part.schema}")
        lines += [f"  Rights of {role} on it are not given: there is no such role." for role in _unknown_roles(part)]
        if part.state.other_sessions:
            lines.append(f"  {counted(part.state.other_sessions, 'other session')} there: stop all that is ours.")
    for tree in _trees(settings, manifest):
        lines.append(f"{tree.folder} gets {counted(manifest.trees[tree.name], 'file')}.")
        if count := len(listing(tree.folder)):
            occupied.append(f"{counted(count, 'file')} in {tree.folder}")
    return Plan((*dict.fromkeys(lines), *manifest.left_out), tuple(occupied))


def restore_backup(settings: Settings, archive: ArchiveReader, say: Say = lambda _: None) -> None:
    """Put what an archive has in the place of what is there. If it fails or is interrupted, nothing is changed.

    Raises:
        BackupError: a hash differs, or a database refuses.
        CleverBetterError: as `psycopg_connect`.
    """
    manifest = archive.manifest
    parts, trees = _parts(settings, manifest), _trees(settings, manifest)
    try:
        with one_at_a_time(settings) as folder, ExitStack() as stack:
            say("unpacking")
            for _ in archive.extract(folder):
                pass
            transactions = _filled(settings, manifest, parts, folder, stack, say)
            with _beside(trees, folder) as new, _uninterrupted(), swapped(new):
                for transaction in transactions:
                    transaction.commit()
    except OSError as error:
        raise BackupError(f"Cannot restore to {settings.home}: {error}. Nothing was changed.") from error


def _filled(
    settings: Settings, manifest: Manifest, parts: list[_Part], folder: Path, stack: ExitStack, say: Say
) -> list[OpenTransaction]:
    """A transaction for each database, in which its schemas are as in the backup."""
    opened: dict[str, OpenTransaction] = {}
    for part in parts:
        target = part.schema.target
        if target.url.conninfo not in opened:
            transaction = stack.enter_context(closing(OpenTransaction(target, part.state.server_version, folder)))
            transaction.run(["BEGIN;"])
            opened[target.url.conninfo] = transaction
        say(f"filling {part.schema}")
        script = _script(part, folder)
        is_mlflow = part.dump is not None and part.schema.purpose == "mlflow"
        moved = _moved(settings, manifest, part.schema.name) if is_mlflow else []
        opened[target.url.conninfo].run([*script, *moved, *_granting(part)])
    return list(opened.values())


def _script(part: _Part, folder: Path) -> list[str]:
    name = _text(sql.Identifier(part.schema.name))
    drop = [f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s';", f"DROP SCHEMA IF EXISTS {name} CASCADE;"]
    if part.dump is None:
        return [*drop, f"CREATE SCHEMA {name};"]
    version, file = part.state.server_version, f"{part.schema.purpose}.sql"
    command = [str(client_program("pg_restore", version)), f"--file={folder / file}", str(folder / part.dump.file)]
    run_client([*command, "--no-owner", "--no-privileges"], part.schema.target)
    unknown = [setting for setting, since in NEW_SETTINGS.items() if version < since * 10_000]
    _without_settings(folder / file, unknown)
    return [*drop, f"\\i {file}"]


def _without_settings(script: Path, unknown: Sequence[str]) -> None:
    """Take lines such as `SET transaction_timeout = 0;` out of the head of a script."""
    if not unknown:
        return
    changed = script.with_suffix(".changed")
    with script.open("rb") as old, changed.open("wb") as new:
        for number, line in enumerate(old):
            if number < HEADER_LINES and line.startswith(tuple(f"SET {name} ".encode() for name in unknown)):
                continue
            new.write(line)
    changed.replace(script)


def _moved(settings: Settings, manifest: Manifest, schema: str) -> list[str]:
    """MLflow's records name the folder of its artefacts: in another home that is another one."""
    old, new = manifest.mlflow_address, artefact_address(settings)
    if old is None or old == new:
        return []
    update = sql.SQL(
        "UPDATE {table} SET {column} = {new} || substr({column}, {length}) "
        "WHERE {column} = {old} OR starts_with({column}, {below});"
    )
    return [
        _text(
            update.format(
                table=sql.Identifier(schema, table),
                column=sql.Identifier(column),
                new=sql.Literal(new),
                old=sql.Literal(old),
                below=sql.Literal(f"{old}/"),
                length=sql.Literal(len(old) + 1),
            )
        )
        for table, column in ADDRESSES
    ]


def _granting(part: _Part) -> list[str]:
    """The rights that others had on the schema, here or in the backup; only on what exists, to roles that exist."""
    grants = [grant for grant in _all_grants(part) if grant.role in part.state.roles]
    known = [grant for grant in grants if part.state.server_version >= NEW_RIGHTS.get(grant.privilege, 0) * 10_000]
    return [_text(_grant(grant)) for grant in known if part.dump or grant.table is None]


def _grant(grant: Grant) -> sql.Composed:
    name = sql.Identifier(grant.schema_name, grant.table) if grant.table else sql.Identifier(grant.schema_name)
    role = sql.SQL("PUBLIC") if grant.role == "PUBLIC" else sql.Identifier(grant.role)
    if grant.table is None:
        return sql.SQL("GRANT {} ON SCHEMA {} TO {};").format(sql.SQL(grant.privilege), name, role)
    # A table may have come or gone between the backup and now.
    statement = sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(grant.privilege), name, role)
    return sql.SQL("DO {};").format(
        sql.Literal(f"BEGIN {_text(statement)}; EXCEPTION WHEN undefined_table THEN NULL; END")
    )


def _all_grants(part: _Part) -> list[Grant]:
    return list(dict.fromkeys([*(part.dump.grants if part.dump else ()), *part.state.grants]))


def _unknown_roles(part: _Part) -> list[str]:
    return sorted({grant.role for grant in _all_grants(part)} - part.state.roles)


def _parts(settings: Settings, manifest: Manifest) -> list[_Part]:
    parts = []
    for schema in own_schemas(settings):
        dump, state = manifest.dumps.get(schema.purpose), state_of(schema)
        if dump is not None and dump.schema_name != schema.name:
            raise BackupError(f"The backup has a schema {dump.schema_name}, and {schema} is set. Set the same name.")
        if state.dependents:
            raise BackupError(
                f"Views of yours read {schema} and would be dropped with it: {', '.join(state.dependents)}. Drop them "
                "yourself, and make them again afterwards."
            )
        parts.append(_Part(schema, state, dump))
    if missing := sorted(set(manifest.dumps) - {part.schema.purpose for part in parts}):
        raise BackupError(f"The backup has {', '.join(missing)}, which is at MLFLOW_TRACKING_URI here. Unset it.")
    return parts


def _trees(settings: Settings, manifest: Manifest) -> list[Tree]:
    trees = [tree for tree in own_trees(settings) if tree.name in manifest.trees]
    if set(manifest.trees) - {tree.name for tree in trees}:
        raise BackupError(
            "The backup has files, and CLEVERBETTER_ARTEFACTS_URL or CLEVERBETTER_STORAGE_URL puts them into a storage "
            "elsewhere. Unset it, restore, and move them there: docs/cluster.md says how."
        )
    return trees


@contextmanager
def _beside(trees: list[Tree], folder: Path) -> Iterator[dict[Path, Path]]:
    """The unpacked files beside the folders that they are for, on the same disk."""
    new = {tree.folder: tree.folder.with_name(f"{tree.folder.name}.restoring-{uuid4().hex[:8]}") for tree in trees}
    try:
        for tree in trees:
            place = new[tree.folder]
            place.parent.mkdir(parents=True, exist_ok=True)
            unpacked = folder / "files" / tree.name
            if unpacked.exists():
                shutil.move(unpacked, place)
            else:
                place.mkdir(mode=0o700)
        yield new
    finally:
        for place in new.values():
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """The last moments of a restore: they take milliseconds, and Ctrl-C in them comes too late."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _text(composed: sql.Composable) -> str:
    return composed.as_string(None)
