"""What every family in the catalogue promises. A new family passes this suite before anything else."""

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.splits import Partition
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.store.tracking.plain_files import plain_files
from cleverbetter_dagster_tests.learning.conftest import small, stored_and_loaded


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def model(family: Family, partition: Partition) -> FittedModel:
    return fitted(family, partition)


def fitted(family: Family, partition: Partition, seed: int = 3, threads: int = 1) -> FittedModel:
    return family.fit(partition.train, partition.validation, small(family.name), seed, threads)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_a_family_has_a_name_title_and_description(family):
    assert isinstance(family, Family)
    assert family.name.isidentifier()
    assert family.title and family.description


def test_equal_seeds_give_equal_models_to_the_last_bit(family, model, partition):
    same(fitted(family, partition).predict_frame(partition.test.X), model.predict_frame(partition.test.X))


def test_the_number_of_threads_changes_no_bit(family, model, partition):
    same(fitted(family, partition, threads=2).predict_frame(partition.test.X), model.predict_frame(partition.test.X))


def test_storing_and_loading_a_model_changes_no_bit(family, model, partition):
    loaded = stored_and_loaded(model)
    same(loaded.predict_frame(partition.test.X), model.predict_frame(partition.test.X))
    assert loaded.report() == model.report()
    assert plain_files(loaded, family.stored_types) == plain_files(model, family.stored_types)


def test_a_family_names_each_class_once(family):
    names = [each.__name__ for each in family.stored_types]
    assert len(set(names)) == len(names)


def test_a_row_gets_the_same_answer_in_any_company(model, partition):
    X = partition.test.X
    shuffled = X.sample(frac=1.0, random_state=1)
    same(model.predict_frame(shuffled).loc[X.index], model.predict_frame(X))
    alone = pd.concat([model.predict_frame(X.iloc[[i]]) for i in range(9)])
    same(alone, model.predict_frame(X).iloc[:9])


def test_neither_the_order_of_columns_nor_further_columns_matter(model, partition):
    X = partition.test.X
    turned = X[X.columns[::-1]].assign(zzz="not a number")
    same(model.predict_frame(turned), model.predict_frame(X))


def test_a_missing_feature_is_an_error_that_names_it(model, partition):
    with pytest.raises(LearningError, match=r"2 of \d+ features: win_rate, mean_roi"):
        model.predict_proba(partition.test.X.drop(columns=["win_rate", "mean_roi"]))


def test_an_infinite_feature_is_an_error_that_names_it(model, partition):
    with pytest.raises(LearningError, match="win_rate"):
        model.predict(partition.test.X.assign(win_rate=np.inf))


def test_an_absent_market_feature_counts_as_missing_in_every_row(model, partition):
    X = partition.test.X
    market = [name for name in X if name.startswith("ml_")]
    assert set(market) & set(model.feature_names)
    absent = model.predict_frame(X.drop(columns=market))
    same(absent, model.predict_frame(X.assign(**dict.fromkeys(market, np.nan))))
    assert np.isfinite(absent.to_numpy()).all()


def test_probabilities_score_and_confidence_lie_in_their_ranges(model, partition):
    answer = model.predict_frame(partition.test.X)
    assert answer.index.equals(partition.test.X.index)
    assert {"probability", "score", "confidence"} <= set(answer)
    assert answer["probability"].between(0, 1, inclusive="neither").all()
    assert answer["score"].between(0, 1, inclusive="neither").all()
    assert answer["confidence"].between(0, 1).all()


def test_predict_takes_the_likelier_class_of_predict_proba(model, partition):
    both = model.predict_proba(partition.test.X)
    assert both.shape == (len(partition.test), 2)
    np.testing.assert_allclose(both.sum(axis=1), 1.0, rtol=0, atol=1e-15)
    labels = model.predict(partition.test.X)
    assert labels.dtype == np.int8
    np.testing.assert_array_equal(labels, both[:, 1] >= 0.5)


def test_no_rows_get_no_answers(model, partition):
    none = partition.test.X.iloc[:0]
    assert model.predict_frame(none).shape[0] == 0
    assert model.predict_proba(none).shape == (0, 2)
    assert model.predict(none).shape == (0,)


def test_a_planted_signal_is_learned(model, partition):
    auc = roc_auc_score(partition.test.y, model.predict_proba(partition.test.X)[:, 1])
    assert auc > 0.75


def test_nothing_handed_in_is_changed(family, partition):
    parts = {name: getattr(partition, name).frame.copy() for name in ("train", "validation", "test")}
    params = dict(small(family.name))
    model = family.fit(partition.train, partition.validation, params, 0, 1)
    X = partition.test.X
    before = X.copy()
    model.predict_frame(X)
    same(X, before)
    assert params == small(family.name)
    for name, frame in parts.items():
        same(getattr(partition, name).frame, frame)


def test_an_unknown_or_impossible_parameter_is_named(family, partition):
    with pytest.raises(LearningError, match="no_such_parameter"):
        family.fit(partition.train, partition.validation, {"no_such_parameter": 1}, 0, 1)
    name = next(name for name, value in family.default_params().items() if isinstance(value, float))
    with pytest.raises(LearningError, match=name):
        family.fit(partition.train, partition.validation, {name: -1.0}, 0, 1)


def test_what_is_left_out_takes_its_default(family, partition):
    some = small(family.name)
    full = family.default_params() | some
    assert set(some) <= set(family.default_params())
    left = family.fit(partition.train, partition.validation, some, 1, 1)
    right = family.fit(partition.train, partition.validation, full, 1, 1)
    same(left.predict_frame(partition.test.X), right.predict_frame(partition.test.X))


def test_the_defaults_lie_in_the_space_that_is_searched(family):
    defaults = family.default_params()
    suggested = family.suggest(optuna.trial.FixedTrial(defaults))
    assert suggested == {name: defaults[name] for name in suggested}
    assert len(suggested) >= 4


def test_a_label_known_after_validation_began_is_refused(family, partition):
    late = partition.train.frame.copy()
    late.iloc[0, late.columns.get_loc("label_time")] = partition.validation.decision_time.max()
    with pytest.raises(LearningError, match="purge"):
        family.fit(Examples(late), partition.validation, small(family.name), 0, 1)


def test_an_empty_part_is_refused(family, partition):
    nothing = partition.validation.take(np.array([], dtype=int))
    with pytest.raises(LearningError, match="0 to validate on"):
        family.fit(partition.train, nothing, small(family.name), 0, 1)


def test_labels_of_one_class_are_refused(family, partition):
    lost = [Examples(part.frame.assign(label=0.0)) for part in (partition.train, partition.validation)]
    with pytest.raises(LearningError, match="both 0 and 1"):
        family.fit(*lost, small(family.name), 0, 1)


def test_importance_finds_the_planted_features(model):
    importance = model.feature_importance()
    assert tuple(importance.index) == model.feature_names
    assert (importance >= 0).all()
    assert importance.sum() == pytest.approx(1.0)
    assert not importance.nlargest(3).index.str.startswith("ml_").any()


def test_the_report_is_flat_and_finite(model):
    report = model.report()
    assert report
    assert all(isinstance(value, str) or np.isfinite(value) for value in report.values())
