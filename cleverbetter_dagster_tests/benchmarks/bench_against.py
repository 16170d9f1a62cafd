"""What this build and an earlier commit cost: the demo, one month, a walk-forward, fits on many rows.

    python -m cleverbetter_dagster_tests.benchmarks.bench_against --commit 14a9f62 --only retrain --rows FOLDER

The commit is unpacked beside, from this repository's history. Both builds do each piece of work in turn, each time in
processes of its own and in a home of its own, copied from one that holds the same rows, already loaded. CPU is that of
all processes, with those of the database; of `..._fit` it is that of the fit alone. Memory is the peak of the largest
process. `rest` watches `cleverbetter up` in an empty home: seconds until each of its pages answered, then per cent of a
core and memory of all its processes. Tables show medians; `ratio` is this build's figure over that of the commit, and
figures of models are compared by name. `--rows` is a folder with `backtest_results.parquet` and
`ml_features.parquet`; without it the rows are simulated.
"""

import argparse
import ctypes
import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster_tests.benchmarks.against import work
from cleverbetter_dagster_tests.benchmarks.against.builds import Build, Cost
from cleverbetter_dagster_tests.benchmarks.against.rest import at_rest

HERE = Path(__file__).resolve().parents[2]
RESULTS, FEATURES = "backtest_results.parquet", "ml_features.parquet"
NOW = "this build"
CHILD_SUBREAPER = 36
"""`PR_SET_CHILD_SUBREAPER`: processes whose parent ended become ours, so that we learn what they cost."""

FITS = ("ensemble_fit", "classifier_fit")
REST = "rest"
WORK = ("demo", "retrain", "walk_forward", *FITS, REST)

QUANTITIES = {"wall": "seconds", "cpu": "CPU seconds", "peak_mb": "MB at most"}
AT_REST = {"wall": "seconds to the last first answer", "cpu": "% of a core at rest", "peak_mb": "MB of all processes"}
"""What the quantities of a `Cost` are, of most work and of `rest`."""


@dataclass(frozen=True)
class Comparison:
    """Costs of both builds by name of the build, and the figures of their models by name of the model."""

    costs: Mapping[str, Sequence[Cost]]
    figures: Mapping[str, Mapping[str, Mapping[str, float]]]

    def median(self, build: str, quantity: str) -> float:
        """Median over the repeats."""
        return statistics.median(getattr(cost, quantity) for cost in self.costs[build])

    def ratio(self, quantity: str) -> float:
        """This build's median over the other's."""
        other = next(name for name in self.costs if name != NOW)
        return self.median(NOW, quantity) / self.median(other, quantity)

    def furthest(self) -> dict[str, float]:
        """Largest difference of each figure over all models."""
        ours = self.figures[NOW]
        theirs = next(figures for name, figures in self.figures.items() if name != NOW)
        furthest: dict[str, float] = {}
        for model in ours.keys() & theirs.keys():
            for name in ours[model].keys() & theirs[model].keys():
                apart = abs(ours[model][name] - theirs[model][name])
                furthest[name] = max(furthest.get(name, 0.0), apart)
        return furthest


def compare(builds: Sequence[Build], name: str, options: argparse.Namespace, folder: Path) -> Comparison:
    """Let each build do one piece of work, in turn, `options.repeats` times."""
    costs: dict[str, list[Cost]] = {build.name: [] for build in builds}
    figures: dict[str, Any] = {}
    for _ in range(options.repeats):
        for build in builds:
            home = _home(build, name, options, folder)
            if name == REST:
                costs[build.name].append(at_rest(build, home, options.rest_seconds))
                figures[build.name] = {}
                shutil.rmtree(home)
                continue
            cost, printed = build.run(_work(build, name, options), home)
            costs[build.name].append(replace(cost, cpu=printed.get("cpu", cost.cpu)))
            figures[build.name] = work.figures(home, printed)
            shutil.rmtree(home)
    return Comparison(costs, figures)


def _work(build: Build, name: str, options: argparse.Namespace) -> list[str]:
    if name == "demo":
        return build.command("demo", "--json")
    if name == "walk_forward":
        last = AsOf.parse(options.as_of)
        months = ("--from", last.plus(1 - options.months).key, "--to", last.key)
        trials = () if options.trials is None else ("--trials", str(options.trials))
        return build.command("backfill", *months, *trials, "--json")
    if name in FITS:
        return build.work("fit", name.removesuffix("_fit"), str(options.many_rows))
    return build.work(name, options.as_of)


