"""Files into the two tables."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from cleverbetter_dagster.errors import ImportFileError, SchemaError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import FileReport, import_files
from cleverbetter_dagster.store.imports.readers import row_file
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.giving_way import read_session
from cleverbetter_dagster.store.quarantine import Filter, open_quarantine, select_entries
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.loader import load_rows
from cleverbetter_dagster.store.source.row_query import RowQuery
from cleverbetter_dagster_tests.support.upstream_rows import FEATURES, upstream_features, upstream_results

NOW = pd.Timestamp("2024-01-01", tz="UTC")


def parquet(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path := path.with_suffix(".parquet"))
    return path


def csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path := path.with_suffix(".csv"), index=False)
    return path


def csv_gz(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path := path.with_suffix(".csv.gz"), index=False)
    return path


def jsonl(frame: pd.DataFrame, path: Path) -> Path:
    lines = frame.to_json(orient="records", lines=True, date_format="iso", double_precision=15)
    (path := path.with_suffix(".jsonl")).write_text(lines)
    return path


def jsonl_gz(frame: pd.DataFrame, path: Path) -> Path:
    path, plain = path.with_suffix(".jsonl.gz"), jsonl(frame, path)
    path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


def json_array(frame: pd.DataFrame, path: Path) -> Path:
    (path := path.with_suffix(".json")).write_text(
        frame.to_json(orient="records", date_format="iso", double_precision=15)
    )
    return path


def german_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path := path.with_suffix(".csv"), index=False, sep=";", decimal=",")
    return path


def feather(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_feather(path := path.with_suffix(".feather"))
    return path


def arrow_stream(frame: pd.DataFrame, path: Path) -> Path:
    table = pa.Table.from_pandas(frame)
    with pa.ipc.new_stream(path := path.with_suffix(".arrows"), table.schema) as writer:
        writer.write_table(table)
    return path


def parquet_folder(frame: pd.DataFrame, path: Path) -> Path:
    """A file for each row; the name of its folder is the row's id."""
    for key, rows in frame.groupby(frame.columns[0]):
        folder = path / f"{frame.columns[0]}={key}"
        folder.mkdir(parents=True)
        rows.drop(columns=frame.columns[0]).to_parquet(folder / "part-0.parquet")
    return path


def csv_bz2(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path := path.with_suffix(".csv.bz2"), index=False)
    return path


def csv_xz(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path := path.with_suffix(".csv.xz"), index=False)
    return path


def jsonl_zst(frame: pd.DataFrame, path: Path) -> Path:
    path, plain = path.with_suffix(".jsonl.zst"), jsonl(frame, path)
    path.write_bytes(pa.compress(plain.read_bytes(), codec="zstd", asbytes=True))
    return path


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    numbers = pd.DataFrame([json.loads(text) for text in frame["features"]], index=frame.index)
    return frame.drop(columns="features").join(numbers)


