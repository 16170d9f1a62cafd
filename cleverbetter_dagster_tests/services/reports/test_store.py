"""What the reports say beside their figures: what was decided, what stood against it, and how to have it again."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._cli.asset import asset_materialize_command

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.leaderboard import rank_models
from cleverbetter_dagster.services.records import ChampionRecord, EvaluatedModel
from cleverbetter_dagster.services.reports.parts import decision_of, reproduction
from cleverbetter_dagster.services.reports.split import split_report
from cleverbetter_dagster.services.reports.store import find_report, report_on_split
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.evaluation.scored import simulated_models

MODEL = EvaluatedModel(
    family="ensemble",
    as_of="2023-06",
    run_id="run",
    model_uri="models:/m-1",
    sha256="0",
    params={"n_estimators": 40, "blend": 'it\'s "quoted" $HOME', "leaves": [7, 15]},
    trials=12,
    seed=3,
    data_hash="h",
    fitted_rows=1000,
    version=2,
    headline={},
    staking=StakingSpec(kelly_fraction=0.4, max_stake_fraction=0.02, max_total_fraction=0.3),
)
LEADERBOARD = rank_models({"ensemble": simulated_models()["good"], "base_rate": simulated_models()["blind"]})
DECIDED = ChampionRecord(
    as_of="2023-06",
    action="promoted",
    reasons=["It beats everything."],
    challenger_family="ensemble",
    challenger_version=2,
    champion_family="ensemble",
    champion_version=2,
)


# --- how to have it again


def typed(command: str) -> dict[str, Any]:
    """What Dagster's own command line makes of a command, after a real shell has read it."""
    shell = "dagster() { printf '%s\\0' \"$@\"; }\n" + command
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, env={"HOME": "wrong"})
    asset, materialize, *words = done.stdout.split("\0")[:-1]
    assert (asset, materialize) == ("asset", "materialize")
    return dict(asset_materialize_command.make_context("materialize", words).params)


def test_the_command_is_read_by_shell_and_dagster_as_the_same_run(dataset: Dataset) -> None:
    other = MODEL.model_copy(update={"family": "classifier", "seed": 4, "staking": StakingSpec()})
    found = typed(reproduction([MODEL, other], dataset.record))
    parts = [f"{family}_{part}" for family in ("ensemble", "classifier") for part in ("study", "model", "evaluation")]
    assert found["select"].split(",") == ["temporal_split", *parts]
    assert found["partition"] == dataset.record.as_of
    config = json.loads(found["config_json"])
    ops = dg.validate_run_config(defs.resolve_job_def("retrain"), config)["ops"]
    assert DatasetSpec(**ops["temporal_split"]["config"]) == dataset.record.spec
    for model in (MODEL, other):
        assert StakingSpec(**ops[f"{model.family}_evaluation"]["config"]) == model.staking
        study = ops[f"{model.family}_study"]["config"]
        assert (study["n_trials"], study["params"], study["seed"]) == (0, model.params, model.seed)
        assert ops[f"{model.family}_model"]["config"]["training"] == "full"


def test_of_a_model_that_went_on_from_another_the_command_says_that_it_trains_in_full(dataset: Dataset) -> None:
    updated = MODEL.model_copy(update={"training": "incremental", "parent_version": 1, "rows_added": 9})
    command = reproduction([updated], dataset.record)
    assert command.startswith("# ensemble v2 went on from v1; this trains it in full")
    assert typed(command)["partition"] == dataset.record.as_of


# --- what was decided


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "Promoted"),
        ({"action": "kept"}, "Champion already"),
        ({"action": "refused"}, "Refused"),
        ({"challenger_family": "classifier"}, "Did not challenge"),
        ({"challenger_version": 1}, "Not decided"),
    ],
)
def test_the_verdict_is_what_became_of_this_very_version(change: dict[str, Any], verdict: str) -> None:
    assert decision_of(DECIDED.model_copy(update=change), MODEL, LEADERBOARD).verdict == verdict


@pytest.mark.parametrize("decision", [None, DECIDED.model_copy(update={"challenger_family": "classifier"})])
def test_where_it_was_not_decided_on_a_broken_guard_is_told_all_the_same(decision: ChampionRecord | None) -> None:
    said = decision_of(decision, MODEL, LEADERBOARD, ["The check model_is_not_too_good_to_be_true failed."])
    assert (said.tone, len(said.reasons)) == ("bad", 1)
    assert decision_of(decision, MODEL, LEADERBOARD).tone == "plain"


# --- rows that let nothing be made


def few(dataset: Dataset) -> Dataset:
    spec = dataset.record.spec.model_copy(update={"min_examples": 1_000_000})
    return replace(dataset, record=dataset.record.model_copy(update={"spec": spec}))


def test_the_report_on_rows_says_that_they_are_sound_or_what_blocks_and_what_to_do(dataset: Dataset) -> None:
    sound, blocked = split_report(dataset), split_report(few(dataset))
    assert (sound.verdict, sound.tone, sound.reasons) == ("Sound", "good", ())
    assert (blocked.verdict, blocked.tone) == ("Blocked", "bad")
    assert "No model is trained, judged or promoted as of 2023-06: enough_examples did not hold" in blocked.summary
    assert blocked.reasons[0].startswith("The check enough_examples failed.")
    assert "Load more history" in blocked.reasons[0]
    holds = {line[0].partition(":")[0]: line[1:] for line in blocked.sections[-1].tables[0].rows}
    assert (holds["enough_examples"], holds["purge_holds"]) == (("no", "yes"), ("yes", "yes"))


def test_a_warning_blocks_nothing_and_is_told_in_the_report_on_rows(dataset: Dataset) -> None:
    train = dataset.parts.train.frame
    moved = Examples(train.assign(ml_avg_odds=train["ml_avg_odds"] + 50))
    report = split_report(replace(dataset, parts=replace(dataset.parts, train=moved)))
    assert (report.verdict, report.tone) == ("Sound", "good")
    assert report.summary.endswith("Besides, features_have_not_drifted did not hold.")
    assert report.reasons[0].startswith("The check features_have_not_drifted failed.")


def test_it_is_kept_and_a_report_that_could_not_be_made_points_to_it(dataset: Dataset, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=None)
    made = report_on_split(settings, few(dataset))
    assert "Blocked" in Path(made.url).read_text()
    assert find_report(settings, "split", "2023-06") == ("2023-06", made.path)
    with pytest.raises(DataError, match="cleverbetter report --kind split --as-of 2023-06"):
        find_report(settings, "ensemble", "2023-06")
