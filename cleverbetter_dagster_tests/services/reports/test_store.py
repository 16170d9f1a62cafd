"""What reports say beside their figures: the decision, its reasons, and the command that reproduces it."""

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
from cleverbetter_dagster.dataset.quality.left_out import LeftOut, NonNumeric
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.leaderboard import rank_models
from cleverbetter_dagster.services.records import ChampionRecord, EvaluatedModel
from cleverbetter_dagster.services.reports.parts import decision_summary, reproduction
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


# --- how to reproduce it


def typed(command: str) -> dict[str, Any]:
    """What Dagster's own command line makes of a command, after a real shell has read it."""
    shell = "dagster() { printf '%s\\0' \"$@\"; }\n" + command
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, env={"HOME": "wrong"})
    asset, materialize, *words = done.stdout.split("\0")[:-1]
    assert (asset, materialize) == ("asset", "materialize")
    return dict(asset_materialize_command.make_context("materialize", words).params)


def test_shell_and_dagster_read_the_command_as_one_run(dataset: Dataset) -> None:
    other = MODEL.model_copy(update={"family": "classifier", "seed": 4, "staking": StakingSpec()})
    options = typed(reproduction([MODEL, other], dataset.record))
    parts = [f"{family}_{part}" for family in ("ensemble", "classifier") for part in ("study", "model", "evaluation")]
    assert options["select"].split(",") == ["temporal_split", *parts]
    assert options["partition"] == dataset.record.as_of
    config = json.loads(options["config_json"])
    ops = dg.validate_run_config(defs.resolve_job_def("retrain"), config)["ops"]
    assert DatasetSpec(**ops["temporal_split"]["config"]) == dataset.record.spec
    for model in (MODEL, other):
        assert StakingSpec(**ops[f"{model.family}_evaluation"]["config"]) == model.staking
        study = ops[f"{model.family}_study"]["config"]
        assert (study["n_trials"], study["params"], study["seed"]) == (0, model.params, model.seed)
        assert ops[f"{model.family}_model"]["config"]["training"] == "full"


def test_an_update_is_reproduced_by_a_full_training(dataset: Dataset) -> None:
    updated = MODEL.model_copy(update={"training": "incremental", "parent_version": 1, "rows_added": 9})
    command = reproduction([updated], dataset.record)
    assert command.startswith("# ensemble v2 is an incremental update of v1; this trains it in full")
    assert typed(command)["partition"] == dataset.record.as_of


# --- what was decided


@pytest.mark.parametrize(
    ("change", "headline"),
    [
        ({}, "Promoted"),
        ({"action": "kept"}, "Champion already"),
        ({"action": "refused"}, "Refused"),
        ({"challenger_family": "classifier"}, "Did not challenge"),
        ({"challenger_version": 1}, "Not decided"),
    ],
)
def test_the_headline_is_the_decision_about_this_version(change: dict[str, Any], headline: str) -> None:
    assert decision_summary(DECIDED.model_copy(update=change), MODEL, LEADERBOARD).headline == headline


@pytest.mark.parametrize("decision", [None, DECIDED.model_copy(update={"challenger_family": "classifier"})])
def test_a_broken_guard_is_a_reason_without_a_decision(decision: ChampionRecord | None) -> None:
    summary = decision_summary(decision, MODEL, LEADERBOARD, ["The check model_is_not_too_good_to_be_true failed."])
    assert (summary.tone, len(summary.reasons)) == ("bad", 1)
    assert decision_summary(decision, MODEL, LEADERBOARD).tone == "plain"


# --- rows that let nothing be made


def few(dataset: Dataset) -> Dataset:
    spec = dataset.record.spec.model_copy(update={"min_examples": 1_000_000})
    return replace(dataset, record=dataset.record.model_copy(update={"spec": spec}))


def test_the_split_report_names_what_blocks_and_the_remedy(dataset: Dataset) -> None:
    sound, blocked = split_report(dataset), split_report(few(dataset))
    assert (sound.headline, sound.tone, sound.reasons) == ("Sound", "good", ())
    assert (blocked.headline, blocked.tone) == ("Blocked", "bad")
    assert "No model is trained, judged or promoted as of 2023-06: enough_examples failed for its" in blocked.summary
    assert blocked.reasons[0].startswith("The check enough_examples failed.")
    assert "Load more history" in blocked.reasons[0]
    holds = {line[0].partition(":")[0]: line[1:] for line in blocked.sections[-1].tables[0].rows}
    assert (holds["enough_examples"], holds["purge_holds"]) == (("no", "yes"), ("yes", "yes"))


def test_a_warning_blocks_nothing_and_is_reported(dataset: Dataset) -> None:
    train = dataset.parts.train.frame
    moved = Examples(train.assign(ml_avg_odds=train["ml_avg_odds"] + 50))
    report = split_report(replace(dataset, parts=replace(dataset.parts, train=moved)))
    assert (report.headline, report.tone) == ("Sound", "good")
    assert report.summary.endswith("Also failed, as a warning: features_have_not_drifted.")
    assert report.reasons[0].startswith("The check features_have_not_drifted failed.")


def test_the_split_report_names_features_that_are_texts(dataset: Dataset) -> None:
    left_out = LeftOut(non_numeric={"country": NonNumeric(values=24_000, example="AU")}, rare=1, rare_examples=("x",))
    record = dataset.record.model_copy(update={"left_out": left_out})
    section = split_report(replace(dataset, record=record)).sections[1]
    assert section.tables[0].rows == (("country", "24,000", "AU"),)
    assert section.text.endswith("features measured in less than 1% of the rows: 1 (x).")
    assert len(split_report(dataset).sections) == 2


def test_a_missing_report_points_to_the_split_report(dataset: Dataset, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=None)
    made = report_on_split(settings, few(dataset))
    assert "Blocked" in Path(made.url).read_text()
    assert find_report(settings, "split", "2023-06") == ("2023-06", made.path)
    with pytest.raises(DataError, match="cleverbetter report --kind split --as-of 2023-06"):
        find_report(settings, "ensemble", "2023-06")
