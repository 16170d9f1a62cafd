"""What an update costs and keeps, next to training in full: CPU seconds, and AUC and growth in the month that follows.

    python -m cleverbetter_dagster_tests.benchmarks.bench_incremental --rows FOLDER --months 20

FOLDER is as for bench_tuning, as is the variable CLEVERBETTER_BENCH_ROWS. At the end of each month M three models
stand side by side: one fitted on all that was known a month before, the same after an update with what was labelled in
M (about 2% of the rows), and one fitted anew on everything. All are judged on the rows decided in M + 1. Growth is the
logarithm of what the bankroll grows by in a month under the model's own stakes. CPU seconds are of this process, on one
thread; intervals are over months.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.betting.open_stakes import replay
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.labels import LABEL
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.intervals.months import mean_interval
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.evaluation.stakes import sizing_of
from cleverbetter_dagster_tests.benchmarks.bench_tuning import ROWS_VARIABLE, load

MOST_AUC_LOST, LEAST_SPEEDUP = 0.002, 20.0


@dataclass(frozen=True)
class Month:
    """One month: rows before and in it, what either way cost in CPU seconds, and AUC and growth in the month after."""

    month: str
    past_rows: int
    new_rows: int
    full_seconds: float
    update_seconds: float
    parent_auc: float
    updated_auc: float
    full_auc: float
    updated_growth: float
    full_growth: float


@dataclass(frozen=True)
class Summary:
    """A family over all months: cost of full training over that of updates, and what is lost against full training."""

    family: str
    months: int
    new_share: float
    full_seconds: float
    update_seconds: float
    lost_by_update: Estimate
    lost_by_nothing: Estimate
    growth_lost: Estimate

    @property
    def speedup(self) -> float:
        return self.full_seconds / self.update_seconds


def months_of(family: Family, rows: pd.DataFrame, n_months: int, seed: int = 0) -> Iterator[Month]:
    """Go through the last months whose following month has outcomes."""
    panel = build_panel(rows, None, DatasetSpec(min_composite_score=None))
    examples = Examples(panel[panel[LABEL].notna()])
    decided = AsOf.of(examples.decision_time.max())
    months = [decided.plus(-1)]
    while len(months) < n_months:
        months.insert(0, months[0].plus(-1))
    before = months[0].plus(-1).end
    parent, _ = _fitted(family, _where(examples, examples.label_time < before), seed)
    for month in months:
        known = _where(examples, examples.label_time < month.end)
        new = known.label_time >= month.plus(-1).end
        past, landed = _where(known, ~new), _where(known, new)
        follows = (examples.decision_time >= month.end) & (examples.decision_time < month.plus(1).end)
        started = process_time()
        updated = family.update(parent, landed, past, seed, 1)
        update_seconds = process_time() - started
        full, full_seconds = _fitted(family, known, seed)
        judged = _where(examples, follows)
        aucs = [_auc(model, judged) for model in (parent, updated, full)]
        growths = [_log_growth(model, judged) for model in (updated, full)]
        yield Month(month.key, len(past), len(landed), full_seconds, update_seconds, *aucs, *growths)
        parent = full


def summary_of(family: str, months: Sequence[Month]) -> Summary:
    """Mean costs, and mean losses of AUC with their intervals."""
    frame = pd.DataFrame([asdict(month) for month in months])
    updated, parent, growth = (
        mean_interval(frame[full] - frame[other], 0.95)
        for full, other in (
            ("full_auc", "updated_auc"),
            ("full_auc", "parent_auc"),
            ("full_growth", "updated_growth"),
        )
    )
    return Summary(
        family=family,
        months=len(months),
        new_share=float((frame["new_rows"] / frame["past_rows"]).mean()),
        full_seconds=float(frame["full_seconds"].mean()),
        update_seconds=float(frame["update_seconds"].mean()),
        lost_by_update=updated,
        lost_by_nothing=parent,
        growth_lost=growth,
    )


def shown(summaries: Sequence[Summary]) -> Table:
    """The comparison, for a person: a column for each family."""
    title = f"aims: at least {LEAST_SPEEDUP:g}x less CPU, at most {MOST_AUC_LOST} of AUC lost against full training"
    table = Table("", title=title, title_justify="left")
    for one in summaries:
        table.add_column(one.family, justify="right")
    lines: dict[str, Callable[[Summary], str]] = {
        "months": lambda one: str(one.months),
        "new rows": lambda one: f"{one.new_share:.1%}",
        "full, CPU s": lambda one: f"{one.full_seconds:.2f}",
        "update, CPU s": lambda one: f"{one.update_seconds:.3f}",
        "less CPU": lambda one: f"{one.speedup:.0f}x",
        "AUC lost": lambda one: str(one.lost_by_update),
        "AUC lost by no update": lambda one: str(one.lost_by_nothing),
        "growth lost": lambda one: str(one.growth_lost),
    }
    for name, cell in lines.items():
        table.add_row(name, *map(cell, summaries))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=os.environ.get(ROWS_VARIABLE))
    parser.add_argument("--months", type=int, default=20)
    parser.add_argument("--family", choices=list(FAMILIES), action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print every month as well, as JSON")
    options = parser.parse_args(arguments)
    rows, console = load(Path(options.rows) if options.rows else None), Console()
    summaries = []
    for name in options.family or FAMILIES:
        months = list(months_of(FAMILIES[name], rows, options.months, options.seed))
        if options.json:
            console.print_json(json.dumps([asdict(month) for month in months]))
        summaries.append(summary_of(name, months))
    console.print(shown(summaries))


def _fitted(family: Family, known: Examples, seed: int) -> tuple[FittedModel, float]:
    """A model of the known examples, the latest quarter of them its validation, and its CPU seconds."""
    past, latest = temporal_folds(known.decision_time, known.label_time, n_folds=3)[-1]
    started = process_time()
    model = family.fit(known.take(past), known.take(latest), {}, seed, 1)
    return model, process_time() - started


def _auc(model: FittedModel, examples: Examples) -> float:
    return float(roc_auc_score(examples.y, model.predict_proba(examples.X)[:, 1]))


def _log_growth(model: FittedModel, examples: Examples) -> float:
    sizing = sizing_of(model.predict_frame(examples.X), examples.frame, StakingSpec())
    return float(np.log(replay(examples.windows, examples.next_roi, sizing.size).bankroll[-1]))


def _where(examples: Examples, mask: pd.Series) -> Examples:
    return examples.take(np.flatnonzero(mask))


if __name__ == "__main__":
    main()
