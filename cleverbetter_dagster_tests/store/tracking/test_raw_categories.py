"""A packed model and raw rows whose market features are texts: categories that it knows, and words for numbers."""

import os
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.client import tracking_uri
from cleverbetter_dagster.store.tracking.package import StrategyModel, log_model
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster_tests.store.tracking.test_package import raw_rows
from cleverbetter_dagster_tests.support.provenance import NOTHING_LEARNED
from cleverbetter_dagster_tests.support.storable import storable


@storable
class IndicatorModel(FittedModel):
    """Answers by the country and the odds alone, so that each is seen in the probability."""

    family = "ensemble"
    feature_names = ("roi", "ml_country=AU", "ml_country=NZ", "ml_odds")

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        australian, from_new_zealand, odds = values[:, 1], values[:, 2], values[:, 3]
        country = np.where(np.isnan(australian), 0.25, 0.5 * australian + 0.125 * from_new_zealand)
        probability = country + np.where(np.isnan(odds), 0.0, 0.0625)
        return {"probability": probability, "score": probability, "confidence": probability}

    def feature_importance(self) -> pd.Series:
        return pd.Series(0.25, index=list(self.feature_names))

    def report(self) -> dict[str, float | int | str]:
        return {}


MODEL = StrategyModel(IndicatorModel(), DatasetSpec(), NOTHING_LEARNED)


def rows_with(**columns: list[object]) -> pd.DataFrame:
    return raw_rows(1).sort_values("id", ignore_index=True).assign(**columns)


def probabilities(model: StrategyModel, rows: pd.DataFrame) -> list[float]:
    return model.predict(rows)["probability"].tolist()


def test_unseen_and_absent_categories_are_missing() -> None:
    countries: list[object] = ["AU", " NZ ", "IE", None, ""]
    nothing: list[object] = [None] * 5
    assert probabilities(MODEL, rows_with(ml_country=countries, ml_odds=nothing)) == [0.5, 0.125, 0.25, 0.25, 0.25]
    assert probabilities(MODEL, rows_with(country=countries, odds=nothing)) == [0.5, 0.125, 0.25, 0.25, 0.25]
    objects = [f'{{"country": "{name}"}}' if name else "{}" for name in countries]
    assert probabilities(MODEL, rows_with(features=objects)) == [0.5, 0.125, 0.25, 0.25, 0.25]
    assert probabilities(MODEL, rows_with(ml_country=nothing, ml_odds=nothing)) == [0.25] * 5


def test_a_feature_that_became_a_text_is_missing() -> None:
    rows = rows_with(ml_country=["AU"] * 5, ml_odds=[2.5, "n/a", "3.5", "n/a", "inf"])
    with pytest.warns(UserWarning, match=r"missing: odds \(3, such as 'n/a'\)"):
        assert probabilities(MODEL, rows) == [0.5625, 0.5, 0.5625, 0.5, 0.5]


@pytest.fixture
def in_environment(tracked: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where a person uses a model: database and tracking server are those of the environment."""
    import mlflow

    assert tracked.database_url is not None
    monkeypatch.setenv("DATABASE_URL", tracked.database_url.get_secret_value())
    monkeypatch.setenv("DAGSTER_HOME", str(tracked.home))
    mlflow.set_tracking_uri(tracking_uri(tracked))
    yield
    mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow leaves it there


def test_mlflow_hands_categories_and_texts_to_the_model(tracked: Settings, in_environment: None) -> None:
    import mlflow

    with start_run(tracked, RunSpec("ensemble", "2023-06", "abc")) as run:
        packed = log_model(run, MODEL)
    loaded = mlflow.pyfunc.load_model(packed.model_uri)
    rows = rows_with(ml_country=["AU", "NZ", "IE", None, "AU"], ml_odds=[2.5, "n/a", None, "3.5", 4])
    with pytest.warns(UserWarning, match="odds"):
        predicted = loaded.predict(rows)["probability"].tolist()
    assert predicted == [0.5625, 0.125, 0.25, 0.3125, 0.5625]
