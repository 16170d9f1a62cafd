"""Everything a deployment has written, as text, for tests that look for what must not be there.

Each value of each table of each schema, and each file of a folder; what is packed is unpacked.
"""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

GZIP, ZIP, PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"


def written_to_tables(connection: psycopg.Connection) -> Iterator[tuple[str, str]]:
    """Every row of every table of the database that is not PostgreSQL's own, after the table's name."""
    tables = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    for schema, table in connection.execute(tables).fetchall():
        for row in connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))):
            yield f"{schema}.{table}", "\n".join(map(as_text, row))


def written_to_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file below a folder, after its path."""
    for file in folder.rglob("*"):
        if file.is_file():
            yield str(file), as_text(file.read_bytes())


def as_text(value: Any) -> str:
    """A value with what is packed in it: gzip, zlib, zip (and what builds on it), the columns of Parquet."""
    if not isinstance(value, bytes):
        return str(value)
    if value.startswith(PARQUET):
        return _columns(pq.read_table(BytesIO(value)))
    if value.startswith(ZIP):
        with zipfile.ZipFile(BytesIO(value)) as packed:
            return "\n".join((name + as_text(packed.read(name))) for name in packed.namelist())
    if value.startswith(GZIP):
        return as_text(gzip.decompress(value))
    with suppress(zlib.error):
        return as_text(zlib.decompress(value))
    return value.decode(errors="replace")


def _columns(table: pa.Table) -> str:
    texts = [column for column in table.columns if not pa.types.is_primitive(column.type)]
    return "\n".join([str(table.schema.metadata), *(str(column.to_pylist()) for column in texts)])