def nested(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(features=frame["features"].map(json.loads))


FORMATS = (
    parquet,
    csv,
    csv_gz,
    jsonl,
    jsonl_gz,
    json_array,
    german_csv,
    feather,
    arrow_stream,
    parquet_folder,
    csv_bz2,
    csv_xz,
    jsonl_zst,
)
Writer = Callable[[pd.DataFrame, Path], Path]


@pytest.fixture
def connection(database: Settings) -> Iterator[psycopg.Connection]:
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        yield connection


def import_results(settings: Settings, path: Path) -> FileReport:
    return import_files(settings, path, None).files[0]


def import_features(settings: Settings, path: Path) -> FileReport:
    return import_files(settings, None, path).files[0]


def counts(report: FileReport) -> tuple[int, int, int, int]:
    return report.inserted, report.updated, report.unchanged, report.quarantined


def pending(settings: Settings) -> pd.DataFrame:
    with open_quarantine(settings) as connection:
        entries = pd.DataFrame([vars(entry) for entry in select_entries(connection, Filter())])
    return entries.sort_values(["line", "row_id"], ignore_index=True)


def loaded_from(settings: Settings) -> tuple[pa.Table, pd.DataFrame]:
    with read_session(settings) as session:
        return load_rows(session, RowQuery(resolve_source(settings)), NOW)


@pytest.mark.parametrize("write", FORMATS)
def test_every_kind_of_file_gives_the_same_rows(database: Settings, tmp_path: Path, write: Writer) -> None:
    results, features = write(upstream_results(), tmp_path / "r"), write(upstream_features(), tmp_path / "f")
    assert [counts(file) for file in import_files(database, results, features).files] == [(3, 0, 0, 0), (3, 0, 0, 0)]
    loaded = loaded_from(database)[0].sort_by("id").to_pandas()
    expected = upstream_results()
    assert loaded["id"].tolist() == ["r1", "r2", "r3"]
    assert loaded["roi"].tolist() == [0.0125] * 3
    assert loaded["end_date"].tolist() == expected["end_date"].tolist()
    assert loaded["ml_avg_odds"].tolist() == [4.5] * 3
    again = import_files(database, csv(upstream_results(), tmp_path / "again"), features)
    assert [counts(file) for file in again.files] == [(0, 0, 3, 0), (0, 0, 3, 0)]


@pytest.mark.parametrize("shape", [wide, nested])
@pytest.mark.parametrize("write", [parquet, jsonl])
def test_features_may_be_columns_or_nested_values(
    database: Settings,
    connection: psycopg.Connection,
    tmp_path: Path,
    shape: Callable[..., pd.DataFrame],
    write: Writer,
) -> None:
    report = import_features(database, write(shape(upstream_features()), tmp_path / "f"))
    assert counts(report) == (3, 0, 0, 0)
    stored = connection.execute("SELECT features FROM ml_features WHERE backtest_result_id = 'r2'").fetchone()
    assert stored == (json.loads(FEATURES),)


@pytest.mark.parametrize("write", [parquet, csv])
def test_a_file_without_rows_is_imported(database: Settings, tmp_path: Path, write: Writer) -> None:
    results, features = write(upstream_results(0), tmp_path / "r"), write(upstream_features(0), tmp_path / "f")
    assert [file.rows_read for file in import_files(database, results, features).files] == [0, 0]


def test_roi_is_an_alias_and_unknown_columns_are_reported(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    frame = upstream_results().rename(columns={"total_return": "roi"}).drop(columns=["method", "created_at"])
    report = import_results(database, csv(frame.assign(colour="red", mood="good"), tmp_path / "r"))
    assert counts(report) == (3, 0, 0, 0)
    assert report.ignored_columns == ("colour", "mood")
    row = connection.execute("SELECT total_return, method, recommendation FROM backtest_results").fetchone()
    assert row == (0.0125, "", "ACCEPT")


def test_ids_stay_as_they_are_written(database: Settings, connection: psycopg.Connection, tmp_path: Path) -> None:
    """Even if they look like dates or numbers."""
    ids = ["2023-01-01", "007", "1e5"]
    import_results(database, jsonl(upstream_results().assign(id=ids, strategy_id=ids), tmp_path / "r"))
    import_features(database, jsonl(upstream_features(1).assign(backtest_result_id=ids[:1]), tmp_path / "f"))
    stored = connection.execute("SELECT id, strategy_id FROM backtest_results ORDER BY run_date").fetchall()
    assert stored == [(text, text) for text in ids]
    assert connection.execute("SELECT backtest_result_id FROM ml_features").fetchall() == [(ids[0],)]


def test_bad_rows_go_to_quarantine_and_the_rest_is_loaded(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    frame = upstream_results(6).astype({"win_rate": object, "end_date": object, "total_bets": object})
    frame.loc[1, "win_rate"] = 37.5
    frame.loc[2, "total_bets"] = "many"
    frame.loc[3, ["end_date", "total_return"]] = ["2023-02-30", float("inf")]
    path = csv(frame, tmp_path / "r")
    report = import_results(database, path)
    assert counts(report) == (3, 0, 0, 3)
    assert report.rows_read == 6
    assert sum(report.reasons.values()) == 4
    entries = pending(database)
    assert entries["source"].unique().tolist() == [str(path)]
    assert sorted(entries[["line", "row_id", "column_name", "value"]].to_numpy().tolist()) == [
        [3, "r2", "win_rate", "37.5"],
        [4, "r3", "total_bets", "many"],
        [5, "r4", "end_date", "2023-02-30"],
        [5, "r4", "total_return", "inf"],
    ]
    assert json.loads(entries["raw"][0])["win_rate"] == "37.5"
    assert import_results(database, path).quarantined == 3
    assert len(pending(database)) == 4
    assert connection.execute("SELECT count(*) FROM backtest_results").fetchone() == (3,)


def test_a_corrected_row_is_loaded_and_marked_repaired(database: Settings, tmp_path: Path) -> None:
    import_results(database, csv(upstream_results().assign(win_rate=[0.5, 2.0, 3.0]), tmp_path / "bad"))
    report = import_results(database, parquet(upstream_results().assign(win_rate=[0.5, 0.2, 3.0]), tmp_path / "better"))
    assert counts(report) == (1, 0, 1, 1)
    assert pending(database)["row_id"].tolist() == ["r3", "r3"]


def test_a_row_bad_and_good_in_one_file_is_pending(database: Settings, tmp_path: Path) -> None:
    frame = pd.concat([upstream_results().assign(win_rate=[0.5, 2.0, 0.5]), upstream_results().iloc[[1]]])
    assert counts(import_results(database, csv(frame, tmp_path / "r"))) == (3, 0, 0, 1)
    assert pending(database)["row_id"].tolist() == ["r2"]


def test_features_of_a_row_do_not_repair_the_row(database: Settings, tmp_path: Path) -> None:
    import_results(database, csv(upstream_results().assign(win_rate=[0.5, 2.0, 0.5]), tmp_path / "r"))
    assert import_features(database, csv(upstream_features(), tmp_path / "f")).inserted == 3
    assert pending(database)["row_id"].tolist() == ["r2"]


def test_malformed_lines_go_to_quarantine_with_their_text(database: Settings, tmp_path: Path) -> None:
    path = jsonl(upstream_results(), tmp_path / "r")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "", '{"id": "r9", "strategy_id":', lines[1], "[1, 2]", lines[2]]))
    assert counts(import_results(database, path)) == (3, 0, 0, 2)
    entries = pending(database)
    assert entries[["line", "raw"]].to_numpy().tolist() == [[3, '{"id": "r9", "strategy_id":'], [5, "[1, 2]"]]
    assert entries["row_id"].tolist()[0] == "r9"
    assert "not a JSON object" in entries["reason"][0]


