"""A small deployment that has advised stakes for some months: stored rows, a packed champion, its predictions."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.schema import END_DATE, ROI, STRATEGY
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.champion.predict import predict_and_write
from cleverbetter_dagster.services.stored_assets import ROWS, stored_rows
from cleverbetter_dagster.services.training.datasets import panels_of
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.source.changes import InFlightRows
from cleverbetter_dagster.store.source.load_log import Digest, LoadedMonth, record_load
from cleverbetter_dagster.store.tracking.package import StrategyModel, log_model
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster_tests.services.conftest import canonical
from cleverbetter_dagster_tests.support.provenance import NOTHING_LEARNED
from cleverbetter_dagster_tests.support.storable import storable

SIMULATION = SimulationSpec(n_strategies=30, first_month="2023-01", months=9)
MONTHS = ("2023-06", "2023-07", "2023-08", "2023-09")
HOSTILE = "<script>alert('x')</script> a/b%2F?c#d 🐕 [/] \u202e"
WEIGHTS = {"win_rate": 0.5, "shrunk_return": 2.0}
CENTRE = {"win_rate": 0.3, "shrunk_return": 0.0}


@storable
@dataclass(frozen=True, eq=False)
class Additive(FittedModel):
    """A probability that is a sum over two features, so that what each adds is known without any sampling."""

    family = "ensemble"
    feature_names: tuple[str, ...] = (*WEIGHTS, "total_bets")

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        weights, centre = (np.array([*each.values(), 0.0]) for each in (WEIGHTS, CENTRE))
        p = np.clip(0.5 + (values - centre) @ weights, 0.01, 0.99)
        return {"probability": p, "score": p, "confidence": np.full(len(p), 0.9)}

    def feature_importance(self) -> pd.Series:
        return pd.Series(1 / 3, index=list(self.feature_names))

    def report(self) -> dict[str, float | int | str]:
        return {}


MODEL = StrategyModel(Additive(), DatasetSpec(min_composite_score=None), NOTHING_LEARNED)


def rows() -> pd.DataFrame:
    """Canonical rows; the best strategy has a name that would do harm where it is not escaped."""
    made = canonical(*simulate_rows(SIMULATION))
    best = made.groupby(STRATEGY)[ROI].mean().idxmax()
    return made.assign(**{STRATEGY: made[STRATEGY].where(made[STRATEGY] != best, HOSTILE)})


def store_rows(settings: Settings) -> None:
    """Store the rows as `training_rows` does, and record that they were loaded."""
    store = ArtefactStore(settings.artefacts_base)
    log = {}
    for month, of_month in rows().groupby(rows()[END_DATE].dt.strftime("%Y-%m")):
        store.write_table(f"{ROWS}/{month}.parquet", pa.Table.from_pandas(of_month, preserve_index=False))
        log[str(month)] = LoadedMonth(Digest(len(of_month), str(month)), "db", 1, InFlightRows())
    record_load(settings, log, "a run", None)


def make_champion(settings: Settings, as_of: str) -> ledger.LedgerEntry:
    """Register the model as of a month and promote it, without a verdict and without stakes."""
    with start_run(settings, RunSpec("ensemble", as_of, "abc")) as run:
        log_model(run, MODEL)
    registry = Registry(settings)
    version = registry.register(run.run_id, "ensemble")
    decision = ledger.Decision("ensemble", version, run.run_id, as_of, "better", "a test")
    return ledger.promote(settings, registry, decision, ledger.champion_at(settings, as_of))


def advise(settings: Settings, month: str) -> None:
    """Let the champion of a month score it."""
    as_of = AsOf.parse(month)
    predict_and_write(settings, panels_of(settings, stored_rows(settings, as_of), as_of), as_of, {})


def advised(settings: Settings) -> ledger.LedgerEntry:
    """Rows, a champion, and its advice of `MONTHS`; the champion."""
    store_rows(settings)
    champion = make_champion(settings, MONTHS[0])
    for month in MONTHS:
        advise(settings, month)
    return champion
