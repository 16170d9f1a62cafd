"""A panel is built once: whoever reads the same rows later takes the stored one, which is the same to the last bit."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.services.training.datasets import panels_of, plan_month, rebuild_each, rows_until
from cleverbetter_dagster.services.training.panels import (
    CONTENT,
    FOLDER,
    forget_panels,
    identified,
    panel_key,
    store_panel,
    stored_panel,
)
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster_tests.services.training.counted_work import counted_work
from cleverbetter_dagster_tests.services.training.test_datasets import AS_OF, SPEC, by_month

Months = Mapping[str, pa.Table]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def months(rows: pd.DataFrame) -> Months:
    """With a market feature that some rows lack, another that nearly all lack, and a category."""
    known = rows[rows["end_date"] < AS_OF.end].reset_index(drop=True)
    number = pd.Series(range(len(known)))
    own = {
        "ml_some": number.where(number % 3 > 0).astype(float),
        "ml_rare": number.where(number == 7).astype(float),
        "category_country": pd.Series(["AU", None, "NZ"] * len(known), dtype=object)[: len(known)],
    }
    return {month: identified(table) for month, table in by_month(known.assign(**own)).items()}


def test_a_stored_panel_is_the_one_that_was_built(settings: Settings, months: Months) -> None:
    panel = build_panel(rows_until(months, AS_OF), AS_OF.end, SPEC)
    store_panel(settings, AS_OF, "key", panel)
    again = stored_panel(settings, AS_OF, "key")
    pd.testing.assert_frame_equal(again, panel, check_exact=True, check_column_type=True, check_index_type=True)


def test_later_readers_build_no_panel_and_hash_no_rows(settings: Settings, months: Months) -> None:
    with counted_work() as counts:
        planned = plan_month(settings, months, AS_OF, SPEC)
        (_, again), *_ = rebuild_each(settings, months, {AS_OF.key: planned.record})
        whole = panels_of(settings, months, AS_OF)(SPEC)
    assert counts == {"panels": 1, "hashes": 1}
    pd.testing.assert_frame_equal(again.panel, planned.panel, check_exact=True)
    pd.testing.assert_frame_equal(again.parts.past.X, planned.parts.past.X, check_exact=True)
    assert "ml_rare" in whole and "ml_rare" not in again.panel and "ml_country=AU" in again.panel


def test_a_split_of_other_rows_is_refused(settings: Settings, months: Months) -> None:
    planned = plan_month(settings, months, AS_OF, SPEC)
    month, table = next((month, table) for month, table in months.items() if len(table))
    roi = table.schema.get_field_index("roi")
    changed = {**months, month: identified(table.set_column(roi, "roi", pa.array([0.5] * len(table))))}
    with pytest.raises(DataError, match="changed since their split was made"):
        list(rebuild_each(settings, changed, {AS_OF.key: planned.record}))


def test_rows_that_do_not_tell_their_content_are_hashed(settings: Settings, months: Months) -> None:
    untold = {month: table.replace_schema_metadata(None) for month, table in months.items()}
    with counted_work() as counts:
        planned = plan_month(settings, untold, AS_OF, SPEC)
        list(rebuild_each(settings, untold, {AS_OF.key: planned.record}))
    assert planned.record.panel_key is None and counts == {"panels": 2, "hashes": 2}


def test_a_key_depends_on_content_and_choices(months: Months) -> None:
    key = panel_key(months, AS_OF, SPEC)
    assert key is not None and key == panel_key(dict(reversed(months.items())), AS_OF, SPEC)
    assert key == panel_key(months, AS_OF, DatasetSpec(min_composite_score=0.5, min_examples=7))
    assert key != panel_key(months, AS_OF, DatasetSpec(return_threshold=0.01))
    assert key != panel_key(months, AsOf.parse(AS_OF.key).plus(-1), SPEC)


def test_the_hash_of_content_outlives_parquet(settings: Settings, months: Months) -> None:
    month, table = max(months.items(), key=lambda item: len(item[1]))
    store = ArtefactStore(settings.artefacts_base)
    store.write_table(f"{month}.parquet", table)
    read = store.read_tables([f"{month}.parquet"])
    assert read.schema.metadata[CONTENT] == table.schema.metadata[CONTENT]


def test_only_the_months_of_a_run_keep_their_panels(settings: Settings, months: Months) -> None:
    for month in (AS_OF.plus(-1), AS_OF):
        store_panel(settings, month, "key", pd.DataFrame({"a": [1]}))
    forget_panels(settings, keep=[AS_OF.key])
    assert ArtefactStore(settings.artefacts_base).names(FOLDER, ".parquet") == [f"{AS_OF.key}_key"]
