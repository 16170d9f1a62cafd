"""What every family promises of an update. Each law that guards honesty is also shown to notice its fault."""

import pickle
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.splits import apply_split
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster_tests.learning.conftest import SPEC, partition_of, small

FITTED_AT = pd.Timestamp("2021-07-01", tz="UTC")
CALIBRATED = [name for name in FAMILIES if name != "rl_agent"]
"""Families whose model has the calibrator itself. The agent's is inside its probability, tested in `rl_agent`."""


@dataclass(frozen=True)
class Landing:
    """A model of what was known at `FITTED_AT`, what it learned from, and what has been learned of since."""

    family: Family
    model: FittedModel
    past: Examples
    new: Examples
    later: Examples

    def updated(self, new: Examples | None = None, seed: int = 5, threads: int = 1) -> FittedModel:
        return self.family.update(self.model, self.new if new is None else new, self.past, seed, threads)


def landing_of(family: Family, rows: pd.DataFrame) -> Landing:
    """New rows are the first months of the test part: their labels came after all that was learned."""
    parts = partition_of(rows, FITTED_AT)
    whole = apply_split(build_panel(rows, None, SPEC), parts.split).test
    first = whole.decision_time < FITTED_AT
    model = family.fit(parts.train, parts.validation, small(family.name), 3, 1)
    past = pooled(parts.train, parts.validation)
    return Landing(family, model, past, where(whole, first), where(whole, ~first))


def where(examples: Examples, mask: pd.Series) -> Examples:
    return examples.take(np.flatnonzero(mask))


@pytest.fixture(scope="module", params=FAMILIES)
def landing(request: pytest.FixtureRequest, rows: pd.DataFrame) -> Landing:
    return landing_of(FAMILIES[request.param], rows)


@pytest.fixture(scope="module")
def updated(landing: Landing) -> FittedModel:
    return landing.updated()


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_the_landing_is_what_it_claims_to_be(landing):
    assert len(landing.new.decision_time.unique()) > 1
    assert (landing.new.decision_time >= landing.past.label_time.max()).all()
    assert not set(landing.new.ids) & set(landing.past.ids)


def test_a_model_knows_until_when_it_knows(landing, updated):
    assert landing.model.known_until == landing.past.label_time.max()
    assert updated.known_until == landing.new.label_time.max()


def test_the_model_given_stays_as_it_was(landing):
    before, answer = pickle.dumps(landing.model), landing.model.describe(landing.later.X)
    landing.updated()
    assert pickle.dumps(landing.model) == before
    same(landing.model.describe(landing.later.X), answer)


def test_nothing_handed_in_is_changed(landing):
    before = [examples.frame.copy() for examples in (landing.new, landing.past)]
    landing.updated()
    for examples, frame in zip((landing.new, landing.past), before, strict=True):
        same(examples.frame, frame)


def test_equal_arguments_give_equal_models_whatever_the_threads(landing, updated):
    same(landing.updated(threads=2).describe(landing.later.X), updated.describe(landing.later.X))


