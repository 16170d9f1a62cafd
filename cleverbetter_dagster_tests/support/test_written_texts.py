"""What looks for passwords finds a planted one wherever a run could have written it."""

import gzip
import json
import zipfile
import zlib
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.support.written_texts import written_to_files, written_to_tables

SECRET = "Tr0ub4dor"


def parquet(table: pa.Table) -> bytes:
    sink = BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def zipped(content: bytes) -> bytes:
    sink = BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("weights", content)
    return sink.getvalue()


FILES = {
    "logs/runs.log": f"connecting to postgresql://ann:{SECRET}@db\n".encode(),
    "compute_logs/1.err.gz": gzip.compress(SECRET.encode()),
    "artefacts/rows.parquet": parquet(pa.table({"source": [f"postgresql://ann:{SECRET}@db"] * 100, "n": [1] * 100})),
    "artefacts/signed.parquet": parquet(pa.table({"n": [1]}).replace_schema_metadata({"by": SECRET})),
    "mlartifacts/model.npz": zipped(SECRET.encode()),
    "mlartifacts/nested.zip": zipped(gzip.compress(SECRET.encode())),
    "dagster/pickle": b"\x80\x04\x8c" + SECRET.encode() + b".",
}


def test_a_secret_is_seen_in_every_kind_of_file(tmp_path: Path) -> None:
    for name, content in (FILES | {"clean.log": b"all is well"}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    places = {where.removeprefix(f"{tmp_path}/") for where, text in written_to_files(tmp_path) if SECRET in text}
    assert places == set(FILES)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", SECRET),
        ("jsonb", json.dumps({"config": {"url": SECRET}})),
        ("bytea", zlib.compress(SECRET.encode())),
        ("bytea", SECRET.encode()),
        ("text[]", [SECRET]),
    ],
)
def test_a_secret_is_seen_in_every_schema(database: Settings, kind: str, value: object) -> None:
    with closing(psycopg_connect(database, "rows", autocommit=True)) as connection:
        connection.execute("CREATE SCHEMA elsewhere")
        connection.execute(f"CREATE TABLE elsewhere.kept (id int, value {kind})")
        connection.execute("INSERT INTO elsewhere.kept VALUES (1, %s)", [value])
        places = [where for where, text in written_to_tables(connection) if SECRET in text]
    assert places == ["elsewhere.kept"]
