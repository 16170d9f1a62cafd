"""CSV as people write it, with damage of every kind."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers import row_file
from cleverbetter_dagster.store.imports.readers.delimited import NEVER_CLOSED
from cleverbetter_dagster.store.imports.readers.opening import open_rows
from cleverbetter_dagster_tests.store.imports.readers.reading import read_bytes

BAD_LINES = [
    (b"r2,\xff", "not UTF-8: byte 4 is 0xff"),
    (b'r2,"never', NEVER_CLOSED),
    (b"r2", "has 1 fields and the header 2"),
    (b"r2,1,", "has 3 fields and the header 2: quote fields that contain ','"),
    (b"r2,1\r5", "is no CSV"),
    (b"r2," + b"x" * 9_000, "longer than"),
]


@pytest.mark.parametrize("blocks", [400, 4_000])
@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_bad_line_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, reason: str, blocks: int
) -> None:
    monkeypatch.setattr(row_file, "BLOCK_BYTES", blocks)
    monkeypatch.setattr(row_file, "LONGEST_LINE", 5_000)
    others = [b'g%d,"{""a"": %d}"' % (n, n) for n in range(500)]
    rows, malformed = read_bytes(tmp_path / "a.csv", b"\n".join([b"id,a", others[0], line, *others[1:]]))
    assert rows == [(n + 2 + (n > 0), {"id": f"g{n}", "a": f'{{"a": {n}}}'}) for n in range(500)]
    assert [(number, row_id) for number, row_id, _, _ in malformed] == [(3, "r2")]
    assert reason in malformed[0][3]


def test_text_behind_a_quote_is_read_alike_beside_bad_lines(tmp_path: Path) -> None:
    alone, _ = read_bytes(tmp_path / "a.csv", b'id,a\nr1,"a"b\nr2,5" x\n')
    beside, _ = read_bytes(tmp_path / "b.csv", b'id,a\nr1,"a"b\nr2,5" x\ntorn\n')
    assert alone == beside == [(2, {"id": "r1", "a": "ab"}), (3, {"id": "r2", "a": '5" x'})]


def test_lines_count_as_an_editor_counts_them(tmp_path: Path) -> None:
    rows, malformed = read_bytes(tmp_path / "a.csv", b'id,a\nr1,"two\nlines"\n\nr2,1\ntorn\nr3,2\n')
    assert [(line, row["id"]) for line, row in rows] == [(2, "r1"), (5, "r2"), (7, "r3")]
    assert rows[0][1]["a"] == "two\nlines"
    assert malformed[0][0] == 6


def test_a_quoted_line_break_may_lie_between_two_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_file, "BLOCK_BYTES", 50)
    text = b"id,a\n" + b"".join(b'r%d,"first\nsecond, %d"\n' % (n, n) for n in range(40))
    rows, malformed = read_bytes(tmp_path / "a.csv", text)
    assert rows == [(2 + 2 * n, {"id": f"r{n}", "a": f"first\nsecond, {n}"}) for n in range(40)]
    assert malformed == []


@pytest.mark.parametrize(
    "text",
    [
        b"id,a\nr1,1.5\n",
        b"id,a\r\nr1,1.5\r\n",
        b"id,a\rr1,1.5\r",
        b"\xef\xbb\xbfid,a\nr1,1.5",
        b"id;a\nr1;1,5\n",
        b"id\ta\nr1\t1,5\n",
        b"id|a\nr1|1.5\n",
        b'id, "a"\nr1,"1.5"\n'.replace(b", ", b","),
        b"sep=;\r\nid;a\r\nr1;1,5\r\n",
    ],
)
def test_every_way_to_write_csv_gives_the_same_row(tmp_path: Path, text: bytes) -> None:
    rows, malformed = read_bytes(tmp_path / "a.csv", text)
    assert [row for _, row in rows] == [{"id": "r1", "a": "1.5"}]
    assert malformed == []


def test_decimal_commas_become_points_but_not_in_ids(tmp_path: Path) -> None:
    text = "id;strategy_id;roi;total_bets;note\n1,5;2,5;-0,35;1.200;1,5 x\nr2;s;1e3;40;2023-01-02\nr3;s;-1.234,5;;3.1\n"
    rows, _ = read_bytes(tmp_path / "a.csv", text.encode())
    assert [tuple(row.values()) for _, row in rows] == [
        ("1,5", "2,5", "-0.35", "1200", "1,5 x"),
        ("r2", "s", "1e3", "40", "2023-01-02"),
        ("r3", "s", "-1234.5", None, "3.1"),
    ]


def test_points_stay_where_no_decimal_comma_is(tmp_path: Path) -> None:
    rows, _ = read_bytes(tmp_path / "a.csv", b"id;roi\nr1;1.234\n")
    assert rows[0][1]["roi"] == "1.234"


def test_the_delimiter_is_the_one_that_gives_known_columns(tmp_path: Path) -> None:
    rows, _ = read_bytes(tmp_path / "a.csv", b"id;roi;a,b,c,d,e\nr1;1;2\n")
    assert rows == [(2, {"id": "r1", "roi": "1", "a,b,c,d,e": "2"})]


def test_columns_without_a_name_are_called_by_their_position(tmp_path: Path) -> None:
    rows, _ = read_bytes(tmp_path / "a.csv", b",id,\n0,r1,\n")
    assert rows == [(2, {"column 1": "0", "id": "r1", "column 3": None})]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ufeffid,a\nr1,1\n" if encoding == "utf-16-be" else "id,a\nr1,1\n", encoding=encoding)
    with pytest.raises(ImportFileError, match=r"is UTF-16\. Save it as UTF-8"):
        open_rows(path)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.integers(5, 80))
def test_every_line_is_a_row_or_malformed(tmp_path_factory: pytest.TempPathFactory, junk: bytes, block: int) -> None:
    """Between two good lines, whatever is in between."""
    text = b"id,a\nfirst,1\n" + junk + b"\nlast,2\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_file, "BLOCK_BYTES", block)
        rows, malformed = read_bytes(tmp_path_factory.mktemp("csv") / "a.csv", text)
    assert rows[0] == (2, {"id": "first", "a": "1"})
    covered = {line for line, _ in rows} | {line for line, _, _, _ in malformed}
    lines = text.split(b"\n")
    within = {
        line
        for line, row in rows
        for line in range(line, line + str(row["a"]).count("\n") + str(row["id"]).count("\n") + 1)
    }
    assert {number for number, line in enumerate(lines, 1) if line.strip()} - {1} <= covered | within
