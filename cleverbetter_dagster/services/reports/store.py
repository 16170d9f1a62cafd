"""Makes, stores and finds reports: HTML files among the artefacts, and in the MLflow run of the model."""

import hashlib
from collections.abc import Mapping

import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import NotStored
from cleverbetter_dagster.evaluation.intervals.estimate import IntervalSpec
from cleverbetter_dagster.evaluation.report import Report, render
from cleverbetter_dagster.learning.catalogue import FAMILIES, get_family
from cleverbetter_dagster.services.champion.predict import predict
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns
from cleverbetter_dagster.services.evaluation.scored_table import evaluated_model, scored_by_model
from cleverbetter_dagster.services.evaluation.stakes import exposures_of, rows_of
from cleverbetter_dagster.services.records import ChampionRecord, ComparisonRecord, ReportRecord, SplitRecord
from cleverbetter_dagster.services.reports.comparison import comparison_report
from cleverbetter_dagster.services.reports.family import FamilyResults, family_report
from cleverbetter_dagster.services.reports.split import split_report
from cleverbetter_dagster.services.stored_assets import stored_months
from cleverbetter_dagster.services.training.datasets import Dataset, PanelOf
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.runs import reopen_run

FOLDER = "reports"
SPLIT, COMPARISON, WALK_FORWARD = "split", "comparison", "walk_forward"


def report_on_family(
    settings: Settings, table: pa.Table, dataset: Dataset, panel_of: PanelOf, decision: ChampionRecord | None
) -> ReportRecord:
    """Make and store the report on an evaluated model.

    Args:
        table: its signed scored rows.
        dataset: the rows it was trained and evaluated on.
        panel_of: what is known at as_of, for predictions of the next window.
        decision: about the challenger of this as_of; None if there is none yet.
    """
    model = evaluated_model(table)
    package = load_model(settings, model.model_uri)
    predictions = predict(panel_of, AsOf.parse(model.as_of), package, model.staking)
    exposures = exposures_of(rows_of(table, model.family), model.staking, PastReturns.of(dataset.panel))
    scored = scored_by_model([table])
    results = FamilyResults(model, package.fitted, dataset, scored, exposures, predictions, decision)
    return save_report(settings, model.family, model.as_of, family_report(results, IntervalSpec()), model.run_id)


def report_on_comparison(
    settings: Settings,
    comparison: ComparisonRecord,
    evaluations: Mapping[str, pa.Table],
    decision: ChampionRecord | None,
    split: SplitRecord,
) -> ReportRecord:
    """Make and store the report on all families of one as_of. In MLflow it is in the challenger's run."""
    scored = scored_by_model(list(evaluations.values()))
    report = comparison_report(comparison, scored, decision, split, IntervalSpec())
    run_id = comparison.models[comparison.challenger].run_id
    return save_report(settings, COMPARISON, comparison.as_of, report, run_id)


def report_on_split(settings: Settings, dataset: Dataset) -> ReportRecord:
    """Make and store the report on the rows of an as_of. It has no MLflow run."""
    return save_report(settings, SPLIT, dataset.record.as_of, split_report(dataset), None)


def save_report(settings: Settings, kind: str, as_of: str, report: Report, run_id: str | None) -> ReportRecord:
    """Render a report, store it as an artefact, and log it to its MLflow run if it has one."""
    html, path, store = render(report), report_path(kind, as_of), ArtefactStore(settings.artefacts_base)
    store.write_text(path, html)
    if run_id is not None:
        with reopen_run(settings, run_id) as run:
            run.log_file(f"reports/{kind}.html", html.encode())
    return ReportRecord(
        kind=kind,
        as_of=as_of,
        path=path,
        url=store.url(path),
        sha256=hashlib.sha256(html.encode()).hexdigest(),
        size_bytes=len(html.encode()),
        run_id=run_id,
    )


def report_path(kind: str, as_of: str) -> str:
    """Path of a report below the base of the artefacts."""
    return f"{FOLDER}/{kind}/{as_of}.html"


def newest_reports(settings: Settings) -> dict[str, str]:
    """The newest month of each kind of report that is stored."""
    store = ArtefactStore(settings.artefacts_base)
    months = {kind: store.names(f"{FOLDER}/{kind}", ".html") for kind in (COMPARISON, *FAMILIES, SPLIT, WALK_FORWARD)}
    return {kind: stored[-1] for kind, stored in months.items() if stored}


def find_report(settings: Settings, kind: str, as_of: str | None = None) -> tuple[str, str]:
    """As_of and path of a stored report; without `as_of` the newest.

    Raises:
        UnknownFamily: there is no such kind.
        NotStored: there is none; the message says how to make it from what is stored, if that is possible.
    """
    store = ArtefactStore(settings.artefacts_base)
    months = store.names(f"{FOLDER}/{kind}", ".html")
    wanted = as_of or (months[-1] if months else None)
    if wanted not in months or wanted is None:
        if kind not in (SPLIT, COMPARISON, WALK_FORWARD):
            get_family(kind)
        others = f"; there are reports of {', '.join(months[-6:])}" if months else ""
        rows = as_of and kind != SPLIT and store.exists(report_path(SPLIT, as_of))
        blocked = f" To see if its rows allow it: cleverbetter report --kind split --as-of {as_of}" if rows else ""
        missing = f"There is no report on {kind}{f' as of {as_of}' if as_of else ''}{others}."
        raise NotStored(f"{missing}{_way_to_make(settings, kind, as_of)}{blocked}")
    return wanted, report_path(kind, wanted)


def month_to_report(settings: Settings, kind: str, as_of: str | None) -> str | None:
    """The month, by default the newest, whose report can be made from what is stored; None if that takes a training."""
    if kind in (SPLIT, WALK_FORWARD):
        return None
    months = stored_months(settings, "model_comparison" if kind == COMPARISON else f"{kind}_evaluation")
    month = as_of or (months[-1] if months else None)
    return month if month in months else None


def _way_to_make(settings: Settings, kind: str, as_of: str | None) -> str:
    if kind == WALK_FORWARD:
        return " `cleverbetter backfill --help` says how to make one."
    month = month_to_report(settings, kind, as_of)
    return f" `cleverbetter report --kind {kind} --as-of {month}` makes it." if month else ""
