import numpy as np
import pytest
from pydantic import ValidationError

from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, compare, judge
from cleverbetter_dagster.evaluation.leaderboard import leaderboard_row
from cleverbetter_dagster_tests.evaluation.scored import decision_months, scored_rows, simulated_models

MODELS = simulated_models()
BLIND = {"base_rate": MODELS["blind"]}


@pytest.mark.parametrize("metric", ["brier", "log_loss", "roc_auc"])
def test_a_better_challenger_is_promoted(metric):
    baselines = {"half_of_it": MODELS["fair"], **BLIND}
    verdict = judge(MODELS["good"], MODELS["fair"], baselines, PromotionPolicy(metric=metric))

    assert verdict.promote
    assert [comparison.against for comparison in verdict.comparisons] == ["champion", "half_of_it", "base_rate"]
    assert all(comparison.difference.high < 0 for comparison in verdict.comparisons)
    assert (verdict.n_rows, verdict.n_months) == (2_400, 12)


@pytest.mark.parametrize("metric", ["brier", "log_loss", "roc_auc"])
def test_a_worse_challenger_is_refused(metric):
    verdict = judge(MODELS["fair"], MODELS["good"], BLIND, PromotionPolicy(metric=metric))

    assert not verdict.promote
    assert "not shown to be as good as the champion" in " ".join(verdict.reasons)


def test_a_challenger_equal_to_the_champion_is_not_worse():
    verdict = judge(MODELS["good"], MODELS["good"], BLIND)

    assert verdict.promote
    assert verdict.comparisons[0].difference.high == 0


def test_a_tie_with_a_baseline_does_not_beat_it():
    verdict = judge(MODELS["good"], None, {**BLIND, "itself": MODELS["good"]})

    assert not verdict.promote
    assert "not shown to beat itself" in " ".join(verdict.reasons)


def test_an_interval_that_reaches_zero_is_not_enough():
    good = MODELS["good"]
    # Every probability a hair higher or lower: one of the two must look worse than the original by chance.
    shifted = [
        scored_rows(np.clip(good.probability + hair, 0, 1), good.label, good.next_roi, months=good.decision_time)
        for hair in (-0.002, 0.002)
    ]
    lucky = [other for other in shifted if compare(good, other, "shifted").difference.point < 0]

    assert lucky
    for other in lucky:
        assert compare(good, other, "shifted").difference.high > 0
        assert not judge(good, None, {"shifted": other}).promote


def test_the_tolerance_allows_a_worse_challenger():
    slightly_worse = scored_rows(
        np.clip(MODELS["good"].probability + 0.02, 0, 1),
        MODELS["good"].label,
        MODELS["good"].next_roi,
        months=MODELS["good"].decision_time,
    )
    difference = compare(slightly_worse, MODELS["good"], "champion").difference
    assert 0 < difference.high < 0.01

    def promoted(tolerance):
        return judge(slightly_worse, MODELS["good"], BLIND, PromotionPolicy(tolerance=tolerance)).promote

    assert not promoted(difference.high - 1e-6)
    assert promoted(difference.high + 1e-6)


def test_without_a_champion_the_baselines_decide():
    assert judge(MODELS["good"], None, BLIND).promote
    assert not judge(MODELS["blind"], None, {"half_of_it": MODELS["fair"]}).promote


def test_without_a_baseline_nothing_is_promoted():
    verdict = judge(MODELS["good"], None, {})

    assert not verdict.promote
    assert "no baseline" in " ".join(verdict.reasons)


def test_too_few_months_refuse_with_both_numbers():
    models = simulated_models(n_months=4)
    verdict = judge(models["good"], None, {"base_rate": models["blind"]})

    assert not verdict.promote
    assert "The test rows span 4 months; at least 6 are needed." in verdict.reasons
    # Fewer would do for a lower level, and never for this one.
    lower = PromotionPolicy(min_months=2, level=0.8)
    assert judge(models["good"], None, {"base_rate": models["blind"]}, lower).promote
    easy = judge(models["good"], None, {"base_rate": models["blind"]}, PromotionPolicy(min_months=2))
    assert "The test rows span 4 months; at least 6 are needed." in easy.reasons


def test_reasons_give_both_losses_and_the_interval():
    verdict = judge(MODELS["good"], None, BLIND)
    comparison = verdict.comparisons[0]

    assert f"Brier score {comparison.challenger:.4f} against {comparison.other:.4f}" in " ".join(verdict.reasons)
    assert f"[{comparison.difference.low:.4f}, {comparison.difference.high:.4f}]" in " ".join(verdict.reasons)


def test_reasons_tell_how_far_months_depend_on_each_other():
    verdict = judge(MODELS["good"], None, BLIND)
    found = verdict.comparisons[0].dependence

    assert found is not None
    told = f"serial correlation of about {found.serial_correlation:.2f} and are worth {found.independent_months:.1f} in"
    assert told in verdict.reasons[1]


def test_the_difference_is_paired_row_by_row():
    good, fair = MODELS["good"], MODELS["fair"]
    comparison = compare(good, fair, "champion")
    brier_good = np.mean((good.probability - good.label) ** 2)
    brier_fair = np.mean((fair.probability - fair.label) ** 2)
    alone = compare(good, MODELS["blind"], "base_rate")

    assert comparison.challenger == pytest.approx(brier_good)
    assert comparison.difference.point == pytest.approx(brier_good - brier_fair)
    # What both models share cancels: the paired interval is far narrower than either loss is uncertain.
    assert comparison.difference.high - comparison.difference.low < 0.03
    assert alone.difference.point < comparison.difference.point


def test_the_auc_is_compared_within_months():
    good = MODELS["good"]
    level = 0.5 * (months_of(good.decision_time).astype(int) % 2)
    moved = scored_rows(0.5 * good.probability + level, good.label, good.next_roi, months=good.decision_time)
    comparison = compare(moved, good, "champion", PromotionPolicy(metric="roc_auc"))

    assert comparison.difference.ends == pytest.approx((0.0, 0.0), abs=1e-12)
    assert comparison.challenger == pytest.approx(1 - leaderboard_row("good", good).auc_within_months.point)


def test_months_of_one_class_are_no_months_of_an_auc():
    months = decision_months(8, 2)
    rows = scored_rows(np.tile([0.4, 0.6], 8), np.append(np.tile([0, 1], 5), np.ones(6)), months=months)
    comparison = compare(rows, rows, "itself", PromotionPolicy(metric="roc_auc"))

    assert comparison.difference.reason == "5 months; 95% needs 6"


def test_equal_labels_are_refused():
    months = decision_months(8, 5)
    rows = scored_rows(np.linspace(0.1, 0.9, 40), np.ones(40), months=months)
    verdict = judge(rows, None, {"other": rows}, PromotionPolicy(metric="roc_auc"))

    assert not verdict.promote
    assert "cannot be compared" in " ".join(verdict.reasons)


def test_models_scored_on_different_rows_are_not_compared():
    other = simulated_models(seed=1)["good"]

    with pytest.raises(InvalidInput, match="score both on the same rows"):
        judge(MODELS["good"], other, BLIND)


def test_a_verdict_survives_json():
    verdict = judge(MODELS["good"], MODELS["fair"], BLIND)

    assert type(verdict).model_validate_json(verdict.model_dump_json()) == verdict


@pytest.mark.parametrize(("field", "value"), [("tolerance", -1), ("min_months", 1), ("metric", "accuracy")])
def test_the_policy_is_bounded(field, value):
    with pytest.raises(ValidationError):
        PromotionPolicy(**{field: value})
