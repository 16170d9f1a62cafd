"""What each Arrow type becomes: the table in docs/importing.md, and whole files of each type."""

import datetime as dt
import re
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from cleverbetter_dagster.dataset.quality.arrow_values import json_texts
from cleverbetter_dagster.dataset.quality.conversion import canonical_types
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster_tests.support.upstream_rows import upstream_features, upstream_results

PAGE = Path(__file__).parents[3] / "docs" / "importing.md"
HEADING = "## What each type becomes"
AS = {"an id or name": "id", "a number": "roi", "a market feature": "ml_x", "a date": "end_date"}
"""Heading of a column of the table -> a canonical column of that kind."""

INSTANT = dt.datetime(2023, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def arrays(types: list[pa.DataType], *values: object) -> dict[str, pa.Array]:
    return {str(kind): pa.array(values, kind) for kind in types}


def extension(kind: pa.BaseExtensionType, storage: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, storage)


INTEGERS = [getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)]
DECIMALS = [pa.decimal32(9, 2), pa.decimal64(9, 2), pa.decimal128(9, 2), pa.decimal256(9, 2)]
BYTES = [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)]
LISTS = [kind(pa.int64()) for kind in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view)]
TEXT = pa.array(["0.35"])
UNION = ([pa.array([7]), pa.array(["x"])],)
EXAMPLES: dict[str, dict[str, pa.Array]] = {
    "none": {"null": pa.nulls(1)},
    "true": {"bool": pa.array([True]), "bool8": extension(pa.bool8(), pa.array([1], pa.int8()))},
    "7": arrays(INTEGERS, 7)
    | {
        "dictionary of int64": pa.array([7]).dictionary_encode(),
        "dense_union": pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), *UNION),
        "sparse_union": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), *UNION),
    },
    "2^53 + 1": arrays([pa.int64(), pa.uint64()], 2**53 + 1),
    "20230102": arrays([pa.int32(), pa.int64()], 20230102),
    "7.0": arrays([pa.float64()], 7.0),
    "7.00": arrays(DECIMALS, Decimal("7.00")),
    "0.35": arrays([pa.float64(), pa.float32()], 0.35)
    | arrays(DECIMALS, Decimal("0.35"))
    | {
        "halffloat": pa.array(np.array([0.35], np.float16)),
        "dictionary of decimal128": pa.array([Decimal("0.35")]).dictionary_encode(),
    },
    "NaN": arrays([pa.float64(), pa.float32()], float("nan")),
    '"0.35"': arrays([pa.string(), pa.large_string(), pa.string_view()], "0.35")
    | {
        "dictionary of string": TEXT.dictionary_encode(),
        "run_end_encoded": pa.RunEndEncodedArray.from_arrays([1], TEXT),
        "json": extension(pa.json_(), TEXT),
        "opaque": extension(pa.opaque(pa.string(), "money", "vendor"), TEXT),
    },
    '"2023-01-02 04:04:05.1234567+01"': arrays([pa.string()], "2023-01-02 04:04:05.1234567+01"),
    '"now"': arrays([pa.string()], "now"),
    "the bytes `r1`": arrays(BYTES, b"r1"),
    "the bytes `ff fe`": arrays(BYTES, b"\xff\xfe"),
    "a UUID": {"uuid": pa.array([UUID(int=7).bytes], pa.uuid())},
    "2023-01-02 03:04:05 UTC": arrays(
        [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "Australia/Sydney")], INSTANT
    ),
    "1,001 ns later": {"timestamp[ns]": pa.array([1672628645_000_001_001]).view(pa.timestamp("ns"))},
    "2023-01-02": arrays([pa.date32(), pa.date64()], dt.date(2023, 1, 2)),
    "year 36812": {"timestamp[s]": pa.array([2**40], pa.timestamp("s"))},
    "03:04:05": arrays([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")], dt.time(3, 4, 5)),
    "5 seconds": arrays([pa.duration("s")], dt.timedelta(seconds=5)),
    "1 month": {"month_day_nano_interval": pa.array([(1, 0, 0)], pa.month_day_nano_interval())},
    "[7, none]": arrays(LISTS, [7, None]) | {"fixed_size_list": pa.array([[7, None]], pa.list_(pa.int64(), 2))},
    "[[7], []]": arrays([pa.list_(pa.list_(pa.int64()))], [[7], []]),
    '{a: 0.35, b: "x", c: none}': {"struct": pa.array([{"a": Decimal("0.35"), "b": "x", "c": None}])},
    "{a: 0.35, b: none}": {"map": pa.array([[("a", 0.35), ("b", None)]], pa.map_(pa.string(), pa.float64()))},
    "[1, 2]": {
        "fixed_shape_tensor": extension(
            pa.fixed_shape_tensor(pa.float64(), [2]), pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2))
        )
    },
}


