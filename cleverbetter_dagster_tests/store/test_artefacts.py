"""Artefacts come back as they were stored, appear whole or not at all, and say what is missing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import fsspec
import pyarrow as pa
import pytest
from fsspec import AbstractFileSystem
from pydantic import BaseModel

from cleverbetter_dagster.errors import ArtefactsUnavailable, DataError
from cleverbetter_dagster.store.artefacts import ArtefactStore

JANUARY = pa.table({"id": ["a", "b"], "ml_avg_odds": [2.5, None]})
FEBRUARY = pa.table({"id": ["c"], "ml_overround": [1.04]})


class Split(BaseModel):
    as_of: str
    rows: int


@pytest.fixture(params=["folder", "file://", "memory://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtefactStore:
    bases = {
        "folder": str(tmp_path / "artefacts"),
        "file://": f"file://{tmp_path}/artefacts",
        "memory://": f"memory://{uuid4().hex}",
    }
    return ArtefactStore(bases[request.param])


def test_a_table_comes_back_as_it_was(store: ArtefactStore) -> None:
    store.write_table("training_rows/2023-01.parquet", JANUARY)
    assert store.read_tables(["training_rows/2023-01.parquet"]).equals(JANUARY)


def test_months_with_different_columns_are_unified(store: ArtefactStore) -> None:
    store.write_table("rows/2023-01.parquet", JANUARY)
    store.write_table("rows/2023-02.parquet", FEBRUARY)
    both = store.read_tables(["rows/2023-01.parquet", "rows/2023-02.parquet"])
    assert both.to_pydict() == {
        "id": ["a", "b", "c"],
        "ml_avg_odds": [2.5, None, None],
        "ml_overround": [None, None, 1.04],
    }


def test_an_empty_month_keeps_its_columns_and_types(store: ArtefactStore) -> None:
    store.write_table("rows/2023-03.parquet", JANUARY.slice(0, 0))
    empty = store.read_tables(["rows/2023-03.parquet"])
    assert empty.num_rows == 0
    assert empty.schema == JANUARY.schema


def test_a_column_that_changes_its_type_is_refused(store: ArtefactStore) -> None:
    store.write_table("rows/1.parquet", pa.table({"id": ["a"]}))
    store.write_table("rows/2.parquet", pa.table({"id": [1]}))
    with pytest.raises(DataError, match="do not go together"):
        store.read_tables(["rows/1.parquet", "rows/2.parquet"])


def test_records_and_mappings_come_back_as_they_were(store: ArtefactStore) -> None:
    store.write_json("split/2023-01.json", Split(as_of="2023-01", rows=3))
    store.write_json("plain.json", {"fold_auc": [0.7, 0.71], "model": None})
    assert Split.model_validate(store.read_json("split/2023-01.json")) == Split(as_of="2023-01", rows=3)
    assert store.read_json("plain.json") == {"fold_auc": [0.7, 0.71], "model": None}


def test_the_last_writer_wins(store: ArtefactStore) -> None:
    store.write_json("a.json", {"n": 1})
    store.write_json("a.json", {"n": 2})
    assert store.read_json("a.json") == {"n": 2}


def test_existence_is_told_of_files_only(store: ArtefactStore) -> None:
    assert not store.exists("rows/2023-01.parquet")
    store.write_table("rows/2023-01.parquet", JANUARY)
    assert store.exists("rows/2023-01.parquet")
    assert not store.exists("rows")


def test_a_missing_artefact_is_named_with_its_place(store: ArtefactStore) -> None:
    with pytest.raises(DataError, match=r"no artefact .*rows/2023-04\.parquet.*Materialise"):
        store.read_tables(["rows/2023-04.parquet"])
    with pytest.raises(DataError, match=r"no artefact .*split\.json"):
        store.read_json("split.json")
    with pytest.raises(DataError, match="at least one"):
        store.read_tables([])


def test_numbers_json_has_no_name_for_become_null(store: ArtefactStore) -> None:
    store.write_json("a.json", {"auc": float("nan"), "bounds": [float("-inf"), 0.7]})
    assert store.read_json("a.json") == {"auc": None, "bounds": [None, 0.7]}


def test_an_object_without_json_form_is_refused(store: ArtefactStore) -> None:
    store.write_json("a.json", {"auc": 0.7})
    with pytest.raises(DataError, match="plain numbers and texts"):
        store.write_json("a.json", {"auc": object()})
    assert store.read_json("a.json") == {"auc": 0.7}


def test_a_path_may_not_leave_the_base(store: ArtefactStore) -> None:
    for path in ("../a.json", "rows/../../a.json", "/etc/a.json"):
        with pytest.raises(DataError, match="below the base"):
            store.write_json(path, {})


def test_an_interrupted_write_leaves_the_old_artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtefactStore(str(tmp_path))
    store.write_json("a.json", {"n": 1})

    def cut_short(*_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", cut_short)
    with pytest.raises(KeyboardInterrupt):
        store.write_json("a.json", {"n": 2})
    assert store.read_json("a.json") == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    store = ArtefactStore(str(tmp_path))
    (tmp_path / "a.parquet").write_bytes(b"PAR")
    (tmp_path / "a.json").write_text("[1, 2")
    (tmp_path / "b.json").write_text("[1, 2]")
    with pytest.raises(DataError, match=r"a\.parquet is no Parquet"):
        store.read_tables(["a.parquet"])
    with pytest.raises(DataError, match=r"a\.json is no JSON"):
        store.read_json("a.json")
    with pytest.raises(DataError, match="not a JSON object"):
        store.read_json("b.json")


def test_an_unknown_protocol_is_refused_with_a_remedy() -> None:
    with pytest.raises(DataError, match="install the fsspec driver"):
        ArtefactStore("nosuchthing://bucket")


def test_urls_say_where_an_artefact_lies(tmp_path: Path) -> None:
    assert ArtefactStore(str(tmp_path)).url("a/b.json") == str(tmp_path / "a" / "b.json")
    assert ArtefactStore("memory://base").url("a/b.json") == "memory:///base/a/b.json"


class Bucket(AbstractFileSystem):
    """Stands for a store that keeps files by key, and makes a bucket if it is asked for a folder."""

    protocol = ("s3", "s3a")
    made: ClassVar[list[str]] = []
    kept: ClassVar[dict[str, bytes]] = {}

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.made.append(path)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        self.kept[path] = value


class Away(Bucket):
    """Stands for a store that does not answer."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        raise ConnectionResetError("gone")

    def info(self, path: str, **_: object) -> dict[str, object]:
        raise TimeoutError("too slow")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        raise PermissionError("no such key")


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.write_json("a.json", {}),
        lambda store: store.read_json("a.json"),
        lambda store: store.exists("a.json"),
        lambda store: store.names("a", ".json"),
    ],
)
def test_a_storage_that_is_away_is_named(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[ArtefactStore], object]
) -> None:
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url, **_: (Away(), url.removeprefix("s3://")))
    with pytest.raises(ArtefactsUnavailable, match=r"s3://artifacts/x cannot be reached.*CLEVERBETTER_ARTEFACTS_URL"):
        use(ArtefactStore("s3://artifacts/x"))


def test_a_storage_that_refuses_to_connect_is_named() -> None:
    with pytest.raises(ArtefactsUnavailable, match="Connection refused"):
        ArtefactStore("ftp://127.0.0.1:1/x")


def test_no_bucket_is_made_for_a_misspelt_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url, **_: (Bucket(), url.removeprefix("s3://")))
    ArtefactStore("s3://artifacts/prefix").write_json("study/2023-01.json", {"a": 1})
    assert (Bucket.made, list(Bucket.kept)) == ([], ["artifacts/prefix/study/2023-01.json"])
