"""What a training request comes down to: job, assets, months, tags and configuration, or a refusal that says why."""

from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.assets.config import study_config
from cleverbetter_dagster.defs.launches import job_id, launches
from cleverbetter_dagster.defs.requests import MOST_TRIALS, OPTIONS, TrainingRequest
from cleverbetter_dagster.errors import InvalidRequest
from cleverbetter_dagster.learning.catalogue import FAMILIES, get_family
from cleverbetter_dagster.store.unfinished_runs import RANGE_END_TAG, RANGE_START_TAG
from cleverbetter_dagster.store.workers.queue import JOB_ID_TAG

GUIDE = {
    "model_type": "ensemble",
    "config": {"min_composite_score": 0.5},
    "hyperparameter_search": True,
    "n_trials": 50,
}
MONTHS = ["2023-01", "2023-02", "2023-04"]
NOW = "2023-12"
JOB = "train_ensemble_1234567890.123"


def problems(values: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        TrainingRequest.parse(values)
    return {problem.field: f"{problem.message}; {problem.remedy}" for problem in refused.value.problems}


def test_the_guides_request_trains_its_family_at_the_newest_month() -> None:
    (launch,) = launches(TrainingRequest.parse(GUIDE), JOB, MONTHS, ["2023-01", "2023-02", "2023-03"], NOW)
    assert (launch.job, launch.months) == ("retrain", ("2023-04", "2023-04"))
    assert launch.assets == (
        "training_rows",
        "temporal_split",
        "ensemble_study",
        "ensemble_model",
        "ensemble_evaluation",
    )
    assert launch.tags[JOB_ID_TAG] == JOB
    assert (launch.tags[RANGE_START_TAG], launch.tags[RANGE_END_TAG]) == ("2023-04", "2023-04")
    assert launch.run_config == {
        "ops": {
            "temporal_split": {"config": {"min_composite_score": 0.5}},
            "ensemble_study": {"config": {"n_trials": 50, "n_trials_warm": 50}},
        }
    }


def test_months_never_loaded_are_loaded_first() -> None:
    rows, training = launches(TrainingRequest.parse(GUIDE), JOB, MONTHS, ["2023-01"], NOW)
    assert (rows.job, rows.assets, rows.months) == ("load_rows", ("training_rows",), ("2023-02", "2023-03"))
    assert (rows.tags[RANGE_START_TAG], rows.tags[RANGE_END_TAG]) == rows.months
    assert rows.tags[JOB_ID_TAG] == training.tags[JOB_ID_TAG]
    assert training.months == ("2023-04", "2023-04")


def test_months_after_as_of_are_not_needed() -> None:
    request = TrainingRequest.parse(GUIDE | {"as_of": "2023-01"})
    (training,) = launches(request, JOB, MONTHS, [], NOW)
    assert training.months == ("2023-01", "2023-01")


def test_an_incremental_training_has_no_study() -> None:
    config = {"min_composite_score": 0.5, "embargo_days": 2, "kelly_fraction": 0.5}
    request = TrainingRequest.parse({"model_type": "classifier", "config": config, "training": "incremental"})
    rows, training = launches(request, JOB, MONTHS, [], NOW)
    assert (rows.job, training.job) == ("load_rows", "incremental")
    assert training.assets == ("training_rows", "temporal_split", "classifier_model", "classifier_evaluation")
    assert training.run_config == {
        "ops": {
            "temporal_split": {"config": {"min_composite_score": 0.5, "embargo_days": 2.0}},
            "classifier_model": {"config": {"training": "incremental"}},
            "classifier_evaluation": {"config": {"kelly_fraction": 0.5}},
        }
    }


def test_only_a_family_that_stakes_is_scored_by_growth() -> None:
    def by(family: str) -> TrainingRequest:
        return TrainingRequest.parse({"model_type": family, "config": {"metric": "growth"}})

    assert by("rl_agent").run_config()["ops"]["rl_agent_study"]["config"]["metric"] == "growth"
    for family in ("ensemble", "classifier"):
        with pytest.raises(InvalidRequest, match=r"config\.metric"):
            by(family)


REQUESTS = [
    {"hyperparameter_search": True, "config": {"seed": 3}},
    {"config": {"seed": 3}},
    {"training": "incremental"},
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", REQUESTS)
def test_dagster_accepts_what_is_launched(family: str, options: dict[str, Any]) -> None:
    config = {"min_composite_score": None, "min_examples": 500, "embargo_days": 2, "kelly_fraction": 1}
    request = TrainingRequest.parse({"model_type": family, **options, "config": config | options.get("config", {})})
    for launch in launches(request, JOB, MONTHS, [], NOW):
        job = defs.resolve_job_def(launch.job)
        keys = [dg.AssetKey(asset) for asset in launch.assets]
        chosen = job.get_subset(asset_selection=set(keys))
        assert {key.to_user_string() for key in chosen.asset_layer.executable_asset_keys} == set(launch.assets)
        assert dg.validate_run_config(chosen, dict(launch.run_config))


@pytest.mark.parametrize(
    ("family", "options", "used"),
    [
        ("ensemble", {"hyperparameter_search": True}, ("auc", 100, 900)),
        ("rl_agent", {"hyperparameter_search": True}, ("growth", 20, 300)),
        ("rl_agent", {"hyperparameter_search": True, "n_trials": 7}, ("growth", 7, 300)),
        ("rl_agent", {"n_trials": 7}, ("growth", 0, 300)),
    ],
)
def test_options_left_out_have_the_familys_defaults(
    family: str, options: dict[str, Any], used: tuple[str, int, float]
) -> None:
    ops = TrainingRequest.parse({"model_type": family, **options}).run_config()["ops"]
    spec = study_config(get_family(family))(**ops.get(f"{family}_study", {"config": {}})["config"])
    assert (spec.metric, spec.n_trials, spec.timeout_seconds) == used


def test_a_given_number_of_warm_trials_is_used() -> None:
    ops = TrainingRequest.parse(GUIDE | {"config": {"n_trials_warm": 5}}).run_config()["ops"]
    assert ops["ensemble_study"]["config"] == {"n_trials": 50, "n_trials_warm": 5}


def test_an_option_that_two_specs_share_goes_to_both() -> None:
    request = TrainingRequest.parse({"model_type": "classifier", "config": {"embargo_days": 2, "kelly_fraction": 0.5}})
    ops = request.run_config()["ops"]
    assert ops["temporal_split"]["config"] == {"embargo_days": 2.0}
    assert ops["classifier_study"]["config"] == {"embargo_days": 2.0, "n_trials": 0, "n_trials_warm": 0}
    assert ops["classifier_evaluation"]["config"] == {"kelly_fraction": 0.5}


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"model_type": "oracle"}, "model_type", "ensemble, classifier"),
        ({"n_trials": 0}, "n_trials", f"1 to {MOST_TRIALS}"),
        ({"n_trials": MOST_TRIALS + 1}, "n_trials", f"1 to {MOST_TRIALS}"),
        ({"n_trials": "50"}, "n_trials", "valid integer"),
        ({"trials": 5}, "trials", "use one of: model_type"),
        ({"as_of": "2023-13"}, "as_of", "YYYY-MM"),
        ({"config": {"min_composite": 1}}, "config.min_composite", "min_composite_score"),
        ({"config": {"n_trials": 5}}, "config.n_trials", "beside config"),
        ({"config": {"kelly_fraction": 2}}, "config.kelly_fraction", "less than or equal to 1"),
        ({"config": {"embargo_days": float("nan")}}, "config", "finite"),
        ({"config": {"train_fraction": 0.9}}, "config", "leaves no test rows"),
        ({"config": {"params": {"depth": 3}}}, "config.params.depth", "max_depth"),
        ({"config": {"metric": "growth"}}, "config.metric", "cannot be judged by growth"),
        ({"config": {"metric": "growth"}}, "config.metric", "use one of: auc, brier, log_loss"),
        ({"training": "half"}, "training", "full"),
        ({"training": "incremental"}, "n_trials", "train in full"),
        ({"training": "incremental"}, "hyperparameter_search", "train in full"),
        ({"training": "incremental", "config": {"n_folds": 2}}, "config.n_folds", "train in full"),
    ],
)
def test_a_refusal_names_the_field_and_the_remedy(change: dict[str, Any], field: str, message: str) -> None:
    assert message in problems(GUIDE | change)[field]