def short(name: str) -> str:
    """The name of a type without its parameters, as the page has it: decimal128, list, timestamp[us, tz]."""
    name = re.sub(r"\(.*\)|<.*>|(?<=binary)\[.*\]", "", name)
    return re.sub(r"tz=.*\]", "tz]", name) if name.startswith("timestamp") else name


def shown(column: str, array: pa.Array) -> str:
    """What a canonical column makes of the value, as the page writes it."""
    table, violations = canonical_types(pa.table({column: array}))
    if len(violations):
        return "refused"
    value = table[column][0].as_py()
    if value is None:
        return "missing"
    if value != value:
        return "refused"  # by the rules: it was read
    if isinstance(value, float):
        return f"`{value:.17g}`" if value != 0.35 else "`0.35`"
    return f"`{value.replace(tzinfo=None)}`" if isinstance(value, dt.datetime) else f"`{value}`"


def shown_json(array: pa.Array) -> str:
    text = json_texts(pa.chunked_array([array]))[0].as_py()
    return "missing" if text is None else f"`{text}`"


def page_rows() -> list[dict[str, str]]:
    section = PAGE.read_text().split(f"{HEADING}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    header, *rows = ([cell.strip() for cell in line] for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows if not row[0].startswith("---")]


def written_rows() -> list[dict[str, str]]:
    """The table as it must be: types that become the same are one row."""
    rows = []
    for example, typed in EXAMPLES.items():
        groups: dict[tuple[str, ...], list[str]] = {}
        for name, array in typed.items():
            cells = (*(shown(column, array) for column in AS.values()), shown_json(array))
            groups.setdefault(cells, []).append(f"`{short(name)}`")
        for cells, names in groups.items():
            results = dict(zip((*AS, "JSON"), cells, strict=True))
            rows.append({"value": example, "of type": ", ".join(dict.fromkeys(names)), **results})
    return rows


def test_the_page_says_what_each_type_becomes() -> None:
    assert page_rows() == written_rows()


@pytest.mark.parametrize(
    "array",
    [pytest.param(array, id=f"{name} {value}") for value, typed in EXAMPLES.items() for name, array in typed.items()],
)
def test_a_file_of_each_type_is_loaded_or_quarantined(database: Settings, tmp_path: Path, array: pa.Array) -> None:
    results = pa.Table.from_pandas(upstream_results(1), preserve_index=False)
    features = pa.Table.from_pandas(upstream_features(1), preserve_index=False)
    for column in ("strategy_id", "recommendation", "total_return", "created_at"):
        results = results.set_column(results.column_names.index(column), column, array)
    results, features = results.append_column("full_results", array), features.append_column("x", array)
    paths = tmp_path / "r.feather", tmp_path / "f.feather"
    for table, path in zip((results, features), paths, strict=True):
        feather.write_feather(table, path, compression="uncompressed")
    for _ in range(2):
        for file in import_files(database, *paths).files:
            assert (file.rows_read, file.inserted + file.unchanged + file.quarantined) == (1, 1)


def main() -> None:
    """Print the table: python -m cleverbetter_dagster_tests.store.imports.test_types"""
    rows = written_rows()
    for cells in (list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