def test_csv_lines_of_wrong_width_go_to_quarantine(
    database: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_file, "BLOCK_BYTES", 600)  # several blocks, as a long file has
    path = csv(upstream_results(20), tmp_path / "r")
    lines = path.read_text().splitlines()
    broken = [*lines[:3], "r98,torn", *lines[3:15], lines[15] + ",more", *lines[16:], "end"]
    path.write_text("\n".join(broken) + "\n")
    report = import_results(database, path)
    assert counts(report) == (19, 0, 0, 3)
    entries = pending(database)
    assert entries["line"].tolist() == [broken.index("r98,torn") + 1, 17, len(broken)]
    assert entries["row_id"].tolist() == ["r98", "r15", "end"]


def test_line_numbers_count_malformed_lines(
    database: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_file, "BLOCK_BYTES", 600)
    frame = upstream_results(20).assign(win_rate=[0.5] * 12 + [1.5] + [0.5] * 7)
    path = csv(frame, tmp_path / "r")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], "torn", *lines[5:9], "torn,again", *lines[9:]]))
    import_results(database, path)
    lines = pending(database).set_index("column_name")["line"]
    assert lines["win_rate"] == 16  # the header, 12 good rows and 2 malformed lines come before it


def test_an_id_with_two_contents_is_refused_everywhere(database: Settings, tmp_path: Path) -> None:
    import_results(database, csv(upstream_results(2), tmp_path / "first"))
    frame = upstream_results(5)
    frame["id"] = ["r1", "r2", "r3", "r3", "r4"]
    frame.loc[4] = frame.loc[0].where(frame.columns != "id", "r1")  # r1 once more, as it is
    changed = frame.assign(sharpe_ratio=[1.5, 0.5, 0.1, 0.2, 1.5])
    report = import_results(database, csv(changed, tmp_path / "second"))
    assert counts(report) == (0, 0, 2, 3)
    entries = pending(database)
    assert entries[["line", "row_id", "column_name"]].to_numpy().tolist() == [
        [3, "r2", "id"],
        [4, "r3", "id"],
        [5, "r3", "id"],
    ]
    assert "in the table already" in entries["reason"][0]
    assert "more than once in the file" in entries["reason"][1]
    assert json.loads(entries["raw"][0])["sharpe_ratio"] == 0.5


