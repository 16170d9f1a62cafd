"""Staking options are set once, in any way, and kept: the champion's predictions use them until they are set again."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cleverbetter_dagster.api.dagster_runs import DagsterRuns
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.cli.models import launch as launching
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.defs.assets.config import StakingConfig
from cleverbetter_dagster.defs.launches import Launch
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.model_registry import ModelRegistry
from cleverbetter_dagster.services.champion.manual_promotion import promote_by_hand, roll_back_by_hand
from cleverbetter_dagster.services.champion.renewal import month_to_score
from cleverbetter_dagster.services.champion.staking_options import staking_of_version
from cleverbetter_dagster.services.notebook.trained_model import fit
from cleverbetter_dagster.services.stored_assets import stored_rows
from cleverbetter_dagster.services.training.datasets import plan_split, rows_until
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.tracking.registry import STAKING_TAG, Registry
from cleverbetter_dagster_tests.api.conftest import served
from cleverbetter_dagster_tests.cli.conftest import command_in
from cleverbetter_dagster_tests.defs.test_pipeline import NO_FILTER, ONE_FOLD, run

SAMPLE = SimulationSpec(n_strategies=80, first_month="2021-01", months=24)
FIRST, AS_OF, LAST = "2021-01", "2022-11", "2022-12"
TRAINING = ["temporal_split", "ensemble_study", "ensemble_model", "ensemble_evaluation"]
CONFIG = {**NO_FILTER, "ensemble_study": ONE_FOLD["ensemble_study"]}
WIDE = {"kelly_fraction": 0.5, "max_stake_fraction": 0.05, "max_total_fraction": 1.0}
SMALL = {"max_stake_fraction": 0.01}
AS_TEXT = ("--set", "max_stake_fraction=0.01")

Way = Callable[[Settings, pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def _clean_environment() -> None:
    """This module sets the variables itself, once."""


@pytest.fixture(scope="module")
def deployment(tracked: Settings) -> Iterator[Settings]:
    """A deployment whose champion is version 1 of the ensemble."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tracked.home))
        assert tracked.database_url is not None
        patch.setenv("DATABASE_URL", tracked.database_url.get_secret_value())
        files = [tracked.home / name for name in ("results.parquet", "features.parquet")]
        for frame, file in zip(simulate_rows(SAMPLE), files, strict=True):
            frame.to_parquet(file)
        import_files(tracked, *files)
        assert run(["training_rows"], (FIRST, LAST)).success
        assert run(TRAINING, (AS_OF, AS_OF), CONFIG).success
        promote_by_hand(tracked, ("ensemble", 1), "the only one", "a test", override=True)
        yield tracked


@pytest.fixture
def wide(deployment: Settings) -> Settings:
    """The deployment, its champion staking up to 0.05 of the bankroll on one strategy."""
    staking_of_version(deployment, "ensemble", 1, WIDE)
    predict_daily(deployment)
    assert current_stakes(deployment)["largest"] > 0.01
    return deployment


def predict_daily(settings: Settings) -> None:
    """What the daily schedule does: predictions without any option, of the newest month, whose stakes are current."""
    month = month_to_score(settings)
    assert month == LAST
    assert run(["strategy_predictions"], (month, month)).success


def current_stakes(settings: Settings) -> dict[str, Any]:
    """The largest stake in the view that a betting service reads, and the options shown beside it."""
    query = """SELECT max(recommended_stake), array_agg(DISTINCT kelly_fraction),
                      array_agg(DISTINCT max_stake_fraction), array_agg(DISTINCT model_version)
               FROM cleverbetter.current_predictions"""
    with psycopg_connect(settings, "state") as connection:
        values = connection.execute(query).fetchone()
    assert values is not None
    return dict(zip(("largest", "kelly_fraction", "max_stake_fraction", "model_version"), values, strict=True))


def materialise(launch: Launch) -> None:
    """Run in this process what a command or the API launches."""
    config = {asset: op["config"] for asset, op in launch.run_config.get("ops", {}).items()}
    assert run(list(launch.assets) or ["strategy_predictions"], (launch.months[0], launch.months[-1]), config).success


def by_job(settings: Settings, _: pytest.MonkeyPatch) -> None:
    assert run(["ensemble_evaluation"], (AS_OF, AS_OF), {"ensemble_evaluation": SMALL}).success


def by_prediction_job(settings: Settings, _: pytest.MonkeyPatch) -> None:
    assert run(["strategy_predictions"], (AS_OF, AS_OF), {"strategy_predictions": SMALL}).success


