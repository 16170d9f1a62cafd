"""What every family promises of an update. Each law that guards honesty is also shown to notice its fault."""

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
from cleverbetter_dagster.store.tracking.plain_files import plain_files
from cleverbetter_dagster_tests.learning.conftest import SPEC, partition_of, small, stored_and_loaded

FITTED_AT = pd.Timestamp("2021-07-01", tz="UTC")
CALIBRATED = [name for name in FAMILIES if name != "rl_agent"]
"""Families whose model has the calibrator itself. The agent's is inside its probability, tested in `rl_agent`."""


@dataclass(frozen=True)
class UpdateCase:
    """A model of what was known at `FITTED_AT`, what it learned from, and what has been learned of since."""

    family: Family
    model: FittedModel
    past: Examples
    new: Examples
    later: Examples

    def updated(self, new: Examples | None = None, seed: int = 5, threads: int = 1) -> FittedModel:
        return self.family.update(self.model, self.new if new is None else new, self.past, seed, threads)


def update_case(family: Family, rows: pd.DataFrame) -> UpdateCase:
    """New rows are the first months of the test part: their labels came after all that was learned."""
    parts = partition_of(rows, FITTED_AT)
    whole = apply_split(build_panel(rows, None, SPEC), parts.split).test
    first = whole.decision_time < FITTED_AT
    model = family.fit(parts.train, parts.validation, small(family.name), 3, 1)
    past = pooled(parts.train, parts.validation)
    return UpdateCase(family, model, past, where(whole, first), where(whole, ~first))


def where(examples: Examples, mask: pd.Series) -> Examples:
    return examples.take(np.flatnonzero(mask))


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, rows: pd.DataFrame) -> UpdateCase:
    return update_case(FAMILIES[request.param], rows)


@pytest.fixture(scope="module")
def updated(case: UpdateCase) -> FittedModel:
    return case.updated()


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_the_landing_is_what_it_claims_to_be(case):
    assert len(case.new.decision_time.unique()) > 1
    assert (case.new.decision_time >= case.past.label_time.max()).all()
    assert not set(case.new.ids) & set(case.past.ids)


def test_a_model_knows_until_when_it_knows(case, updated):
    assert case.model.known_until == case.past.label_time.max()
    assert updated.known_until == case.new.label_time.max()


def test_the_model_given_stays_as_it_was(case):
    types = case.family.stored_types
    before, answer = plain_files(case.model, types), case.model.predict_frame(case.later.X)
    case.updated()
    assert plain_files(case.model, types) == before
    same(case.model.predict_frame(case.later.X), answer)


def test_nothing_handed_in_is_changed(case):
    before = [examples.frame.copy() for examples in (case.new, case.past)]
    case.updated()
    for examples, frame in zip((case.new, case.past), before, strict=True):
        same(examples.frame, frame)


def test_equal_arguments_give_equal_models_whatever_the_threads(case, updated):
    same(case.updated(threads=2).predict_frame(case.later.X), updated.predict_frame(case.later.X))


