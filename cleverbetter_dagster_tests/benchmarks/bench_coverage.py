"""Do intervals of 95% cover the truth in 95%, does the gate keep its promise, and what does that cost in power?

    python -m cleverbetter_dagster_tests.benchmarks.bench_coverage            # minutes
    python -m cleverbetter_dagster_tests.benchmarks.bench_coverage --quick    # under a minute, coverage to 0.025
    python -m cleverbetter_dagster_tests.benchmarks.bench_coverage --candidates   # other methods for a mean as well

`before` is the method of commit 14a9f62 (resampled months), kept in `coverage.methods`. Months depend on each other as
`dependent_months` says. Width is the median over that of an interval that knows the variance of the mean.

- Means: monthly values; `skewed` are exponential, `unequal` months have 20 to 200 rows, `growth` is that of a bankroll.
- Gate: all rows of 6, 10 and 20 months go through `judge` beside four baselines. A month's share of profitable windows
  moves as an AR(1) 0.7. `no skill`: every model knows as little as any other, each too high or too low by the same;
  `worst case`: of the baselines only one can compete. `equal to champion`: likewise against a champion, where nothing
  may be lost (tolerance 0). `skilled`: the challenger knows each row's chance, the baselines do not: power.
- Check: how often `champion_as_good_as_when_promoted` fails where nothing changed since, for champions promoted on six
  and ten months and judged on so many months. Before it judged from three months on.
- Figures that are no means: see `coverage.figures`.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import special

from cleverbetter_dagster.evaluation.gate import PromotionPolicy, judge
from cleverbetter_dagster.evaluation.intervals.month_statistics import mean_statistic
from cleverbetter_dagster.evaluation.intervals.months import Months, growth_interval, mean_interval
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.services.monitoring.checks import FEWEST_MONTHS, TOLERANCE
from cleverbetter_dagster_tests.benchmarks.coverage import figures
from cleverbetter_dagster_tests.benchmarks.coverage.methods import CANDIDATES, LEVEL, Ends, bootstrap_14a9f62
from cleverbetter_dagster_tests.evaluation.dependent_months import SHAPES, correlation, dependent_months
from cleverbetter_dagster_tests.evaluation.scored import decision_months, scored_rows

MONTHS, GATE_MONTHS = (6, 9, 12, 24), (6, 10, 20)
GATE_SHAPE, ROWS_A_MONTH = "AR(1) 0.7", 50
BASE_LOGIT, MONTH_SHOCK, MISJUDGED, ROW_NOISE, SKILL = -0.4, 0.5, 0.03, 0.02, 0.6
LEAD, LEAD_SPREAD = -0.01, 0.01
"""Brier score of a champion minus the base rate's, and its standard deviation from month to month."""


@dataclass(frozen=True)
class MeanCell:
    """Coverage of a mean, before and now, with the widths of both."""

    values: str
    shape: str
    months: int
    before: float
    blocks_of_3: float
    now: float
    width_before: float
    width: float


@dataclass(frozen=True)
class GateCell:
    """Share of challengers promoted; false promotions unless the challenger is skilled."""

    world: str
    months: int
    before: float
    now: float


@dataclass(frozen=True)
class CheckCell:
    """Share of champions called worse though nothing changed. Before: from three months on."""

    shape: str
    promoted_on: int
    months: int
    before: float
    now: float


def ours(values: np.ndarray) -> Ends:
    """The intervals of the package."""
    ends = np.array([mean_interval(row, LEVEL).ends for row in values])
    return ends[:, 0], ends[:, 1]


def mean_cell(shape: str, n_months: int, repeats: int, *, kind: str = "normal") -> MeanCell:
    """Coverage of the mean of one kind of monthly values."""
    rng = np.random.default_rng(1)
    values, now, truth = _values(kind, shape, n_months, repeats, rng)
    whole = correlation(shape, n_months).sum() / n_months**2
    oracle = 2.0 * 1.96 * np.sqrt(whole) * values.std()
    before, blocks = bootstrap_14a9f62(values), bootstrap_14a9f62(values, 3)
    covered = [float(np.mean((low <= truth) & (truth <= high))) for low, high in (before, blocks, now)]
    widths = [float(np.median(high - low) / oracle) for low, high in (before, now)]
    return MeanCell(kind, shape, n_months, *covered, *widths)


