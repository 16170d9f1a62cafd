"""Our schemas in their databases: one snapshot of all of them, dumps of it, and the rights others have on them."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.backups.archive import Grant
from cleverbetter_dagster.store.backups.clients import client_program, run_client
from cleverbetter_dagster.store.postgres.database import Purpose, Target, connect, psycopg_connect, running_target

PURPOSES: tuple[Purpose, ...] = ("state", "dagster", "mlflow", "optuna")
"""What has a schema of ours. The rows have none: their tables belong to others."""

RELATIONS = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind <> 'i'
"""
GRANTS = """
SELECT g.nspname, g.relname, coalesce(r.rolname, 'PUBLIC'), g.privilege_type
FROM (SELECT n.nspname, NULL, a.grantee, a.privilege_type
FROM pg_namespace n, aclexplode(n.nspacl) a
WHERE n.nspname = %(schema)s AND a.grantee <> n.nspowner
UNION ALL
SELECT n.nspname, c.relname, a.grantee, a.privilege_type
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
WHERE n.nspname = %(schema)s AND a.grantee <> c.relowner AND c.relkind <> 'S'
) g (nspname, relname, grantee, privilege_type) LEFT JOIN pg_roles r ON r.oid = g.grantee
ORDER BY 1, 2 NULLS FIRST, 3, 4
"""
DEPENDENTS = """
SELECT DISTINCT vn.nspname || '.' || v.relname
FROM pg_depend d
JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
JOIN pg_class v ON v.oid = w.ev_class JOIN pg_namespace vn ON vn.oid = v.relnamespace
JOIN pg_class t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE tn.nspname = %s AND vn.nspname <> tn.nspname
ORDER BY 1
"""
OTHER_SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    AND application_name NOT LIKE 'cleverbetter up on %'
"""
# The lock of `up` is held by whoever restores.


@dataclass(frozen=True)
class OwnSchema:
    """The schema of a purpose and the database it is in."""

    purpose: Purpose
    target: Target
    name: str

    def __str__(self) -> str:
        return f"schema {self.name} of {self.target}"


@dataclass(frozen=True)
class SnapshotSchema:
    """A schema in a snapshot that others can use as long as it is open.

    Attributes:
        relations: tables, views and sequences in it.
    """

    schema: OwnSchema
    snapshot: str
    server_version: int
    relations: int
    grants: tuple[Grant, ...]


def own_schemas(settings: Settings) -> list[OwnSchema]:
    """Our schemas, by purpose; MLflow's only where MLflow keeps runs in the one database. They exist.

    Raises:
        SettingsError: an address names another search path than one schema of our own.
        CleverBetterError: as `psycopg_connect`.
    """
    found = []
    for purpose in PURPOSES:
        if purpose == "mlflow" and settings.mlflow_tracking_uri is not None:
            continue
        psycopg_connect(settings, purpose).close()  # starts the embedded server, and creates what is missing
        target = running_target(settings, purpose)
        assert target is not None  # it answered a moment ago
        name = target.schema or dict(target.url.settings)["search_path"]
        if not name.isidentifier() or name == "public":
            raise SettingsError(
                f"{target.variable} sets the search path {name!r}, so our tables cannot be told from others. Name one "
                "schema that has nothing else."
            )
        found.append(OwnSchema(purpose, target, name))
    return found


@contextmanager
def snapshot_of(schemas: list[OwnSchema]) -> Iterator[list[SnapshotSchema]]:
    """One snapshot for each database, open inside the block.

    Snapshots of several databases are taken one after another, within milliseconds.
    """
    with ExitStack() as stack:
        opened: dict[str, tuple[psycopg.Connection, str]] = {}
        for schema in schemas:
            conninfo = schema.target.url.conninfo
            if conninfo not in opened:
                connection = stack.enter_context(closing(connect(schema.target)))
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                opened[conninfo] = connection, _one(connection, "SELECT pg_export_snapshot()")
        yield [_in_snapshot(schema, *opened[schema.target.url.conninfo]) for schema in schemas]


def _in_snapshot(schema: OwnSchema, connection: psycopg.Connection, snapshot: str) -> SnapshotSchema:
    relations = int(_one(connection, RELATIONS, [schema.name]))
    return SnapshotSchema(schema, snapshot, connection.info.server_version, relations, _grants(connection, schema.name))


def dump(one: SnapshotSchema, file: Path) -> None:
    """Write a schema as it is in its snapshot, in the custom format of pg_dump.

    Raises:
        BackupError, SettingsError: there is no pg_dump for it, or it failed.
    """
    command = [
        *(str(client_program("pg_dump", one.server_version)), "--format=custom", f"--file={file}"),
        *(f"--snapshot={one.snapshot}", f'--schema="{one.schema.name}"', "--no-owner", "--no-privileges"),
        *("--no-password", "--lock-wait-timeout=60s"),
    ]
    run_client(command, one.schema.target)


@dataclass(frozen=True)
class SchemaState:
    """What is in a schema before it is overwritten.

    Attributes:
        relations: tables, views and sequences in it.
        dependents: views of others that read it.
        grants: rights of others on it.
        roles: the roles there are, PUBLIC among them.
        other_sessions: clients connected to the database.
    """

    relations: int
    dependents: tuple[str, ...]
    grants: tuple[Grant, ...]
    roles: frozenset[str]
    other_sessions: int
    server_version: int


def state_of(schema: OwnSchema) -> SchemaState:
    """Look at a schema; changes nothing."""
    with closing(connect(schema.target, autocommit=True)) as connection:
        dependents = connection.execute(DEPENDENTS, [schema.name]).fetchall()
        roles = connection.execute("SELECT rolname FROM pg_roles").fetchall()
        return SchemaState(
            relations=int(_one(connection, RELATIONS, [schema.name])),
            dependents=tuple(name for (name,) in dependents),
            grants=_grants(connection, schema.name),
            roles=frozenset({"PUBLIC", *(name for (name,) in roles)}),
            other_sessions=int(_one(connection, OTHER_SESSIONS)),
            server_version=connection.info.server_version,
        )


def _grants(connection: psycopg.Connection, schema: str) -> tuple[Grant, ...]:
    rows = connection.execute(GRANTS, {"schema": schema}).fetchall()
    return tuple(Grant(schema_name=row[0], table=row[1], role=row[2], privilege=row[3]) for row in rows)


def _one(connection: psycopg.Connection, query: LiteralString, values: list[str] | None = None) -> str:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return str(row[0])
