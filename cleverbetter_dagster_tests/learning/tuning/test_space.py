import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError

from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.ensemble.family import Ensemble
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.learning.tuning.space import edges, searched_space, suggested, within

FAMILY = Ensemble()
NOTHING: frozenset[str] = frozenset()


def trial() -> optuna.Trial:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()


def test_without_wishes_the_familys_own_space_is_searched() -> None:
    space = searched_space(FAMILY, StudySpec(), NOTHING)
    assert space["max_depth"] == IntDistribution(2, 8)
    assert space["l2"] == FloatDistribution(0.1, 100.0, log=True)


def test_a_given_range_takes_the_place_of_the_familys() -> None:
    spec = StudySpec(space={"max_depth": [3, 4], "l2": [1, 2]})
    space = searched_space(FAMILY, spec, NOTHING)
    assert space["max_depth"] == IntDistribution(3, 4)
    assert space["l2"] == FloatDistribution(1.0, 2.0, log=True)
    params, _ = suggested(FAMILY, trial(), spec, NOTHING)
    assert params["max_depth"] in (3, 4) and 1.0 <= params["l2"] <= 2.0


def test_fixed_values_are_used_and_not_searched() -> None:
    spec = StudySpec(params={"max_depth": 7, "forest_trees": 11})
    assert "max_depth" not in searched_space(FAMILY, spec, NOTHING)
    asked = trial()
    params, _ = suggested(FAMILY, asked, spec, NOTHING)
    assert (params["max_depth"], params["forest_trees"]) == (7, 11)
    assert "max_depth" not in asked.params


def test_what_the_scorer_tunes_inside_is_bounded_but_not_searched() -> None:
    tuned_inside = frozenset({"n_estimators"})
    assert "n_estimators" not in searched_space(FAMILY, StudySpec(), tuned_inside)
    params, ranges = suggested(FAMILY, trial(), StudySpec(space={"n_estimators": [10, 80]}), tuned_inside)
    assert params["n_estimators"] == 80
    assert ranges == {"n_estimators": (10, 80)}


@pytest.mark.parametrize("wish", [{"params": {"depth": 3}}, {"space": {"depth": [1, 2]}}])
def test_an_unknown_hyperparameter_is_an_error_with_the_known(wish) -> None:
    with pytest.raises(LearningError, match=r"depth; what it may name: .*max_depth"):
        searched_space(FAMILY, StudySpec(**wish), NOTHING)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"space": {"max_depth": [3]}}, "lowest, highest"),
        ({"space": {"max_depth": [4, 3]}}, "lowest, highest"),
        ({"space": {"l2": [1, 2]}, "params": {"l2": 1}}, "both fixed"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_at_once(wish, message) -> None:
    with pytest.raises(ValidationError, match=message):
        StudySpec(**wish)


SPACE = {
    "depth": IntDistribution(2, 8),
    "rate": FloatDistribution(0.01, 1.0, log=True),
    "kind": CategoricalDistribution(["a", "b"]),
    "fixed": IntDistribution(3, 3),
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {}),
        ({"depth": 8}, {"depth": 8}),
        ({"depth": 2}, {"depth": 2}),
        # 0.0109 is 1.9% up from 0.01 to 1 in logarithms, 0.0111 is 2.3%.
        ({"rate": 0.0109}, {"rate": 0.01}),
        ({"rate": 0.0111}, {}),
    ],
)
def test_a_value_at_an_end_is_reported(changed, expected) -> None:
    values = {"depth": 5, "rate": 0.1, "kind": "a", "fixed": 3} | changed
    assert edges(values, SPACE) == expected


def test_settings_of_another_study_are_moved_into_the_space() -> None:
    moved = within({"depth": 12, "rate": 0.001, "kind": "c", "unknown": 1}, SPACE)
    assert moved == {"depth": 8, "rate": 0.01}