def test_an_updated_model_survives_storing_and_can_be_updated_again(case, updated):
    loaded = stored_and_loaded(updated)
    same(loaded.predict_frame(case.later.X), updated.predict_frame(case.later.X))
    half = case.later.take(np.arange(len(case.later) // 2))
    past = pooled(case.past, case.new)
    again = [case.family.update(one, half, past, 1, 1) for one in (loaded, updated)]
    same(*(one.predict_frame(case.later.X) for one in again))
    assert again[0].report()["updated_rows"] == len(case.new) + len(half)


def test_a_stored_parent_gives_the_same_update(case, updated):
    parent = stored_and_loaded(case.model)
    again = case.family.update(parent, case.new, case.past, 5, 1)
    same(again.predict_frame(case.later.X), updated.predict_frame(case.later.X))


def test_an_updated_model_scores_each_row_by_itself(case, updated):
    X = case.later.X
    alone = pd.concat([updated.predict_frame(X.iloc[[i]]) for i in range(5)])
    same(alone, updated.predict_frame(X).iloc[:5])


def test_family_features_and_ranges_stay(case, updated):
    assert (updated.family, updated.feature_names) == (case.model.family, case.model.feature_names)
    answer = updated.predict_frame(case.later.X)
    assert answer["probability"].between(0, 1, inclusive="neither").all()
    assert answer["confidence"].between(0, 1).all()
    assert updated.feature_importance().sum() == pytest.approx(1.0)


def test_something_is_learned_and_little_forgotten(case, updated):
    """The new rows are fitted better; rows of the past and of the future are ranked about as well."""

    def loss(model: FittedModel, examples: Examples) -> float:
        return log_loss(examples.y, model.predict_frame(examples.X)["score"])

    def auc(model: FittedModel, examples: Examples) -> float:
        return roc_auc_score(examples.y, model.predict_frame(examples.X)["score"])

    assert loss(updated, case.new) < loss(case.model, case.new)
    for examples in (case.past, case.later):
        assert auc(updated, examples) > auc(case.model, examples) - 0.01


def test_turned_labels_turn_the_model(case, updated):
    turned = Examples(case.new.frame.assign(label=1.0 - case.new.frame["label"]))
    other = case.updated(turned)
    mean = [roc_auc_score(case.new.y, model.predict_frame(case.new.X)["score"]) for model in (updated, other)]
    assert mean[0] > mean[1]


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_new_rows_of_one_class_are_learned_from(case, label):
    alike = where(case.new, case.new.frame["label"] == label)
    answers = [model.predict_frame(alike.X)["score"].mean() for model in (case.model, case.updated(alike))]
    assert (answers[1] > answers[0]) == bool(label)


def test_a_single_new_row_is_learned_from(case):
    model = case.updated(case.new.take(np.array([0])))
    assert np.isfinite(model.predict_frame(case.later.X).to_numpy()).all()


def test_altering_what_comes_later_changes_no_update(case, rows):
    """The law of leakage: rows after a moment are noise; the update made at that moment is the same."""
    end = case.new.label_time.max()
    rng, noisy = np.random.default_rng(1), rows.copy()
    after = rows["end_date"] > end
    for column in ("roi", "sharpe_ratio", "total_bets", "ml_avg_odds", "ml_spread"):
        noisy.loc[after, column] = rng.uniform(0.0, 0.9, after.sum())
    models = [model_at(case.family, variant, end) for variant in (rows, noisy)]
    same(*(model.predict_frame(case.later.X) for model in models))
    assert models[0].report() == models[1].report()
    peeked = model_at(case.family, noisy, None)  # the fault: it looks at everything there is
    assert not peeked.predict_frame(case.later.X).equals(models[0].predict_frame(case.later.X))


def model_at(family: Family, rows: pd.DataFrame, end: pd.Timestamp | None) -> FittedModel:
    """The model fitted at `FITTED_AT` and updated with what was known at `end`."""
    parts = partition_of(rows, FITTED_AT)
    known = None if end is None else end + pd.Timedelta(seconds=1)
    whole = apply_split(build_panel(rows, known, SPEC), parts.split).test
    model = family.fit(parts.train, parts.validation, small(family.name), 3, 1)
    return family.update(model, whole, pooled(parts.train, parts.validation), 5, 1)


def late(case: UpdateCase) -> Examples:
    """The new rows as if decided long ago and only now landed: they came after rows the model has learned from."""
    back = pd.Timedelta(days=400)
    frame = case.new.frame
    return Examples(frame.assign(**{column: frame[column] - back for column in ("decision_time", "label_time")}))


@pytest.mark.parametrize("case", CALIBRATED, indirect=True)
def test_rows_that_arrive_late_are_learned_from_but_judge_nothing(case, updated):
    model = case.updated(late(case))
    assert model.known_until == case.model.known_until
    assert model.calibrator.sigmoid == case.model.calibrator.sigmoid != updated.calibrator.sigmoid
    np.testing.assert_array_equal(model.calibrator.y, case.model.calibrator.y)
    assert not model.predict_frame(case.later.X).equals(case.model.predict_frame(case.later.X))
    if case.family.name == "ensemble":
        assert model.meta == case.model.meta != updated.meta


@pytest.mark.parametrize("case", CALIBRATED, indirect=True)
def test_the_calibrator_takes_in_exactly_the_unseen_rows(case):
    both = pooled(late(case), where(case.later, case.later.decision_time == case.later.decision_time.min()))
    calibrator = case.updated(both).calibrator
    fresh = both.take(np.flatnonzero(both.decision_time >= case.model.known_until))
    assert 0 < len(fresh) < len(both)
    np.testing.assert_array_equal(calibrator.score[-len(fresh) :], case.model.predict_frame(fresh.X)["score"])
    np.testing.assert_array_equal(calibrator.y[-len(fresh) :], fresh.y)
    assert calibrator.rows == case.model.calibrator.rows


@pytest.mark.parametrize("case", CALIBRATED, indirect=True)
def test_a_calibrator_of_learned_rows_is_noticed(case, monkeypatch):
    module = sys.modules[type(case.family).__module__]
    monkeypatch.setattr(module, "unseen", lambda model, new: np.arange(len(new)))
    assert case.updated(late(case)).calibrator.sigmoid != case.model.calibrator.sigmoid


def test_a_model_of_another_family_is_refused(case):
    for name, other in FAMILIES.items():
        if name != case.family.name:
            with pytest.raises(LearningError, match=f"family '{case.family.name}' cannot be updated by '{name}'"):
                other.update(case.model, case.new, case.past, 0, 1)


def test_rows_with_other_features_are_refused_by_name(case):
    frame = case.new.frame.drop(columns="ml_spread").assign(ml_zz=1.0)
    with pytest.raises(LearningError, match=r"only the rows have ml_zz, only the model has ml_spread\. Train in full"):
        case.updated(Examples(frame))


def test_no_new_rows_are_refused(case):
    with pytest.raises(LearningError, match="0 new examples"):
        case.updated(case.new.take(np.array([], dtype=int)))


def test_rows_that_are_new_and_past_at_once_are_refused(case):
    twice = pooled(case.past.take(np.array([0, 1])), case.new)
    with pytest.raises(LearningError, match="2 rows are both new and past"):
        case.updated(twice)


def test_an_infinite_feature_is_refused_by_name(case):
    with pytest.raises(LearningError, match="win_rate"):
        case.updated(Examples(case.new.frame.assign(win_rate=np.inf)))


def test_an_update_without_a_past_is_possible(case):
    none = case.past.take(np.array([], dtype=int))
    model = case.family.update(case.model, case.new, none, 5, 1)
    assert np.isfinite(model.predict_frame(case.later.X).to_numpy()).all()


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0.05, 1.0), seed=st.integers(0, 99))
def test_any_new_rows_give_a_finite_update(case, share, seed):
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(case.new))[: max(int(share * len(case.new)), 1)])
    frame = case.new.frame.iloc[chosen].assign(label=rng.integers(0, 2, len(chosen)).astype(float))
    before = case.model.predict_frame(case.later.X)
    model = case.updated(Examples(frame), seed)
    assert np.isfinite(model.predict_frame(case.later.X).to_numpy()).all()
    assert model.known_until == max(case.model.known_until, frame["label_time"].max())
    same(case.model.predict_frame(case.later.X), before)