def _values(
    kind: str, shape: str, n_months: int, repeats: int, rng: np.random.Generator
) -> tuple[np.ndarray, Ends, float]:
    """Monthly values whose mean is sought, its intervals now, and the truth."""
    shocks = dependent_months(shape, n_months, repeats, rng, skewed=kind == "skewed")
    if kind == "growth":
        returns = 0.01 + 0.05 * shocks
        ends = np.array([growth_interval(row, LEVEL).ends for row in returns])
        nodes, weights = np.polynomial.hermite_e.hermegauss(30)
        truth = float(np.log1p(0.01 + 0.05 * nodes) @ weights / weights.sum())
        low, high = np.log1p(ends).T / n_months
        return np.log1p(returns), (low, high), truth
    if kind == "unequal":
        size = np.geomspace(20, 200, n_months).astype(int)
        months = Months(decision_months(n_months, 1)[np.repeat(np.arange(n_months), size)])
        rows = shocks[:, months.month] + rng.normal(size=(repeats, size.sum()))
        ends = np.array([months.mean_interval(mean_statistic(months, row)).ends for row in rows])
        sums = np.stack([months.by_month(row) for row in rows])
        point = rows.mean(axis=1, keepdims=True)
        return (sums - point * size) * n_months / size.sum() + point, (ends[:, 0], ends[:, 1]), 0.0
    return shocks, ours(shocks), 0.0