def test_an_updated_model_survives_pickling_and_can_be_updated_again(landing, updated):
    loaded = pickle.loads(pickle.dumps(updated))
    same(loaded.describe(landing.later.X), updated.describe(landing.later.X))
    half = landing.later.take(np.arange(len(landing.later) // 2))
    past = pooled(landing.past, landing.new)
    again = [landing.family.update(one, half, past, 1, 1) for one in (loaded, updated)]
    same(*(one.describe(landing.later.X) for one in again))
    assert again[0].report()["updated_rows"] == len(landing.new) + len(half)


def test_a_pickled_parent_gives_the_same_update(landing, updated):
    parent = pickle.loads(pickle.dumps(landing.model))
    again = landing.family.update(parent, landing.new, landing.past, 5, 1)
    same(again.describe(landing.later.X), updated.describe(landing.later.X))


def test_a_row_gets_the_same_answer_in_any_company_after_an_update(landing, updated):
    X = landing.later.X
    alone = pd.concat([updated.describe(X.iloc[[i]]) for i in range(5)])
    same(alone, updated.describe(X).iloc[:5])


def test_family_features_and_ranges_stay(landing, updated):
    assert (updated.family, updated.feature_names) == (landing.model.family, landing.model.feature_names)
    answer = updated.describe(landing.later.X)
    assert answer["probability"].between(0, 1, inclusive="neither").all()
    assert answer["confidence"].between(0, 1).all()
    assert updated.feature_importance().sum() == pytest.approx(1.0)


def test_something_is_learned_and_little_forgotten(landing, updated):
    """The new rows are fitted better; rows of the past and of the future are ranked about as well."""

    def loss(model: FittedModel, examples: Examples) -> float:
        return log_loss(examples.y, model.describe(examples.X)["score"])

    def auc(model: FittedModel, examples: Examples) -> float:
        return roc_auc_score(examples.y, model.describe(examples.X)["score"])

    assert loss(updated, landing.new) < loss(landing.model, landing.new)
    for examples in (landing.past, landing.later):
        assert auc(updated, examples) > auc(landing.model, examples) - 0.01


def test_turned_labels_turn_the_model(landing, updated):
    turned = Examples(landing.new.frame.assign(label=1.0 - landing.new.frame["label"]))
    other = landing.updated(turned)
    mean = [roc_auc_score(landing.new.y, model.describe(landing.new.X)["score"]) for model in (updated, other)]
    assert mean[0] > mean[1]


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_new_rows_of_one_class_are_learned_from(landing, label):
    alike = where(landing.new, landing.new.frame["label"] == label)
    answers = [model.describe(alike.X)["score"].mean() for model in (landing.model, landing.updated(alike))]
    assert (answers[1] > answers[0]) == bool(label)


def test_a_single_new_row_is_learned_from(landing):
    model = landing.updated(landing.new.take(np.array([0])))
    assert np.isfinite(model.describe(landing.later.X).to_numpy()).all()


def test_altering_what_comes_later_changes_no_update(landing, rows):
    """The law of leakage: rows after a moment are noise; the update made at that moment is the same."""
    end = landing.new.label_time.max()
    rng, noisy = np.random.default_rng(1), rows.copy()
    after = rows["end_date"] > end
    for column in ("roi", "sharpe_ratio", "total_bets", "ml_avg_odds", "ml_spread"):
        noisy.loc[after, column] = rng.uniform(0.0, 0.9, after.sum())
    models = [landing_at(landing.family, variant, end) for variant in (rows, noisy)]
    same(*(model.describe(landing.later.X) for model in models))
    assert models[0].report() == models[1].report()
    peeked = landing_at(landing.family, noisy, None)  # the fault: it looks at everything there is
    assert not peeked.describe(landing.later.X).equals(models[0].describe(landing.later.X))


def landing_at(family: Family, rows: pd.DataFrame, end: pd.Timestamp | None) -> FittedModel:
    """The model fitted at `FITTED_AT` and updated with what was known at `end`."""
    parts = partition_of(rows, FITTED_AT)
    known = None if end is None else end + pd.Timedelta(seconds=1)
    whole = apply_split(build_panel(rows, known, SPEC), parts.split).test
    model = family.fit(parts.train, parts.validation, small(family.name), 3, 1)
    return family.update(model, whole, pooled(parts.train, parts.validation), 5, 1)


def late(landing: Landing) -> Examples:
    """The new rows as if decided long ago and only now landed: they came after rows the model has learned from."""
    back = pd.Timedelta(days=400)
    frame = landing.new.frame
    return Examples(frame.assign(**{column: frame[column] - back for column in ("decision_time", "label_time")}))


@pytest.mark.parametrize("landing", CALIBRATED, indirect=True)
def test_rows_that_arrive_late_are_learned_from_but_judge_nothing(landing, updated):
    model = landing.updated(late(landing))
    assert model.known_until == landing.model.known_until
    assert model.calibrator.sigmoid == landing.model.calibrator.sigmoid != updated.calibrator.sigmoid
    np.testing.assert_array_equal(model.calibrator.y, landing.model.calibrator.y)
    assert not model.describe(landing.later.X).equals(landing.model.describe(landing.later.X))
    if landing.family.name == "ensemble":
        assert model.meta == landing.model.meta != updated.meta


@pytest.mark.parametrize("landing", CALIBRATED, indirect=True)
def test_the_calibrator_takes_in_exactly_the_unseen_rows_as_the_model_scored_them_before(landing):
    both = pooled(late(landing), where(landing.later, landing.later.decision_time == landing.later.decision_time.min()))
    calibrator = landing.updated(both).calibrator
    fresh = both.take(np.flatnonzero(both.decision_time >= landing.model.known_until))
    assert 0 < len(fresh) < len(both)
    np.testing.assert_array_equal(calibrator.score[-len(fresh) :], landing.model.describe(fresh.X)["score"])
    np.testing.assert_array_equal(calibrator.y[-len(fresh) :], fresh.y)
    assert calibrator.rows == landing.model.calibrator.rows


@pytest.mark.parametrize("landing", CALIBRATED, indirect=True)
def test_a_calibrator_that_judges_rows_by_what_learned_them_is_noticed(landing, monkeypatch):
    module = sys.modules[type(landing.family).__module__]
    monkeypatch.setattr(module, "unseen", lambda model, new: np.arange(len(new)))
    assert landing.updated(late(landing)).calibrator.sigmoid != landing.model.calibrator.sigmoid


def test_a_model_of_another_family_is_refused(landing):
    for name, other in FAMILIES.items():
        if name != landing.family.name:
            with pytest.raises(LearningError, match=f"family '{landing.family.name}' cannot be updated by '{name}'"):
                other.update(landing.model, landing.new, landing.past, 0, 1)


def test_rows_with_other_features_are_refused_by_name(landing):
    frame = landing.new.frame.drop(columns="ml_spread").assign(ml_zz=1.0)
    with pytest.raises(LearningError, match=r"only the rows have ml_zz, only the model has ml_spread\. Train in full"):
        landing.updated(Examples(frame))


def test_no_new_rows_are_refused(landing):
    with pytest.raises(LearningError, match="0 new examples"):
        landing.updated(landing.new.take(np.array([], dtype=int)))


def test_rows_that_are_new_and_past_at_once_are_refused(landing):
    twice = pooled(landing.past.take(np.array([0, 1])), landing.new)
    with pytest.raises(LearningError, match="2 rows are both new and past"):
        landing.updated(twice)


def test_an_infinite_feature_is_refused_by_name(landing):
    with pytest.raises(LearningError, match="win_rate"):
        landing.updated(Examples(landing.new.frame.assign(win_rate=np.inf)))


def test_an_update_without_a_past_is_possible(landing):
    none = landing.past.take(np.array([], dtype=int))
    model = landing.family.update(landing.model, landing.new, none, 5, 1)
    assert np.isfinite(model.describe(landing.later.X).to_numpy()).all()


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0.05, 1.0), seed=st.integers(0, 99))
def test_whatever_lands_the_model_given_stays_and_the_answer_is_finite(landing, share, seed):
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(landing.new))[: max(int(share * len(landing.new)), 1)])
    frame = landing.new.frame.iloc[chosen].assign(label=rng.integers(0, 2, len(chosen)).astype(float))
    before = landing.model.describe(landing.later.X)
    model = landing.updated(Examples(frame), seed)
    assert np.isfinite(model.describe(landing.later.X).to_numpy()).all()
    assert model.known_until == max(landing.model.known_until, frame["label_time"].max())
    same(landing.model.describe(landing.later.X), before)
