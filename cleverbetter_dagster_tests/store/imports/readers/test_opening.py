"""Files of every kind, compressed or not."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather, ipc
from pyarrow import parquet as pq

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers.opening import open_rows
from cleverbetter_dagster_tests.store.imports.readers.reading import read_all, read_bytes

TABLE = pa.table({"id": ["r1", "r2"], "a": ["x", None]})
ROWS = TABLE.to_pylist()


def write_stream(table: pa.Table, path: str) -> None:
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.parquet": lambda path: pq.write_table(TABLE, path),
    "a.pq": lambda path: pq.write_table(TABLE, path),
    "a.feather": lambda path: feather.write_feather(TABLE, str(path)),
    "a.arrow": lambda path: feather.write_feather(TABLE, str(path), compression="uncompressed"),
    "a.ipc": lambda path: write_stream(TABLE, str(path)),
    "a.arrows": lambda path: write_stream(TABLE, str(path)),
    "a.csv": lambda path: path.write_text("id,a\nr1,x\nr2,\n"),
    "a.tsv": lambda path: path.write_text("id\ta\nr1\tx\nr2\t\n"),
    "a.txt": lambda path: path.write_text("id;a\nr1;x\nr2;\n"),
    "a.json": lambda path: path.write_text('[{"id": "r1", "a": "x"}, {"id": "r2", "a": null}]'),
    "array.jsonl": lambda path: path.write_text(' \n[{"id": "r1", "a": "x"},\n{"id": "r2", "a": null}\n]\n'),
    "lines.json": lambda path: path.write_text('{"id": "r1", "a": "x"}\n{"id": "r2", "a": null}\n'),
    "a.jsonl": lambda path: path.write_text('{"id": "r1", "a": "x"}\n{"id": "r2", "a": null}\n'),
    "A.NDJSON": lambda path: path.write_text('{"id": "r1", "a": "x"}\n{"id": "r2", "a": null}'),
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
    ".ZST": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("compression", ["", *COMPRESS])
@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_is_read(tmp_path: Path, name: str, compression: str) -> None:
    WRITERS[name](tmp_path / name)
    path = tmp_path / f"{name}{compression}"
    if compression:
        path.write_bytes(COMPRESS[compression]((tmp_path / name).read_bytes()))
    rows, malformed = read_all(path)
    assert [row for _, row in rows] == ROWS
    assert malformed == []


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".zst"])
def test_compressed_pieces_one_after_another_are_one_file(tmp_path: Path, compression: str) -> None:
    pack = COMPRESS[compression]
    rows, _ = read_bytes(tmp_path / f"a.csv{compression}", pack(b"id,a\nr1,x\n") + pack(b"r2,\n"))
    assert [row for _, row in rows] == ROWS


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz", ".zst"])
def test_a_file_that_breaks_off_is_named_with_a_line(tmp_path: Path, name: str, compression: str) -> None:
    rows = [b"r%d,%d" % (n, n * 7919 % 10_007) for n in range(200_000)]
    text = b"id,a\n" + b"\n".join(rows) if name == "a.csv" else b'{"id": "' + b'"}\n{"id": "'.join(rows) + b'"}'
    path = tmp_path / f"{name}{compression}"
    path.write_bytes(COMPRESS[compression](text)[:-5_000])
    with pytest.raises(ImportFileError, match=r"damaged or incomplete after line [1-9][\d,]+: .*Nothing of it was"):
        read_all(path)


def test_a_folder_of_parquet_is_one_file(tmp_path: Path) -> None:
    for month in ("2023-01", "2023-02", "__HIVE_DEFAULT_PARTITION__"):
        folder = tmp_path / "rows" / f"month={month}" / "venue=a%2Fb"
        folder.mkdir(parents=True)
        pq.write_table(
            TABLE.append_column("n", pa.array([1, 2])) if month == "2023-02" else TABLE, folder / "0.parquet"
        )
    (tmp_path / "rows" / "_metadata.parquet").write_text("not read")
    assert open_rows(tmp_path / "rows").names == ("id", "a", "month", "venue", "n")
    rows, _ = read_all(tmp_path / "rows", ["id", "month", "venue", "n"])
    assert rows == [
        (1, {"id": "r1", "month": "2023-01", "venue": "a/b"}),
        (2, {"id": "r2", "month": "2023-01", "venue": "a/b"}),
        (3, {"id": "r1", "n": 1, "month": "2023-02", "venue": "a/b"}),
        (4, {"id": "r2", "n": 2, "month": "2023-02", "venue": "a/b"}),
        (5, {"id": "r1", "month": None, "venue": "a/b"}),
        (6, {"id": "r2", "month": None, "venue": "a/b"}),
    ]


def test_a_column_of_the_file_wins_over_its_folder(tmp_path: Path) -> None:
    (tmp_path / "rows" / "a=folder").mkdir(parents=True)
    pq.write_table(TABLE, tmp_path / "rows" / "a=folder" / "0.parquet")
    assert [row for _, row in read_all(tmp_path / "rows")[0]] == ROWS


def test_feather_of_version_1_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.feather"
    path.write_bytes(b"FEA1" + b"\0" * 20)
    with pytest.raises(ImportFileError, match="Feather of version 1"):
        open_rows(path)


def test_an_unknown_kind_is_told_which_are_known(tmp_path: Path) -> None:
    with pytest.raises(
        ImportFileError, match=r"must end in \.parquet, .*\.csv.* each also in \.gz, \.bz2, \.xz, \.zst"
    ):
        open_rows(tmp_path / "a.xlsx")