def means(repeats: int) -> list[MeanCell]:
    """Coverage in every cell."""
    cells = [mean_cell(shape, n, repeats) for shape in (*SHAPES, GATE_SHAPE) for n in MONTHS]
    kinds = [(kind, n) for kind in ("skewed", "unequal", "growth") for n in (6, 12, 24)]
    return cells + [mean_cell("AR(1) 0.3", n, repeats // 2, kind=kind) for kind, n in kinds]


Model = Callable[[float], np.ndarray]


def gate_cell(world: str, n_months: int, repeats: int) -> GateCell:
    """Share of challengers that the gate promotes in a world, before and now."""
    rng, decided = np.random.default_rng(2), decision_months(n_months, ROWS_A_MONTH)
    month = np.repeat(np.arange(n_months), ROWS_A_MONTH)
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    base = float(special.expit(BASE_LOGIT + MONTH_SHOCK * nodes) @ weights / weights.sum())
    policy, promoted = PromotionPolicy(tolerance=0.0), np.zeros((repeats, 2))
    for repeat, shocks in enumerate(dependent_months(GATE_SHAPE, n_months, repeats, rng)):
        skill = SKILL * rng.normal(size=len(month)) * (world == "skilled")
        label = (rng.random(len(month)) < special.expit(BASE_LOGIT + skill + MONTH_SHOCK * shocks[month])).astype(float)
        side = rng.choice([-1.0, 1.0])

        def model(error: float, known: float | np.ndarray = 0.0, label: np.ndarray = label) -> ScoredRows:
            noise = ROW_NOISE * rng.normal(size=len(label))
            return scored_rows(np.clip(base + error + known + noise, 0.001, 0.999), label, months=decided)

        challenger = model(side * MISJUDGED, special.expit(BASE_LOGIT + skill) - special.expit(BASE_LOGIT))
        if world == "worst case":
            others = {"base_rate": model(-side * MISJUDGED), **{str(n): model(0.3) for n in range(3)}}
        else:
            others = {str(n): model(rng.choice([-1.0, 1.0]) * MISJUDGED) for n in range(4)}
        champion = model(-side * MISJUDGED) if world == "equal to champion" else None
        rivals = {"far": model(0.3)} if champion is not None else others
        verdict = judge(challenger, champion, rivals, policy)
        promoted[repeat] = (
            _as_before(challenger, [*rivals.values(), *([champion] if champion else [])]),
            verdict.promote,
        )
    before, now = promoted.mean(axis=0)
    return GateCell(world, n_months, float(before), float(now))


def _as_before(challenger: ScoredRows, others: Sequence[ScoredRows]) -> bool:
    """Whether the gate of commit 14a9f62 promoted: every interval of the loss below 0. Months are of equal size."""
    terms = brier_terms(challenger.label, challenger.probability)
    lost = np.stack([terms - brier_terms(one.label, one.probability) for one in others])
    monthly = lost.reshape(len(others), -1, ROWS_A_MONTH).mean(axis=2)
    return bool(np.all(bootstrap_14a9f62(monthly)[1] < 0.0))


def gate(repeats: int) -> list[GateCell]:
    """Every world at every number of months."""
    worlds = ("no skill", "worst case", "equal to champion", "skilled")
    return [gate_cell(world, n, repeats) for world in worlds for n in GATE_MONTHS]


def check_cell(shape: str, promoted_on: int, n_months: int, repeats: int) -> CheckCell:
    """How often a champion fails the check though its lead is what it was."""
    rng = np.random.default_rng(3)
    then, now = (LEAD + LEAD_SPREAD * dependent_months(shape, n, repeats, rng) for n in (promoted_on, n_months))
    old = bootstrap_14a9f62(then)[1] < 0.0
    before = bootstrap_14a9f62(now[old])[0] > then[old].mean(axis=1) + TOLERANCE
    pairs = [(mean_interval(a, LEVEL), mean_interval(b, LEVEL)) for a, b in zip(then, now, strict=True)]
    lost = [last.minus(first) for first, last in pairs if first.high is not None and first.high < 0.0]
    fails = [one.low is not None and one.low > TOLERANCE for one in lost] or [False]
    return CheckCell(shape, promoted_on, n_months, float(before.mean()), float(np.mean(fails)))


def checks(repeats: int) -> list[CheckCell]:
    """The check where nothing changed."""
    months = (3, FEWEST_MONTHS, 12)
    return [check_cell(shape, then, n, repeats) for shape in SHAPES[:3] for then in (6, 10) for n in months]


def candidates(repeats: int) -> list[dict[str, object]]:
    """Coverage and width of other methods, and of ours."""
    lines = []
    for name, method in {**CANDIDATES, "ours": ours}.items():
        for n in MONTHS:
            line: dict[str, object] = {"method": name, "months": n}
            for shape in SHAPES:
                low, high = method(dependent_months(shape, n, repeats, np.random.default_rng(4)))
                oracle = 2.0 * 1.96 * np.sqrt(correlation(shape, n).sum()) / n
                line[shape] = float(np.mean((low <= 0.0) & (high >= 0.0)))
                line[f"width, {shape}"] = float(np.median(high - low) / oracle)
            lines.append(line)
    return lines


def tables(found: dict[str, list[dict[str, object]]]) -> list[Table]:
    """The results, for a person."""
    shown = []
    for title, lines in found.items():
        table = Table(*lines[0], title=title, title_justify="left")
        for line in lines:
            table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in line.values()))
        shown.append(table)
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions: under a minute")
    parser.add_argument("--json", action="store_true", help="print every cell as JSON")
    parser.add_argument("--candidates", action="store_true", help="other methods for a mean as well")
    options = parser.parse_args(arguments)
    few, many = (60, 400) if options.quick else (1_500, 5_000)
    found = {
        "coverage of means": [asdict(cell) for cell in means(many)],
        "promoted by the gate": [asdict(cell) for cell in gate(few)],
        "failed though nothing changed": [asdict(cell) for cell in checks(many)],
        "figures that are no means": [asdict(cell) for cell in figures.cells(quick=options.quick)],
    }
    if options.candidates:
        found["other methods"] = candidates(many)
    if options.json:
        print(json.dumps(found))
        return
    for table in tables(found):
        Console().print(table)


if __name__ == "__main__":
    main()