def test_a_refusal_names_every_wrong_field() -> None:
    refused = problems({"model_type": "oracle", "n_trials": 0, "config": {"foo": 1, "kelly_fraction": 2}})
    assert set(refused) == {"model_type", "n_trials", "config.foo", "config.kelly_fraction"}


@pytest.mark.parametrize(
    ("as_of", "message"), [("2022-12", "is before the first month with rows"), ("2024-01", "lies in the future")]
)
def test_as_of_before_rows_or_in_the_future_is_refused(as_of: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"{message}.*give a month from 2023-01 to 2023-12"):
        TrainingRequest.parse(GUIDE | {"as_of": as_of}).month(MONTHS, NOW)


def test_as_of_may_be_later_than_the_newest_rows() -> None:
    request = TrainingRequest.parse(GUIDE | {"as_of": "2023-06"})
    assert request.month(MONTHS, NOW) == "2023-06"
    assert [launch.months for launch in launches(request, JOB, MONTHS, [], NOW)] == [
        ("2023-01", "2023-05"),
        ("2023-06",) * 2,
    ]


def test_without_rows_nothing_is_launched() -> None:
    with pytest.raises(InvalidRequest, match="import rows first"):
        launches(TrainingRequest.parse(GUIDE), JOB, [], [], NOW)


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        TrainingRequest.parse(GUIDE).n_trials = 3


OPTION_VALUES = st.none() | st.floats() | st.text(max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from((*OPTIONS, "n_trials", "foo")), OPTION_VALUES, max_size=4))
def test_any_options_give_valid_run_configuration_or_a_refusal(config: dict[str, Any]) -> None:
    try:
        request = TrainingRequest.parse({"model_type": "ensemble", "config": config})
    except InvalidRequest:
        return
    branch = {dg.AssetKey(f"ensemble_{part}") for part in ("study", "model", "evaluation")}
    job = defs.resolve_job_def("retrain").get_subset(asset_selection={dg.AssetKey("temporal_split"), *branch})
    assert dg.validate_run_config(job, request.run_config())


def test_job_ids_look_as_in_the_guide() -> None:
    assert job_id("ensemble", 1234567890.123) == JOB