def by_command(settings: Settings, patch: pytest.MonkeyPatch, *arguments: str) -> None:
    """A command, its jobs run in this process."""

    def run_job(_: Settings, launch: Launch, **__: object) -> str:
        materialise(launch)
        return "a run"

    patch.setattr(launching, "run_job", run_job)
    done = command_in(settings, patch)(*arguments, *AS_TEXT)
    assert done.returncode == 0, done.stderr


def by_train_command(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    update = ("train", "ensemble", "--as-of", AS_OF, "--incremental")
    by_command(settings, patch, *update, "--set", "min_composite_score=null")


def by_predict_command(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    by_command(settings, patch, "predict", "--as-of", AS_OF)


def by_rest(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    launched: list[Launch] = []
    patch.setattr(DagsterRuns, "_launch", lambda _, launch: launched.append(launch) or "a run")
    body = {"model_type": "ensemble", "as_of": AS_OF, "training": "incremental"}
    config = {"min_composite_score": None, **SMALL}
    with served(settings) as api:
        answer = api.post("/api/v1/models/train", {**body, "config": config})
    assert answer.status_code == 202, answer.text
    materialise(launched[-1])


@pytest.mark.parametrize("way", [by_job, by_prediction_job, by_train_command, by_predict_command, by_rest])
def test_a_staking_option_set_in_any_way_is_kept(way: Way, wide: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    way(wide, monkeypatch)
    predict_daily(wide)
    stakes = current_stakes(wide)
    assert 0 < stakes["largest"] <= 0.01
    assert stakes["max_stake_fraction"] == [0.01]
    assert stakes["kelly_fraction"] == [WIDE["kelly_fraction"]]  # what was not set stays


def test_predicting_no_named_month_changes_current_stakes(wide: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    by_command(wide, monkeypatch, "predict")
    stakes = current_stakes(wide)
    assert 0 < stakes["largest"] <= 0.01
    assert stakes["max_stake_fraction"] == [0.01]


def test_a_training_without_options_follows_the_champion(wide: Settings) -> None:
    run(["strategy_predictions"], (AS_OF, AS_OF), {"strategy_predictions": SMALL})
    assert run(TRAINING, (LAST, LAST), CONFIG).success
    newest = Registry(wide).list_versions("ensemble")[-1]
    assert newest.as_of == LAST
    assert newest.staking_spec == StakingSpec(**{**WIDE, **SMALL})


def test_promotion_takes_the_versions_options_and_rollback_restores(wide: Settings) -> None:
    as_of = AsOf.parse(AS_OF)
    dataset = plan_split(rows_until(stored_rows(wide, as_of), as_of), as_of, DatasetSpec(min_composite_score=None))
    registry = ModelRegistry()
    version = registry.register_model(fit(dataset, "ensemble", {}, 1, 1), "ensemble", "sklearn", {}, staking=SMALL)
    registry.promote_model("ensemble", version, override_gate=True)
    predict_daily(wide)
    stakes = current_stakes(wide)
    assert (stakes["model_version"], stakes["max_stake_fraction"]) == ([version], [0.01])
    assert 0 < stakes["largest"] <= 0.01
    roll_back_by_hand(wide, "stakes are too small", "a test")
    predict_daily(wide)
    stakes = current_stakes(wide)
    assert (stakes["model_version"], stakes["max_stake_fraction"]) == ([1], [0.05])
    assert stakes["largest"] > 0.01


@pytest.mark.parametrize("options", [{"max_stake": 0.01}, {"max_stake_fraction": 0.0}, {"kelly_fraction": "all"}])
def test_an_impossible_staking_option_changes_nothing(wide: Settings, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=rf"{next(iter(options))} is .*max_stake_fraction, max_total_fraction"):
        staking_of_version(wide, "ensemble", 1, options)
    assert Registry(wide).get_version("ensemble", 1).staking_spec == StakingSpec(**WIDE)


def test_a_version_of_an_earlier_release_stakes_by_default(wide: Settings) -> None:
    Registry(wide).set_tags("ensemble", 1, {STAKING_TAG: "unreadable"})
    assert staking_of_version(wide, "ensemble", 1, {}) == StakingSpec()


def test_the_launchpad_offers_every_staking_option_with_a_description() -> None:
    assert StakingConfig.model_fields.keys() == StakingSpec.model_fields.keys()
    assert all(field.description for field in StakingConfig.model_fields.values())
