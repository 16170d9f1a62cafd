"""JSON Lines and arrays, with damage of every kind."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers import json_rows, row_file
from cleverbetter_dagster.store.imports.readers.json_array import ArraySplitter
from cleverbetter_dagster.store.imports.readers.opening import open_rows
from cleverbetter_dagster_tests.store.imports.readers.reading import read_all, read_bytes

GOOD = b'{"id": "r1", "a": 1.5}'

BAD_OBJECTS = [
    (b'{"id": "r2", "a": "\\ud800"}', "half a surrogate pair"),
    (b'{"id": "r2", "a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "nested more than 250 levels deep"),
    (b'{"id": "r2", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested more than 250 levels deep"),
    (b'{"id": "r2", "a": ' + b'{"b": ' * 300 + b"1" + b"}" * 300 + b"}", "nested more than 250 levels deep"),
    (b'{"id": "r2", "a": ' + b"9" * 5_000 + b"}", "an integer of more than 4,300 digits"),
    (b'{"id": "r2", "a": "\xff"}', "not UTF-8: byte 20 is 0xff"),
    (b'{"id": "r2", "a": "\\u0000"}', "contains the character NUL"),
    (b'{"id": "r2", "a": "\0"}', "contains the character NUL"),
    (b'{"id": "r2", "a": 1,}', "not a JSON object"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_OBJECTS)
def test_a_bad_line_costs_no_other(tmp_path: Path, line: bytes, reason: str) -> None:
    rows, malformed = read_bytes(tmp_path / "a.jsonl", b"\n".join([GOOD, line, b"", GOOD]))
    assert rows == [(1, {"id": "r1", "a": 1.5}), (4, {"id": "r1", "a": 1.5})]
    assert [(number, row_id) for number, row_id, _, _ in malformed] == [(2, "r2")]
    assert reason in malformed[0][3]
    assert len(malformed[0][2]) <= row_file.LONGEST_RAW


@pytest.mark.parametrize(("element", "reason"), BAD_OBJECTS)
def test_a_bad_element_costs_no_other(tmp_path: Path, element: bytes, reason: str) -> None:
    rows, malformed = read_bytes(tmp_path / "a.json", b"[" + b", ".join([GOOD, element, GOOD]) + b"]")
    assert rows == [(1, {"id": "r1", "a": 1.5}), (3, {"id": "r1", "a": 1.5})]
    assert [(number, row_id) for number, row_id, _, _ in malformed] == [(2, "r2")]
    assert reason in malformed[0][3]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json"])
def test_a_line_too_long_is_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(row_file, "BLOCK_BYTES", 1_000)
    monkeypatch.setattr(row_file, "LONGEST_LINE", 5_000)
    rows = [GOOD, b'{"id": "r2", "a": "' + b"x" * 9_000 + b'"}', b'{"id": "r3", "a": "' + b"x" * 3_000 + b'"}']
    text = b"[" + b",\n".join(rows) + b"]" if name == "a.json" else b"\n".join(rows)
    read, malformed = read_bytes(tmp_path / name, gzip.compress(text) if name.endswith(".gz") else text)
    assert [(line, row["id"]) for line, row in read] == [(1, "r1"), (3, "r3")]
    assert [(number, row_id) for number, row_id, _, _ in malformed] == [(2, "r2")]
    assert "longer than" in malformed[0][3]


def test_an_array_goes_on_behind_an_element_without_end(tmp_path: Path) -> None:
    text = (
        b'[{"id": "r1"},\n{"id": "r2", "a": "open},\n{"id": "r3"},\n{"id": "r4", "a": [1,},\n{"id": "r5"},\n{"id": "r6"'
    )
    rows, malformed = read_bytes(tmp_path / "a.json", text)
    assert rows == [(1, {"id": "r1"}), (3, {"id": "r3"}), (5, {"id": "r5"})]
    assert [(line, row_id, raw) for line, row_id, raw, _ in malformed] == [
        (2, "r2", '{"id": "r2", "a": "open}'),
        (4, "r4", '{"id": "r4", "a": [1,}'),
        (6, "r6", '{"id": "r6"'),
    ]


@settings(deadline=None)
@given(
    st.lists(
        st.recursive(
            st.integers() | st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
        )
    ),
    st.integers(1, 20),
    st.sampled_from([None, 1]),
)
def test_an_array_is_split_like_json_parses_it(elements: list[object], size: int, indent: int | None) -> None:
    text = json.dumps(elements, indent=indent, ensure_ascii=False).encode()
    splitter = ArraySplitter()
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    split = [each for chunk in chunks for each in splitter.feed(chunk)] + [*splitter.feed(b"", last=True)]
    assert [json.loads(each.text) for each in split] == elements
    assert [each.reason for each in split if each.reason] == []


def test_long_integers_keep_every_digit(tmp_path: Path) -> None:
    rows, _ = read_bytes(tmp_path / "a.jsonl", b'{"id": 12345678901234567890123, "a": {"b": 98765432109876543210}}')
    assert rows == [(1, {"id": "12345678901234567890123", "a": '{"b": 98765432109876543210}'})]


def test_nan_within_a_value_is_not_written_as_null(tmp_path: Path) -> None:
    rows, _ = read_bytes(tmp_path / "a.jsonl", b'{"id": "r1", "features": {"a": NaN, "b": null}}')
    assert rows == [(1, {"id": "r1", "features": '{"a": NaN, "b": null}'})]


@pytest.mark.parametrize("content", [b'{\n "id": "r1"\n}', b"[1, 2]", b"nothing\n"])
def test_a_file_without_an_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ImportFileError, match="one array of such objects"):
        open_rows(path)


def test_too_many_keys_are_refused_with_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "MOST_KEYS", 3)
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"id": n, f"key_{n}": 1}) for n in range(9)))
    with pytest.raises(ImportFileError, match="more than 3 different keys up to line 3"):
        open_rows(path)


def test_rows_with_many_different_keys_come_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "MOST_CELLS", 20)
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"id": n, f"key_{n}": 1}) for n in range(12)))
    file = open_rows(path)
    tables = [batch.table for batch in file.batches(file.names)]
    assert max(table.num_rows * table.num_columns for table in tables) <= 20
    assert [row["id"] for table in tables for row in table.to_pylist()] == [*range(12)]


def test_the_sample_has_values_of_late_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([*(json.dumps({"id": n, "a": None}) for n in range(500)), '{"a": 7, "b": "x"}']))
    sample = open_rows(path).sample()
    assert sample["a"].drop_null().to_pylist() == [7]
    assert sample["b"].drop_null().to_pylist() == ["x"]


def test_only_wanted_keys_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + b"\n" + b'{"a": {"b": 1}}\n')
    assert read_all(path, ["a"])[0] == [(1, {"a": "1.5"}), (2, {"a": '{"b":1}'})]