def _home(build: Build, name: str, options: argparse.Namespace, folder: Path) -> Path:
    """A new home for one piece of work, with the rows where it needs them."""
    home = Path(tempfile.mkdtemp(dir=folder))
    if name not in ("retrain", "walk_forward"):
        return home
    filled = folder / f"filled {build.name}"
    if not filled.exists():
        filled.mkdir()
        files = ("--results", str(options.rows / RESULTS), "--features", str(options.rows / FEATURES))
        build.run(build.command("import", *files), filled)
        build.run(build.work("load_rows"), filled)
    shutil.rmtree(home)
    shutil.copytree(filled, home, symlinks=True)
    return home


def unpacked(commit: str, folder: Path) -> Build:
    """The build of a commit, its files unpacked in a folder.

    Raises:
        CalledProcessError: the repository does not have the commit.
    """
    tree = folder / "tree"
    tree.mkdir()
    archive = subprocess.run(["git", "-C", str(HERE), "archive", commit], stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
    return Build(commit, tree)


def simulated(folder: Path, strategies: int) -> Path:
    """A folder with the backtests of simulated strategies, as the upstream service writes them."""
    results, features = simulate_rows(SimulationSpec(n_strategies=strategies))
    place = folder / f"rows of {strategies} strategies"
    place.mkdir()
    results.to_parquet(place / RESULTS)
    features.to_parquet(place / FEATURES)
    return place


def table_of(comparisons: Mapping[str, Comparison]) -> Table:
    """All comparisons, a line for each quantity."""
    builds = list(next(iter(comparisons.values())).costs)
    table = Table(title="Medians", title_justify="left")
    for heading in ("work", "quantity", *builds, "ratio"):
        table.add_column(heading, justify="left" if heading in ("work", "quantity") else "right")
    for name, one in comparisons.items():
        for quantity, words in (AT_REST if name == REST else QUANTITIES).items():
            medians = [f"{one.median(build, quantity):,.1f}" for build in builds]
            table.add_row(name, words, *medians, f"{one.ratio(quantity):.2f}")
        for figure, apart in one.furthest().items():
            table.add_row(name, f"{figure}, furthest apart", "", "", f"{apart:.6f}")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", required=True, help="the commit to compare with")
    parser.add_argument("--only", nargs="+", choices=WORK, default=WORK, help="what to do; default: all")
    parser.add_argument("--repeats", type=int, default=3, help="times that each build does it; default 3")
    parser.add_argument("--quick", action="store_true", help="each build does it once")
    parser.add_argument("--rest-seconds", type=float, default=60, help="that `up` is watched for; default 60")
    parser.add_argument("--rows", type=Path, help="folder with the rows; default: simulated")
    parser.add_argument("--as-of", default="2023-12", help="month of retrain, last of walk_forward")
    parser.add_argument("--months", type=int, default=23, help="of walk_forward; default 23")
    parser.add_argument("--trials", type=int, help="of each study of walk_forward; default: the families' own")
    parser.add_argument(
        "--strategies", type=int, default=4000, help="simulated for the fits; default 4000, which make 178,840 rows"
    )
    parser.add_argument("--json", action="store_true", help="print the ratios as JSON")
    options = parser.parse_args(arguments)
    options.repeats = 1 if options.quick else options.repeats
    ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        options.rows = simulated(folder, 400) if options.rows is None else options.rows.resolve()
        if set(options.only) & set(FITS):
            options.many_rows = simulated(folder, options.strategies)
        builds = [unpacked(options.commit, folder), Build(NOW, HERE)]
        comparisons = {name: compare(builds, name, options, folder) for name in options.only}
    if options.json:
        ratios = {name: {q: round(one.ratio(q), 3) for q in QUANTITIES} for name, one in comparisons.items()}
        print(json.dumps({name: {**ratios[name], "apart": one.furthest()} for name, one in comparisons.items()}))
        return
    Console().print(table_of(comparisons))


if __name__ == "__main__":
    main()
