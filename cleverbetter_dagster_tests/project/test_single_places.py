"""Rules that stand in one place only: the package is read as syntax trees, and a second copy fails here."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.schema import COMPOSITE_SCORE
from cleverbetter_dagster.settings import REPOSITORY

PACKAGE = REPOSITORY / "cleverbetter_dagster"
ORDER = (ast.Gt, ast.GtE, ast.Lt, ast.LtE)
SEQUENCES = ({"SEQUENCE"}, {"STRATEGY", "METHOD"}, {"strategy_id", "method"})
MONTH_TOOLS = {"DateOffset", "MonthBegin", "MonthEnd", "Period", "PeriodIndex"}
MONTH_TOOLS |= {"period_range", "relativedelta", "to_period"}
OPTIONS = {*StakingSpec.model_fields, "min_composite_score", "min_examples"}
MONTH_FORMAT = re.compile(r"%Y-%m(?!-%d)")


def names_in(node: ast.AST) -> set[str]:
    """Every name, attribute and text below a node."""
    names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    names |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    return names | {str(one.value) for one in ast.walk(node) if isinstance(one, ast.Constant)}


def filters_by_quality(node: ast.AST) -> bool:
    compares = isinstance(node, ast.Compare) and isinstance(node.ops[0], ORDER)
    return compares and bool(names_in(node) & {"COMPOSITE_SCORE", COMPOSITE_SCORE, "min_composite_score"})


def chooses_live_rows(node: ast.AST) -> bool:
    """The newest row of each sequence, or the days that a strategy counts as live."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        return node.func.attr == "drop_duplicates" and names_in(node.args[0]) in SEQUENCES
    return isinstance(node, ast.Name) and node.id == "LIVE_DAYS"


def counts_in_months(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return any(
            isinstance(side, ast.Attribute) and side.attr in ("year", "month") for side in (node.left, node.right)
        )
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(MONTH_FORMAT.search(node.value))
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in MONTH_TOOLS or (isinstance(node, ast.keyword) and names_in(node) & {"MS", "ME"} != set())


def sets_a_default(node: ast.AST) -> bool:
    """A field, constant or argument that is named like an option and has a number of its own."""
    if isinstance(node, ast.FunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args]
        defaults = [*zip(reversed(arguments), reversed(node.args.defaults), strict=False)]
        defaults += [*zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
        return any(argument.arg in OPTIONS and is_number(value) for argument, value in defaults)
    if not isinstance(node, ast.AnnAssign | ast.Assign):
        return False
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    named = any(isinstance(target, ast.Name) and target.id.lower() in OPTIONS for target in targets)
    return named and is_number(
        node.value.args[0] if isinstance(node.value, ast.Call) and node.value.args else node.value
    )


def is_number(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


RULES: dict[str, tuple[Callable[[ast.AST], bool], set[str]]] = {
    "the quality filter": (filters_by_quality, {"dataset/selection.py"}),
    "live rows": (chooses_live_rows, {"dataset/selection.py"}),
    "months": (counts_in_months, {"dataset/as_of.py", "defs/partitions.py", "store/imports/mapping/bets.py"}),
    "defaults": (sets_a_default, {"betting/staking.py", "dataset/spec.py"}),
}
"""What a copy looks like, and where it may stand. Dagster's partitions need the format of a month, and
bets are grouped by months or weeks."""

COPIES = {
    "the quality filter": [
        "rows[COMPOSITE_SCORE] >= least",
        "frame['composite_score'] < 0.3",
        "x >= spec.min_composite_score",
    ],
    "live rows": ["panel.drop_duplicates([STRATEGY, METHOD], keep='last')", "end - timedelta(days=LIVE_DAYS)"],
    "months": [
        "times.dt.strftime('%Y-%m')",
        "f'{time:%Y-%m}'",
        "time.year * 12 + time.month",
        "later.year - earlier.year",
        "pd.DateOffset(months=3)",
        "pd.period_range(a, b, freq='M')",
        "pd.date_range(a, b, freq='MS')",
    ],
    "defaults": [
        "max_stake_fraction: float = Field(0.05, gt=0)",
        "KELLY_FRACTION = 0.25",
        "def command(family: str, min_composite_score: float = 0.3): ...",
        "def command(*, min_examples: int = 1000): ...",
    ],
}


def places(finds: Callable[[ast.AST], bool], tree: ast.AST) -> Iterator[int]:
    return (getattr(node, "lineno", 0) for node in ast.walk(tree) if finds(node))


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    files: list[Path] = sorted(PACKAGE.rglob("*.py"))
    return {str(file.relative_to(PACKAGE)): ast.parse(file.read_text()) for file in files}


@pytest.mark.parametrize("rule", RULES)
def test_no_module_copies_a_rule(trees: dict[str, ast.AST], rule: str) -> None:
    finds, allowed = RULES[rule]
    copies = [f"{name}:{line}" for name, tree in trees.items() if name not in allowed for line in places(finds, tree)]
    assert copies == []


@pytest.mark.parametrize(("rule", "copy"), [(rule, copy) for rule, copies in COPIES.items() for copy in copies])
def test_a_copy_is_recognised(rule: str, copy: str) -> None:
    assert list(places(RULES[rule][0], ast.parse(copy)))
