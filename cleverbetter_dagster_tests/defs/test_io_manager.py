"""The IO manager: what one asset returned is what the next one gets, for one month and for a range."""

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from cleverbetter_dagster.defs.io_manager import ArtefactIOManager
from cleverbetter_dagster.defs.partitions import by_month, history_input, monthly
from cleverbetter_dagster.services.records import StudyRecord

MONTHS = monthly("2020-01")
STUDY = StudyRecord(family="f", as_of="2020-01", params={"depth": 3}, mean_auc=0.7, default_auc=0.7, trials=1, seed=0)


@dg.asset(name="training_rows", **by_month(MONTHS))
def rows(context: dg.AssetExecutionContext) -> dict[str, pa.Table]:
    return {month: pa.table({"month": [month]}) for month in context.partition_keys}


@dg.asset(**by_month(MONTHS))
def study(context: dg.AssetExecutionContext) -> dict[str, StudyRecord]:
    return {month: STUDY.model_copy(update={"as_of": month}) for month in context.partition_keys}


@dg.asset(**by_month(MONTHS), ins={"training_rows": history_input(MONTHS)})
def history(context: dg.AssetExecutionContext, training_rows: dict[str, pa.Table]) -> dict[str, pa.Table]:
    seen = [month for month, table in training_rows.items() if table["month"].to_pylist() == [month]]
    return {month: pa.table({"seen": seen}) for month in context.partition_keys}


@dg.asset(**by_month(MONTHS))
def reader(context: dg.AssetExecutionContext, study: dict[str, StudyRecord]) -> dict[str, pa.Table]:
    assert all(isinstance(record, StudyRecord) for record in study.values())
    return {month: pa.table({"as_of": [study[month].as_of]}) for month in context.partition_keys}


@dg.asset(**by_month(MONTHS))
def forgetful(context: dg.AssetExecutionContext) -> dict[str, pa.Table]:
    return {}


@dg.asset(ins={"months": dg.AssetIn("training_rows", metadata={"may_lack_partitions": True})})
def gathered(months: dict[str, pa.Table]) -> pa.Table:
    return pa.table({"seen": sorted(months)}).replace_schema_metadata({"note": "kept"})


@dg.asset
def summed_up(gathered: pa.Table) -> StudyRecord:
    note = (gathered.schema.metadata or {}).get(b"note", b"").decode()
    return STUDY.model_copy(update={"family": f"{note} {','.join(gathered['seen'].to_pylist())}"})


@dg.asset
def last(summed_up: StudyRecord) -> pa.Table:
    return pa.table({"family": [summed_up.family]})


def run(asset: dg.AssetsDefinition, first: str, last: str | None = None, **how: bool) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
    return dg.materialize(
        [rows, study, history, reader, forgetful],
        selection=[asset],
        tags=tags,
        resources={"io_manager": ArtefactIOManager()},
        **how,
    )


@pytest.fixture(params=["folder", "fsspec"], autouse=True)
def base(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = str(tmp_path) if request.param == "folder" else f"memory://{tmp_path.name}"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("CLEVERBETTER_ARTEFACTS_URL", url)
    return url


def test_no_run_chooses_where_files_lie() -> None:
    assert not ArtefactIOManager.to_config_schema().as_field().config_type.fields  # type: ignore[attr-defined]


def test_a_month_gets_the_rows_of_no_later_month() -> None:
    run(rows, "2020-01", "2020-04")
    tables = run(history, "2020-03").output_for_node("history")["2020-03"]
    assert tables["seen"].to_pylist() == ["2020-01", "2020-02", "2020-03"]


def test_months_never_materialised_are_absent_from_the_history() -> None:
    run(rows, "2020-02", "2020-03")
    tables = run(history, "2020-04").output_for_node("history")["2020-04"]
    assert tables["seen"].to_pylist() == ["2020-02", "2020-03"]


def test_records_of_a_range_come_back_as_records() -> None:
    run(study, "2020-01", "2020-03")
    tables = run(reader, "2020-02", "2020-03").output_for_node("reader")
    assert {month: table["as_of"].to_pylist() for month, table in tables.items()} == {
        "2020-02": ["2020-02"],
        "2020-03": ["2020-03"],
    }


def test_a_record_that_was_never_stored_stops_the_run() -> None:
    result = run(reader, "2020-01", raise_on_error=False)
    assert not result.success
    failure = result.failure_data_for_node("reader")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "study/2020-01.json" in str(failure.user_failure_data.description)


def test_a_missing_record_is_not_tried_again() -> None:
    result = run(reader, "2020-01", raise_on_error=False)
    assert not [event for event in result.all_events if event.is_step_up_for_retry]


def test_an_asset_that_returns_too_few_months_fails() -> None:
    result = run(forgetful, "2020-01", raise_on_error=False)
    assert not result.success


def test_an_asset_without_partitions_reads_all_months_there_are() -> None:
    run(rows, "2020-02", "2020-03")
    whole = dg.materialize(
        [rows, gathered, summed_up, last],
        selection=[gathered, summed_up, last],
        resources={"io_manager": ArtefactIOManager()},
    )
    assert whole.output_for_node("last")["family"].to_pylist() == ["kept 2020-02,2020-03"]
    again = dg.materialize(
        [rows, gathered, summed_up, last], selection=[last], resources={"io_manager": ArtefactIOManager()}
    )
    assert again.output_for_node("last")["family"].to_pylist() == ["kept 2020-02,2020-03"]
