"""What families know of the next windows, month by month as a walk-forward: AUC and Brier score, paired with another.

    python -m cleverbetter_dagster_tests.benchmarks.bench_skill --quick
    python -m cleverbetter_dagster_tests.benchmarks.bench_skill --rows FOLDER --months 21 --every 3 --json

FOLDER is as for bench_tuning, as is the variable CLEVERBETTER_BENCH_ROWS. A model is fitted on what was known before a
month, the latest quarter its validation, and forecasts the rows decided in that month and in the `--every` - 1 that
follow. Beside the families stand the shrunk return, the mean over the deviation that all strategies together give
(`edge_sharpe`), the ensemble without the member that reads it, and an oracle: the mean return of each strategy over all
months, the future included. The share of the way is how far an AUC gets from the shrunk return to the oracle. Young are
rows of strategies with at most six windows. Differences are means over months with 95% intervals, against `--against`.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.edges.next_window import EDGE_RETURN, EDGE_SHARPE, EDGE_STD
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.labels import LABEL
from cleverbetter_dagster.dataset.panel import SEQUENCE, build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.intervals.months import mean_interval
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.learning.ensemble import family as ensemble
from cleverbetter_dagster.learning.ensemble.base_learners import BaseLearner, fit_base_learners
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams
from cleverbetter_dagster_tests.benchmarks.bench_tuning import ROWS_VARIABLE, load

YOUNG_WINDOWS = 6
LEVEL = 0.95
WIDTH = 170
WITHOUT = "ensemble without edges"
BASELINE, ORACLE = "shrunk_return", "oracle"


@dataclass(frozen=True)
class Skill:
    """One forecaster over all months; the Brier score is None if it only ranks, a difference if it is the yardstick.

    Attributes:
        auc: of all rows.
        auc_within: mean of each month's own.
        way: share of the way from the shrunk return to the oracle, by `auc`.
        young_auc: of the rows of strategies with few windows.
        auc_gain: mean over months of its AUC minus the yardstick's.
        brier_change: the same of Brier scores; below 0 is better.
        young_brier_change: on the young strategies' rows alone.
        cpu_seconds: of all fits.
    """

    name: str
    auc: float
    auc_within: float
    way: float
    young_auc: float
    brier: float | None
    auc_gain: Estimate | None
    brier_change: Estimate | None
    young_brier_change: Estimate | None
    cpu_seconds: float


def forecasts(
    rows: pd.DataFrame, families: Sequence[str], months: int, every: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """What each forecaster says of the rows of the last months with outcomes, and the CPU seconds of its fits.

    Returns:
        Rows of a panel with a column for each forecaster, and seconds by its name.
    """
    panel = build_panel(rows, None, DatasetSpec(min_composite_score=None))
    panel[ORACLE] = panel.groupby(SEQUENCE)["roi"].transform("mean")
    examples = Examples(panel[panel[LABEL].notna()].reset_index(drop=True))
    last = AsOf.of(examples.decision_time.max())
    seconds = dict.fromkeys([*families, WITHOUT, BASELINE], 0.0)
    parts = []
    for first in range(1 - months, 1, every):
        begin, end = last.plus(first - 1).end, last.plus(min(first + every - 1, 0)).end
        known = examples.take(np.flatnonzero(examples.label_time < begin))
        asked = examples.take(np.flatnonzero((examples.decision_time >= begin) & (examples.decision_time < end)))
        columns = {}
        for name in seconds:
            started = process_time()
            columns[f"p_{name}"] = _forecast(name, known, asked)
            seconds[name] += process_time() - started
        parts.append(asked.frame.assign(**columns))
    return pd.concat(parts, ignore_index=True), seconds


def skills(asked: pd.DataFrame, seconds: dict[str, float], against: str) -> list[Skill]:
    """Every forecaster over all months, those that only rank last; the yardstick is `against`."""
    young = asked["windows_seen"] <= YOUNG_WINDOWS
    low, high = (float(roc_auc_score(asked[LABEL], asked[name])) for name in (BASELINE, ORACLE))
    found = []
    for name in (*seconds, EDGE_SHARPE, ORACLE):
        column = f"p_{name}" if name in seconds else name
        auc = float(roc_auc_score(asked[LABEL], asked[column]))
        paired = name in seconds and name != against
        found.append(
            Skill(
                name=name,
                auc=auc,
                auc_within=float(_aucs(asked, column).mean()),
                way=(auc - low) / (high - low),
                young_auc=float(roc_auc_score(asked.loc[young, LABEL], asked.loc[young, column])),
                brier=float(_squares(asked, column).mean()) if name in seconds else None,
                auc_gain=_interval(_aucs(asked, column) - _aucs(asked, f"p_{against}")) if paired else None,
                brier_change=_paired(asked, column, f"p_{against}") if paired else None,
                young_brier_change=_paired(asked[young], column, f"p_{against}") if paired else None,
                cpu_seconds=seconds.get(name, 0.0),
            )
        )
    return found


def shown(found: Sequence[Skill], title: str) -> Table:
    """The table, for a person."""
    table = Table("", title=title, title_justify="left")
    heads = (
        "AUC",
        "within months",
        "of the way",
        "young",
        "Brier",
        "AUC gain",
        "Brier change",
        "of the young",
        "CPU s",
    )
    for head in heads:
        table.add_column(head, justify="right")
    for one in found:
        brier = "" if one.brier is None else f"{one.brier:.4f}"
        paired = [_text(each) for each in (one.auc_gain, one.brier_change, one.young_brier_change)]
        figures = f"{one.auc:.4f}", f"{one.auc_within:.4f}", f"{one.way:.0%}", f"{one.young_auc:.4f}", brier
        table.add_row(one.name, *figures, *paired, f"{one.cpu_seconds:.1f}")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Forecast, judge, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=os.environ.get(ROWS_VARIABLE))
    parser.add_argument("--months", type=int, default=21)
    parser.add_argument("--every", type=int, default=1, help="months that a model serves before it is fitted anew")
    parser.add_argument("--family", choices=list(FAMILIES), action="append")
    parser.add_argument("--against", default=WITHOUT, help=f"the yardstick, default {WITHOUT!r}")
    parser.add_argument("--quick", action="store_true", help="the ensemble alone, fitted every fourth of 8 months")
    parser.add_argument("--json", action="store_true", help="print as JSON instead")
    options = parser.parse_args(arguments)
    families = options.family or (["ensemble"] if options.quick else list(FAMILIES))
    months, every = (8, 4) if options.quick else (options.months, options.every)
    asked, seconds = forecasts(load(Path(options.rows) if options.rows else None), families, months, every)
    found, console = skills(asked, seconds, options.against), Console(width=WIDTH)
    if options.json:
        console.print_json(json.dumps([_plain(one) for one in found]))
        return
    console.print(shown(found, f"{len(asked)} rows of {months} months; differences are to {options.against}"))


def _forecast(name: str, known: Examples, asked: Examples) -> np.ndarray:
    if name == BASELINE:
        return BASELINES[name].fit(known).predict_proba(asked.X)[:, 1]
    past, latest = temporal_folds(known.decision_time, known.label_time, n_folds=3)[-1]
    with patch.object(ensemble, "fit_members", _base_learners_only) if name == WITHOUT else nullcontext():
        family = FAMILIES["ensemble" if name == WITHOUT else name]
        model = family.fit(known.take(past), known.take(latest), {}, 0, 1)
    return model.predict_proba(asked.X)[:, 1]


def _base_learners_only(
    X: np.ndarray, y: np.ndarray, names: Sequence[str], params: EnsembleParams, seeds: Mapping[str, int], threads: int
) -> dict[str, BaseLearner]:
    """The ensemble as it was before it had the member that reads strategies, nor its features."""
    seen = np.where(np.isin(names, (EDGE_SHARPE, EDGE_RETURN, EDGE_STD)), 0.0, X)
    return fit_base_learners(seen, y, params, seeds, threads)


def _aucs(asked: pd.DataFrame, column: str) -> pd.Series:
    """AUC of each month that has both outcomes."""
    months = asked.groupby(asked["decision_time"].dt.strftime("%Y-%m"))
    aucs = {month: roc_auc_score(rows[LABEL], rows[column]) for month, rows in months if 0.0 < rows[LABEL].mean() < 1.0}
    return pd.Series(aucs, dtype=float)


def _squares(asked: pd.DataFrame, column: str) -> pd.Series:
    return (asked[column] - asked[LABEL]) ** 2


def _paired(asked: pd.DataFrame, column: str, other: str) -> Estimate:
    change = _squares(asked, column) - _squares(asked, other)
    return _interval(change.groupby(asked["decision_time"].dt.strftime("%Y-%m")).mean())


def _interval(monthly: pd.Series) -> Estimate:
    return mean_interval(monthly, LEVEL)


def _text(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    ends = "" if estimate.ends is None else f" [{estimate.low:+.4f}, {estimate.high:+.4f}]"
    return f"{estimate.point:+.4f}{ends}"


def _plain(skill: Skill) -> dict[str, Any]:
    estimates = {key: value.model_dump() for key, value in vars(skill).items() if isinstance(value, Estimate)}
    return asdict(skill) | estimates


if __name__ == "__main__":
    main()