@pytest.mark.parametrize("unique", [True, False])
def test_a_repeated_row_is_loaded_once(
    database: Settings, connection: psycopg.Connection, tmp_path: Path, unique: bool
) -> None:
    import_results(database, csv(upstream_results(0), tmp_path / "empty"))
    if not unique:
        connection.execute("ALTER TABLE backtest_results DROP CONSTRAINT backtest_results_pkey")
    path = csv(pd.concat([upstream_results(), upstream_results(1)]), tmp_path / "r")
    assert counts(import_results(database, path)) == (3, 0, 1, 0)
    assert counts(import_results(database, path)) == (0, 0, 4, 0)


def test_instants_are_stored_in_utc_whatever_the_servers_zone(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    connection.execute(f"ALTER DATABASE {connection.info.dbname} SET TimeZone = 'Australia/Sydney'")
    import_results(database, csv(upstream_results(1), tmp_path / "r"))
    assert connection.execute("SELECT start_date FROM backtest_results").fetchone() == (
        upstream_results(1)["start_date"][0],
    )


@pytest.mark.parametrize("odd", ["infinity", "9999-12-31", "294276-12-31"])
def test_features_with_an_impossible_time_are_replaced(
    database: Settings, connection: psycopg.Connection, tmp_path: Path, odd: str
) -> None:
    both = (parquet(upstream_results(1), tmp_path / "r"), parquet(upstream_features(1), tmp_path / "f"))
    import_files(database, *both)
    connection.execute("UPDATE ml_features SET computed_at = %s, features = '{}'", [odd])
    assert import_files(database, *both).files[1].updated == 1
    assert connection.execute("SELECT features FROM ml_features").fetchone() == (json.loads(FEATURES),)


def test_features_from_the_future_are_quarantined(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    features = upstream_features(2).astype({"computed_at": object})
    features.loc[1, "computed_at"] = "9999-12-31T00:00:00Z"
    report = import_files(database, csv(upstream_results(2), tmp_path / "r"), csv(features, tmp_path / "f"))
    assert (report.files[1].inserted, report.files[1].quarantined) == (1, 1)
    assert report.files[1].reasons == {"computed_at is in the future: no backtest can know it": 1}


def test_newer_features_replace_older_ones(database: Settings, connection: psycopg.Connection, tmp_path: Path) -> None:
    one = upstream_features(1)
    at = one["computed_at"][0]
    versions = {
        hours: one.assign(computed_at=at + pd.Timedelta(hours=hours), features=f'{{"a": {hours}}}')
        for hours in range(4)
    }
    assert counts(import_features(database, csv(pd.concat([versions[1], versions[2]]), tmp_path / "a"))) == (1, 0, 1, 0)
    assert counts(import_features(database, csv(versions[3], tmp_path / "b"))) == (0, 1, 0, 0)
    assert counts(import_features(database, csv(versions[0], tmp_path / "c"))) == (0, 0, 1, 0)
    assert connection.execute("SELECT features FROM ml_features").fetchall() == [({"a": 3},)]
    rival = versions[3].assign(features='{"a": 7}')
    assert counts(import_features(database, csv(rival, tmp_path / "d"))) == (0, 0, 0, 1)


def test_replacing_features_of_one_row_changes_no_other(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    frame = upstream_features(3)
    import_features(database, csv(frame, tmp_path / "a"))
    later, earlier = frame["computed_at"][0] + pd.Timedelta(hours=1), frame["computed_at"][1] - pd.Timedelta(hours=1)
    frame.loc[0, ["computed_at", "features"]] = [later, '{"a": 9}']
    frame.loc[1, ["computed_at", "features"]] = [earlier, '{"a": 8}']
    assert counts(import_features(database, csv(frame, tmp_path / "b"))) == (0, 1, 2, 0)
    stored = connection.execute("SELECT features ? 'a' FROM ml_features ORDER BY backtest_result_id").fetchall()
    assert stored == [(True,), (False,), (False,)]


def test_features_that_cannot_be_right_are_quarantined(database: Settings, tmp_path: Path) -> None:
    frame = upstream_features(7)
    frame["features"] = ['{"a": 1}', '{"a": 1', '{"a": "high"}', '{"a": NaN}', "[1]", '{"a": "\\u0000"}', '{"a": true}']
    report = import_features(database, csv(frame, tmp_path / "f"))
    assert counts(report) == (3, 0, 0, 4)
    assert pending(database)[["row_id", "column_name"]].to_numpy().tolist() == [
        ["r2", "features"],
        ["r4", "ml_a"],
        ["r5", "features"],
        ["r6", "features"],
    ]


@pytest.mark.parametrize("write", [csv, jsonl, parquet])
def test_texts_among_json_features_are_named_and_stay(
    database: Settings, connection: psycopg.Connection, tmp_path: Path, write: Writer
) -> None:
    frame = upstream_features(3).assign(features=['{"odds": 2, "country": "AU"}', '{"odds": "x"}', '{"odds": "3"}'])
    report = import_features(database, write(frame, tmp_path / "f"))
    assert counts(report) == (3, 0, 0, 0)
    assert report.left_out.non_numeric_listed == "country (1, such as 'AU'), odds (1, such as 'x')"
    categories = database.model_copy(update={"categorical_features": ("country",)})
    assert import_features(categories, write(frame, tmp_path / "f")).left_out.non_numeric.keys() == {"odds"}
    stored = connection.execute("SELECT features->>'country', features->>'odds' FROM ml_features ORDER BY 1, 2")
    assert stored.fetchall() == [("AU", "2"), (None, "3"), (None, "x")]


@pytest.mark.parametrize("write", [csv, jsonl, parquet])
def test_a_text_in_a_feature_column_costs_no_row(
    database: Settings, connection: psycopg.Connection, tmp_path: Path, write: Writer
) -> None:
    frame = wide(upstream_features(3)).assign(avg_odds=["4.5", "n/a", "Infinity"])
    report = import_features(database, write(frame, tmp_path / "f"))
    assert counts(report) == (3, 0, 0, 0)
    assert report.left_out.non_numeric_listed == "avg_odds (2, such as 'n/a')"
    stored = connection.execute("SELECT features->>'avg_odds' FROM ml_features ORDER BY backtest_result_id")
    assert stored.fetchall() == [("4.5",), (None,), (None,)]


def test_a_column_that_is_a_category_is_stored_as_text(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    settings = database.model_copy(update={"categorical_features": ("country",)})
    frame = wide(upstream_features(2)).assign(country=["AU", 'N"Z'], word="red")
    report = import_features(settings, csv(frame, tmp_path / "f"))
    assert (counts(report), report.ignored_columns) == ((2, 0, 0, 0), ("word",))
    stored = connection.execute("SELECT features->>'country' FROM ml_features ORDER BY backtest_result_id")
    assert stored.fetchall() == [("AU",), ('N"Z',)]


@pytest.mark.parametrize("write", [csv, jsonl])
def test_text_that_postgresql_cannot_hold_is_quarantined(database: Settings, tmp_path: Path, write: Writer) -> None:
    frame = upstream_results().assign(recommendation=["ok", "b\0d", "ok"])
    assert counts(import_results(database, write(frame, tmp_path / "r"))) == (2, 0, 0, 1)


def test_features_are_columns_of_numbers_or_without_values(
    database: Settings, connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_file, "BLOCK_BYTES", 400)
    frame = wide(upstream_features(20)).assign(late=[None] * 19 + [7.5], word="red")
    report = import_features(database, csv(frame, tmp_path / "f"))
    assert (counts(report), report.ignored_columns) == ((20, 0, 0, 0), ("word",))
    assert connection.execute("SELECT features->'late' FROM ml_features WHERE features ? 'late'").fetchall() == [(7.5,)]


def test_a_row_without_any_feature_is_an_empty_object(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    frame = wide(upstream_features(3))
    frame.loc[1, ["avg_odds", "overround"]] = None
    assert counts(import_features(database, parquet(frame, tmp_path / "f"))) == (3, 0, 0, 0)
    stored = connection.execute("SELECT features::text FROM ml_features ORDER BY backtest_result_id").fetchall()
    assert stored == [(FEATURES,), ("{}",), (FEATURES,)]


@pytest.mark.parametrize("write", [csv, jsonl, parquet])
def test_null_in_place_of_features_means_none(database: Settings, tmp_path: Path, write: Writer) -> None:
    frame = upstream_features(3)
    frame["features"] = [FEATURES, None, "null"]
    import_results(database, csv(upstream_results(3), tmp_path / "r"))
    assert counts(import_features(database, write(frame, tmp_path / "f"))) == (3, 0, 0, 0)
    rows, violations = loaded_from(database)
    assert violations.empty
    assert rows.sort_by("id")["ml_avg_odds"].to_pylist() == [4.5, None, None]


def test_rows_that_are_no_backtests_are_counted_not_judged(database: Settings, tmp_path: Path) -> None:
    frame = upstream_results(3)
    frame.loc[1:, ["method", "total_bets"]] = ["ml_estimate", 0]
    report = import_results(database, csv(frame, tmp_path / "r"))
    assert (counts(report), report.left_out_rows) == ((3, 0, 0, 0), 2)
    assert loaded_from(database)[0]["id"].to_pylist() == ["r1"]
    everything = database.model_copy(update={"left_out_methods": ()})
    assert len(loaded_from(everything)[1]) > 0


def test_an_array_that_lacks_columns_is_called_one(database: Settings, tmp_path: Path) -> None:
    (path := tmp_path / "r.jsonl").write_text('[{"id": "1", "strategy_id": "a"}]')
    with pytest.raises(ImportFileError, match="It is a JSON array, and has: id, strategy_id"):
        import_results(database, path)


def test_all_missing_columns_are_named_with_likely_partners(database: Settings, tmp_path: Path) -> None:
    columns = {"win_rate": "winrate", "total_return": "Return [%]", "end_date": "End", "total_bets": "# Trades"}
    path = csv(upstream_results().rename(columns=columns).drop(columns=["id", "strategy_id"]), tmp_path / "r")
    with pytest.raises(ImportFileError) as raised:
        import_results(database, path)
    assert str(raised.value).splitlines()[:6] == [
        f"{path} lacks columns that backtest rows need:",
        "  end_date: probably 'End'",
        "  roi or total_return: probably 'Return [%]'",
        "  win_rate: probably 'winrate'",
        "  total_bets: probably '# Trades'",
        "  id, strategy_id: no column is like them",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", b""),
        ("r.jsonl", b""),
        ("r.parquet", b"PAR1"),
        ("r.csv.gz", b"no gzip"),
        ("r.csv.gz", gzip.compress(b"id,strategy_id\n" * 999, mtime=0)[:40]),
        ("r.csv", b"id,strategy_id\nr1,\xff\n"),
        ("r.csv", b"id,id\n1,2\n"),
        ("r.xlsx", b"PK"),
        ("absent.csv", None),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    database: Settings, tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImportFileError, match=name):
        import_results(database, path)


def test_an_interrupted_import_leaves_nothing_and_can_be_repeated(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = csv(upstream_results(), tmp_path / "r")

    def interrupt(step: str, _: float) -> None:
        if step.startswith("Merging"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_files(database, path, None, interrupt)
    assert connection.execute("SELECT count(*) FROM backtest_results").fetchone() == (0,)
    assert counts(import_results(database, path)) == (3, 0, 0, 0)


def test_progress_is_reported_from_start_to_end(database: Settings, tmp_path: Path) -> None:
    steps: list[tuple[str, float]] = []
    import_files(database, csv(upstream_results(), tmp_path / "r"), None, lambda *step: steps.append(step))
    assert steps[-1] == ("Merging 3 rows of r.csv", 1.0)
    assert {0.0 <= done <= 1.0 for _, done in steps} == {True}


def test_tables_with_other_column_types_are_filled(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    connection.execute(
        "CREATE TABLE backtest_results (id uuid PRIMARY KEY, strategy_id varchar(8), run_date timestamp, start_date "
        "date, end_date timestamp, roi numeric(8, 3), sharpe_ratio real, max_drawdown numeric, win_rate numeric, "
        "profit_factor numeric, total_bets smallint, composite_score numeric)"
    )
    connection.execute("CREATE TABLE ml_features (result_id uuid PRIMARY KEY, avg_odds numeric, runs integer)")
    ids = [f"0e37df36-f698-11e6-8dd4-cb9ced3df97{digit}" for digit in "123"]
    results = parquet(upstream_results().assign(id=[*ids[:2], "r3"]), tmp_path / "r")
    features = csv(upstream_features().rename(columns={"backtest_result_id": "id"}).assign(id=ids), tmp_path / "f")
    report = import_files(database, results, features)
    assert [counts(file) for file in report.files] == [(2, 0, 0, 1), (3, 0, 0, 0)]
    assert "id is no uuid" in pending(database)["reason"][0]
    first = "SELECT roi::text, total_bets, start_date::text FROM backtest_results ORDER BY start_date LIMIT 1"
    assert connection.execute(first).fetchall() == [("0.013", 40, "2023-01-01")]
    assert connection.execute("SELECT DISTINCT avg_odds, runs FROM ml_features").fetchall() == [(4.5, None)]
    assert import_files(database, results, features).total("inserted") == 0


def test_a_role_without_insert_learns_which_right_it_lacks(
    database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = csv(upstream_results(), tmp_path / "r")
    import_results(database, path)
    assert database.database_url is not None
    connection.execute("CREATE ROLE onlooker LOGIN PASSWORD 'secret'")
    connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker")
    connection.execute("GRANT USAGE, CREATE ON SCHEMA cleverbetter TO onlooker")
    connection.execute("GRANT ALL ON cleverbetter.quarantine TO onlooker")
    try:
        url = SecretStr(f"postgresql://onlooker:secret@{database.database_url.get_secret_value().partition('@')[2]}")
        with pytest.raises(SchemaError, match=r"GRANT INSERT ON public\.backtest_results TO onlooker"):
            import_results(database.model_copy(update={"database_url": url}), path)
    finally:
        connection.execute("DROP OWNED BY onlooker")
        connection.execute("DROP ROLE onlooker")
