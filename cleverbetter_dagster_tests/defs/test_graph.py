"""What the project shows to Dagster, without running any of it."""

import subprocess
import sys

import dagster as dg
import pytest

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.assets.config import StudyConfig, study_config
from cleverbetter_dagster.defs.assets.families import family_assets
from cleverbetter_dagster.defs.partitions import monthly, whole_history
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.learning.ensemble.family import Ensemble
from cleverbetter_dagster.learning.rl_agent.family import RlAgent

GRAPH = defs.resolve_asset_graph()
UPSTREAM = {"backtest_results", "ml_features"}
WALK_FORWARD = "walk_forward_report"
EVALUATIONS = {f"{family}_evaluation" for family in FAMILIES}


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name)


def test_the_graph_has_a_branch_for_each_family() -> None:
    branches = {f"{family}_{part}" for family in FAMILIES for part in ("study", "model", "evaluation", "report")}
    rest = {"training_rows", "temporal_split", "model_comparison", "champion", "strategy_predictions"}
    rest |= {"champion_monitoring", WALK_FORWARD}
    rest |= {"comparison_report"}
    assert {asset.to_user_string() for asset in GRAPH.get_all_asset_keys()} == UPSTREAM | rest | branches


@pytest.mark.parametrize(
    ("asset", "parents"),
    [
        ("training_rows", UPSTREAM),
        ("temporal_split", {"training_rows"}),
        ("ensemble_study", {"training_rows", "temporal_split"}),
        ("ensemble_model", {"training_rows", "temporal_split", "ensemble_study"}),
        ("ensemble_evaluation", {"training_rows", "temporal_split", "ensemble_model"}),
        ("model_comparison", EVALUATIONS),
        ("champion", {"training_rows", "temporal_split", "model_comparison"}),
        ("strategy_predictions", {"training_rows", "champion"}),
        ("champion_monitoring", {"training_rows", "temporal_split", "champion", "strategy_predictions"}),
        ("walk_forward_report", {"training_rows", "temporal_split", *(f"{family}_model" for family in FAMILIES)}),
        ("comparison_report", {"temporal_split", "model_comparison", "champion", *EVALUATIONS}),
        ("ensemble_report", {"training_rows", "temporal_split", "ensemble_evaluation", "champion"}),
    ],
)
def test_every_asset_depends_on_what_it_reads(asset: str, parents: set[str]) -> None:
    assert {parent.to_user_string() for parent in GRAPH.get(key(asset)).parent_keys} == parents


def test_every_asset_is_monthly_described_grouped_and_versioned() -> None:
    for asset in GRAPH.get_all_asset_keys() - {key(name) for name in UPSTREAM}:
        node = GRAPH.get(asset)
        assert isinstance(node.partitions_def, dg.MonthlyPartitionsDefinition) or asset == key(WALK_FORWARD), asset
        assert node.description, asset
        assert node.group_name != "default", asset
        assert node.kinds, asset
        assert node.code_version, asset


def test_a_range_of_months_is_one_run() -> None:
    for asset in GRAPH.get_all_asset_keys() - {key(name) for name in UPSTREAM}:
        assert GRAPH.get(asset).backfill_policy == dg.BackfillPolicy.single_run(), asset


def test_an_as_of_month_reads_no_month_after_it() -> None:
    mapping = GRAPH.get(key("temporal_split")).partition_mappings[key("training_rows")]
    months = monthly("2020-01")
    upstream = mapping.get_upstream_mapped_partitions_result_for_partitions(
        months.subset_with_partition_keys(["2020-04"]), months, months
    )
    assert list(upstream.partitions_subset.get_partition_keys()) == ["2020-01", "2020-02", "2020-03", "2020-04"]


def test_the_current_month_reads_the_first_one() -> None:
    months = monthly("1900-01")
    mapping = whole_history(months)
    upstream = mapping.get_upstream_mapped_partitions_result_for_partitions(
        months.subset_with_partition_keys([months.get_last_partition_key()]), months, months
    )
    assert "1900-01" in upstream.partitions_subset


def test_partitions_include_the_current_unfinished_month() -> None:
    import pandas as pd

    assert monthly("2015-01").get_last_partition_key() == pd.Timestamp.now(tz="UTC").strftime("%Y-%m")


def test_the_checks_that_guard_training_block_what_follows() -> None:
    blocking = {
        check.name for spec in GRAPH.asset_check_keys for check in [spec] if GRAPH.get_check_spec(spec).blocking
    }
    assert blocking == {
        "enough_examples",
        "no_label_after_split",
        "purge_holds",
        "no_feature_is_too_good_to_be_true",
    }


def test_every_check_has_a_remedy() -> None:
    for check in GRAPH.asset_check_keys:
        assert "Otherwise:" in str(GRAPH.get_check_spec(check).description), check


def test_the_factory_makes_the_assets_of_any_family() -> None:
    class Other(Ensemble):
        name = "other"

    branch = family_assets(Other(), monthly("2020-01"))
    assert [asset.key.to_user_string() for asset in branch] == ["other_study", "other_model", "other_evaluation"]


def test_a_study_has_the_defaults_of_its_family() -> None:
    usual, stakers = StudyConfig(), study_config(RlAgent())()
    assert usual.model_dump() == study_config(Ensemble())().model_dump()
    changed = {name for name, value in stakers.model_dump().items() if value != getattr(usual, name)}
    assert changed == set(RlAgent.study_defaults) == {"metric", "n_trials", "timeout_seconds"}
    with pytest.raises(ValueError, match="n_trials"):
        study_config(RlAgent())(n_trials=-1)


def test_there_are_five_jobs() -> None:
    assert {job.name for job in defs.resolve_all_job_defs()} - {"__ASSET_JOB"} == {
        "load_rows",
        "retrain",
        "incremental",
        "predict",
        "walk_forward",
    }


def test_retraining_a_month_makes_no_walk_forward_report() -> None:
    retrain = defs.resolve_job_def("retrain").asset_layer.executable_asset_keys
    assert key(WALK_FORWARD) not in retrain and key("champion_monitoring") in retrain


def test_loading_the_definitions_touches_no_network() -> None:
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('a connection was opened while loading')\n"
        "socket.socket.connect = refuse\n"
        "import cleverbetter_dagster.definitions\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
