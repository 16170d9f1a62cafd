"""Records that another release stored: each is refused in one sentence that names the remedy."""

import re
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pyarrow as pa
import pytest

from cleverbetter_dagster.defs.io_manager import ArtefactIOManager
from cleverbetter_dagster.defs.partitions import by_month, monthly
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.services.champion import manual_promotion
from cleverbetter_dagster.services.evaluation.scored_table import MODEL_METADATA, evaluated_model
from cleverbetter_dagster.services.monitoring.alerts import AlertCursor
from cleverbetter_dagster.services.records import StudyRecord
from cleverbetter_dagster.services.stored_assets import stored_comparison
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore

MONTHS = monthly("2020-01")


@dg.asset(**by_month(MONTHS))
def study(context: dg.AssetExecutionContext) -> dict[str, StudyRecord]:
    return {}


@dg.asset(**by_month(MONTHS))
def reader(context: dg.AssetExecutionContext, study: dict[str, StudyRecord]) -> dict[str, pa.Table]:
    return {}


def test_a_stored_comparison_without_a_field_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    ArtefactStore(settings.artefacts_base).write_json("model_comparison/2020-01.json", {"as_of": "2020-01"})
    with pytest.raises(DataError, match=r"2020-01\.json .*another release \(leaderboard: .*Materialise it again\.$"):
        stored_comparison(settings)


def test_a_run_says_which_input_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("CLEVERBETTER_ARTEFACTS_URL", str(tmp_path))
    ArtefactStore(str(tmp_path)).write_json("study/2020-01.json", {"family": "f", "as_of": "2020-01", "depth": 3})
    result = dg.materialize(
        [study, reader],
        selection=[reader],
        partition_key="2020-01",
        resources={"io_manager": ArtefactIOManager()},
        raise_on_error=False,
    )
    failure = result.failure_data_for_node("reader").user_failure_data  # type: ignore[union-attr]
    message = str(failure.description)  # type: ignore[union-attr]
    assert re.search(r"study/2020-01\.json .*another release .*Materialise it again\.$", message)


def test_scored_rows_of_an_old_model_are_refused() -> None:
    table = pa.table({"probability": [0.5]}).replace_schema_metadata({MODEL_METADATA: '{"family": "ensemble"}'})
    with pytest.raises(DataError, match=r"scored rows .*another release .*Materialise the evaluation again\.$"):
        evaluated_model(table)


def test_an_old_split_of_a_run_leaves_a_model_unjudged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(manual_promotion, "read_run_json", lambda *_: {"as_of": "2020-01"})
    version = SimpleNamespace(run_id="r", as_of="2020-01")
    with pytest.raises(DataError, match=r"The split .*another release .*Train the model again\.$"):
        manual_promotion._judge(Settings(home=tmp_path), version, None)  # type: ignore[arg-type]


def test_alerts_start_anew_after_an_unreadable_cursor() -> None:
    assert AlertCursor.parse('{"seen": 3}') is None
