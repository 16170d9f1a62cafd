"""The groups of the graph are its stages: at group level every arrow in Dagster's UI leads to a later stage."""

import re
from itertools import pairwise, product

import pytest

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.settings import REPOSITORY

GRAPH = defs.resolve_asset_graph()
STAGES = [{"upstream"}, {"rows"}, set(FAMILIES), {"judgement"}, {"champion"}, {"reports", "evidence"}]
STAGE = {group: number for number, groups in enumerate(STAGES) for group in groups}
GROUP = {key.to_user_string(): GRAPH.get(key).group_name for key in GRAPH.get_all_asset_keys()}

README = (REPOSITORY / "README.md").read_text().split("## The graph")[1].split("\n## ")[0]
NAMED = re.sub(r'\w+\["(.+?)"\]', r"\1", README).replace("g_family", "{family}").replace(" g_", " ")
"""The nodes of the drawing by the names they show, as `{family}_study` for `family_study["{family}_study"]`."""

DRAWN = "\n".join(NAMED.replace("{family}", family) for family in FAMILIES)
TABLE = (REPOSITORY / "docs" / "graph.md").read_text()
WRITTEN = "\n".join(TABLE.replace("{family}", family) for family in FAMILIES)


def dependencies() -> set[tuple[str, str]]:
    """Pairs of an asset and one that reads it or whose checks read it."""
    pairs = {(parent, key) for key in GRAPH.get_all_asset_keys() for parent in GRAPH.get(key).parent_keys}
    for check in GRAPH.asset_check_keys:
        pairs |= {(dep.asset_key, check.asset_key) for dep in GRAPH.get_check_spec(check).additional_deps}
    return {(parent.to_user_string(), child.to_user_string()) for parent, child in pairs}


def test_every_group_is_a_stage() -> None:
    assert set(GROUP.values()) == set(STAGE)


@pytest.mark.parametrize(("parent", "child"), sorted(dependencies()))
def test_arrows_between_groups_lead_to_a_later_stage(parent: str, child: str) -> None:
    before, after = GROUP[parent], GROUP[child]
    assert before == after or STAGE[before] < STAGE[after], f"{before} -> {after}"


def test_the_documentation_names_the_group_of_every_asset() -> None:
    lines = re.findall(r"(?m)^\| (`[^|]+) \| `([^|]+)` \|", WRITTEN)
    written = {asset: group for assets, group in lines for asset in re.findall(r"\w+", assets)}
    assert written == {asset: group for asset, group in GROUP.items() if group != "upstream"}


def test_readme_draws_every_asset_in_its_group() -> None:
    boxes = re.findall(r"(?ms)^ +subgraph (\w+)\n(.*?)^ +end", DRAWN)
    assert {asset: group for group, box in boxes for asset in re.findall(r"\w+", box)} == GROUP


def test_readme_draws_only_arrows_that_exist() -> None:
    arrows: set[tuple[str, ...]] = set()
    for chain in re.findall(r".+-->.+", DRAWN):
        nodes = [re.findall(r"\w+", node) for node in chain.split("-->")]
        arrows |= {arrow for sources, targets in pairwise(nodes) for arrow in product(sources, targets)}
    assert arrows <= dependencies() | {(GROUP[parent], GROUP[child]) for parent, child in dependencies()}
