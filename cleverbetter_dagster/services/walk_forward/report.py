"""The walk-forward report: from stored rows, splits and models to one table that carries its figures."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.evaluation.report.walk_forward import (
    WalkForwardView,
    walk_forward_charts,
    walk_forward_report,
)
from cleverbetter_dagster.services.records import ModelRecord, ReportRecord, SplitRecord
from cleverbetter_dagster.services.reports.store import WALK_FORWARD, keep
from cleverbetter_dagster.services.training.datasets import data_hash, rows_until
from cleverbetter_dagster.services.walk_forward.figures import figures_of, monthly_scores
from cleverbetter_dagster.services.walk_forward.page import walk_forward_view
from cleverbetter_dagster.services.walk_forward.promotion_replay import LoadedModel
from cleverbetter_dagster.services.walk_forward.records import WalkForwardRecord
from cleverbetter_dagster.services.walk_forward.study import Load, walk_forward
from cleverbetter_dagster.services.walk_forward.summary import summary_of
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.registry import Registry

RECORD_METADATA = b"cleverbetter.walk_forward"


@dataclass(frozen=True)
class Report:
    """The monthly table with its record in it, the record, pictures as PNG by name, three sentences, and the page."""

    table: pa.Table
    record: WalkForwardRecord
    pictures: dict[str, bytes]
    summary: str
    page: ReportRecord


def report(
    settings: Settings,
    rows: Mapping[str, pa.Table],
    splits: Mapping[str, SplitRecord],
    models: Mapping[str, Mapping[str, ModelRecord]],
    policy: PromotionPolicy,
) -> Report:
    """The walk-forward study over whatever as_of months have a split and models; its HTML page is kept.

    In MLflow the page lies with the newest model of the best family.

    Raises:
        DataError: no rows, or a month between rows is missing; `NothingToJudge` as `walk_forward`.
    """
    if not rows:
        raise DataError(
            f"There are no training_rows in {settings.artefacts_base}. If that is not the home you mean, note that "
            "`dagster` commands typed in the project's folder take the DAGSTER_HOME of its .env; otherwise materialise "
            "training_rows for the months that have rows."
        )
    known, present = rows_until(rows, AsOf.parse(max(rows))), {name: one for name, one in models.items() if one}
    walk = walk_forward(known, splits, present, _loader(settings), policy)
    record, monthly = figures_of(walk, present, data_hash(known)), monthly_scores(walk)
    table = pa.Table.from_pandas(monthly, preserve_index=False)
    signed = table.replace_schema_metadata({**(table.schema.metadata or {}), RECORD_METADATA: record.model_dump_json()})
    view = walk_forward_view(walk, record, monthly, models, policy)
    best = present[next(row.name for row in record.board if row.name in record.significance)]
    page = keep(settings, WALK_FORWARD, record.as_ofs[-1], walk_forward_report(view), best[max(best)].run_id)
    return Report(signed, record, pictures_of(view), summary_of(record), page)


def _loader(settings: Settings) -> Load:
    """Loads models with the staking bounds that their versions carry."""
    bounds = {version.run_id: version.staking_spec for version in Registry(settings).list_versions()}

    def load(record: ModelRecord) -> LoadedModel:
        fitted = load_model(settings, record.model_uri).fitted
        return LoadedModel(record, fitted, bounds.get(record.run_id) or StakingSpec())

    return load


def walk_forward_record(table: pa.Table) -> WalkForwardRecord:
    """The record that the table of `walk_forward_report` carries.

    Raises:
        DataError: it carries none.
    """
    text = (table.schema.metadata or {}).get(RECORD_METADATA)
    if text is None:
        raise DataError("The table carries no walk-forward record. Materialise walk_forward_report again.")
    return WalkForwardRecord.model_validate_json(text)


def pictures_of(view: WalkForwardView) -> dict[str, bytes]:
    """The charts of a walk-forward as PNG, by name."""
    return {name: png(chart) for name, chart in walk_forward_charts(view).items()}
