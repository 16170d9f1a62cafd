"""The walk-forward on a small world: models are loaded once, judged on their future only, whatever months exist."""

from html import unescape

import pandas as pd
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.charts.chart import png
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.report import render
from cleverbetter_dagster.evaluation.report.walk_forward import walk_forward_charts, walk_forward_report
from cleverbetter_dagster.evaluation.texts import decimal
from cleverbetter_dagster.services.records import ModelRecord, SplitRecord
from cleverbetter_dagster.services.training.datasets import plan_split
from cleverbetter_dagster.services.walk_forward.figures import figures_of, monthly_scores
from cleverbetter_dagster.services.walk_forward.promotion_replay import LoadedModel
from cleverbetter_dagster.services.walk_forward.records import WalkForwardRecord
from cleverbetter_dagster.services.walk_forward.report import summary_of, walk_forward_view
from cleverbetter_dagster.services.walk_forward.study import (
    AGE,
    AS_OF,
    BASELINE,
    EQUAL_STAKES,
    FAMILY,
    JUDGED,
    KIND,
    MONTH,
    OVERALL_POLICY,
    POLICY,
    UNSEEN,
    Walk,
    walk_forward,
)
from cleverbetter_dagster_tests.services.ingest.followers import Follower

SPEC = DatasetSpec(min_composite_score=None, min_examples=1)
MONTHS = [f"2022-{month:02d}" for month in range(6, 13)]
EASY = PromotionPolicy(min_months=2, level=0.6)


def record(family: str, month: str) -> ModelRecord:
    return ModelRecord(
        family=family,
        as_of=month,
        run_id=f"{family} {month}",
        model_uri=f"{family}/{month}",
        sha256="",
        params={},
        trials=7,
        seed=0,
        data_hash="h",
        fitted_rows=1,
    )


@pytest.fixture(scope="module")
def splits(rows: pd.DataFrame) -> dict[str, SplitRecord]:
    months = rows.groupby(rows["end_date"].dt.strftime("%Y-%m"))
    known = {month: part for month, part in months}  # noqa: C416
    return {
        month: plan_split(pd.concat([known[m] for m in sorted(known) if m <= month]), AsOf.parse(month), SPEC).record
        for month in MONTHS
    }


@pytest.fixture(scope="module")
def models() -> dict[str, dict[str, ModelRecord]]:
    return {family: {month: record(family, month) for month in MONTHS} for family in ("good", "poor")}


def load(model: ModelRecord) -> LoadedModel:
    return LoadedModel(model, Follower(0.0 if model.family == "good" else 0.4), StakingSpec())


@pytest.fixture(scope="module")
def walk(rows: pd.DataFrame, splits: dict[str, SplitRecord], models: dict[str, dict[str, ModelRecord]]) -> Walk:
    return walk_forward(rows, splits, models, load, EASY)


def all_figures(walk: Walk, models: dict[str, dict[str, ModelRecord]]) -> WalkForwardRecord:
    return figures_of(walk, monthly_scores(walk), models, "hash")


@pytest.fixture(scope="module")
def figures(walk: Walk, models: dict[str, dict[str, ModelRecord]]) -> WalkForwardRecord:
    return all_figures(walk, models)


def test_models_are_judged_only_on_rows_after_their_month(walk: Walk) -> None:
    ends = pd.to_datetime(walk.scores[AS_OF]).dt.tz_localize("UTC") + pd.offsets.MonthBegin(1)
    assert (walk.scores["decision_time"] >= ends).all()
    months = pd.PeriodIndex(walk.scores[MONTH], freq="M")
    stood = pd.PeriodIndex(walk.scores[AS_OF], freq="M")
    assert [(later - then).n for later, then in zip(months, stood, strict=True)] == walk.scores[AGE].tolist()


def test_every_model_is_loaded_once(rows, splits, models) -> None:
    loaded: list[str] = []

    def counting(model: ModelRecord) -> LoadedModel:
        loaded.append(model.model_uri)
        return load(model)

    walk_forward(rows, splits, models, counting, EASY)
    assert sorted(loaded) == sorted(f"{family}/{month}" for family in ("good", "poor") for month in MONTHS)


def test_a_months_return_sums_stakes_times_next_returns(walk: Walk) -> None:
    monthly = monthly_scores(walk).set_index(["model", "month"])
    chosen = walk.scores[(walk.scores["model"] == "good") & (walk.scores[AGE] == 1) & (walk.scores[MONTH] == "2022-09")]
    assert set(chosen[AS_OF]) == {"2022-08"}
    assert monthly.loc[("good", "2022-09"), "rows"] == len(chosen)
    expected = float((chosen["stake"] * chosen["next_roi"]).sum())
    assert monthly.loc[("good", "2022-09"), "month_return"] == pytest.approx(expected)
    assert (monthly["brier_low"] <= monthly["brier"]).all() and (monthly["brier"] <= monthly["brier_high"]).all()


def test_each_figure_is_of_one_model_alone(walk: Walk, figures: WalkForwardRecord) -> None:
    young = walk.scores[(walk.scores[AGE] == 1) & walk.scores[JUDGED]]
    names = {kind: set(young.loc[young[KIND] == kind, "model"]) for kind in (FAMILY, BASELINE, POLICY)}
    assert names[FAMILY] == {"good", "poor"} and not names[FAMILY] & names[POLICY]
    rows = len(young[young["model"] == "good"])
    by_name = {row.name: row for row in figures.leaderboard}
    assert by_name["good"].n_rows == figures.significance["good"].rows == figures.filter_effects["good"].rows == rows
    assert sum(part.row.n_rows for part in figures.familiarity if part.family == "good" and part.row) == rows
    assert figures.significance["good"].tuning_trials == 7


def test_the_policy_never_promotes_the_poor_family(
    figures: WalkForwardRecord,
) -> None:
    order = [row.name for row in figures.leaderboard]
    assert order.index("good") < order.index("poor")
    replay = figures.replays[0]
    assert replay.policy == OVERALL_POLICY
    assert len(replay.decisions) == len(MONTHS) and {decision.challenger for decision in replay.decisions} == {"good"}
    poor = next(replay for replay in figures.replays if replay.policy == "poor alone")
    assert poor.promotions == 0 and poor.row is None


def test_a_model_that_never_changes_does_not_decay(figures: WalkForwardRecord) -> None:
    steps = [step for step in figures.decay if step.family == "good"]
    assert [step.age for step in steps] == list(range(1, len(steps) + 1)) and len(steps) > 6
    changes = [step.brier_change for step in steps if step.brier_change is not None]
    assert len(changes) > 5 and all(change.point == 0 for change in changes)
    # Only models of age 2 share enough months with those of age 1 for an interval.
    assert changes[0].ends == (0, 0)
    assert all(change.ends is None and "needs 6" in change.reason for change in changes[1:])
    assert figures.stability[0].rank_agreement == pytest.approx(1)


def test_a_model_that_ages_is_seen_to_decay(rows, splits, models) -> None:
    def ageing(model: ModelRecord) -> LoadedModel:
        newest = model.as_of == MONTHS[-1]
        return LoadedModel(model, Follower(0.0 if newest else 0.5), StakingSpec())

    record = all_figures(walk_forward(rows, splits, {"good": models["good"]}, ageing, EASY), models)
    fresh = next(row for row in record.leaderboard if row.name == "good")
    old = max((step for step in record.decay if step.brier_change), key=lambda step: step.age)
    assert fresh.brier is not None and old.brier_change is not None
    assert record.stability[0].rank_agreement is not None and record.stability[0].rank_agreement < 1


def test_unseen_strategies_are_reported_apart(rows, splits, models) -> None:
    late = rows["strategy_id"].unique()[:5]
    later = rows[~rows["strategy_id"].isin(late) | (rows["start_date"] >= pd.Timestamp("2022-12-01", tz="UTC"))]
    walk = walk_forward(later, {MONTHS[-1]: splits[MONTHS[-1]]}, {"good": models["good"]}, load, EASY)
    unseen = set(walk.scores.loc[walk.scores[UNSEEN], "strategy_id"])
    learned = later[later["end_date"] < pd.Timestamp(splits[MONTHS[-1]].split.test_start)]["strategy_id"]
    assert set(late) <= unseen and not unseen & set(learned)
    parts = all_figures(walk, models).familiarity
    assert [(part.unseen, part.strategies) for part in parts][1] == (True, len(unseen))


def test_missing_months_and_missing_families_leave_the_rest(rows, splits, models) -> None:
    some = {month: splits[month] for month in (MONTHS[0], MONTHS[3])}
    only = {"good": models["good"], "poor": {MONTHS[3]: models["poor"][MONTHS[3]]}}
    walk = walk_forward(rows, some, only, load, EASY)
    assert list(walk.splits) == [MONTHS[0], MONTHS[3]]
    families = walk.scores[walk.scores[KIND] == FAMILY].groupby("model")[AS_OF].unique()
    assert {name: sorted(months) for name, months in families.items()} == {
        "good": [MONTHS[0], MONTHS[3]],
        "poor": [MONTHS[3]],
    }
    record = all_figures(walk, models)
    assert record.overfitting_of_models is None
    assert WalkForwardRecord.model_validate_json(record.model_dump_json()) == record


def test_filtered_rows_count_only_in_the_filters_figures(rows, splits, models) -> None:
    minimum = float(rows["composite_score"].median())
    split = plan_split(
        rows[rows["end_date"] < pd.Timestamp("2023-01-01", tz="UTC")],
        AsOf.parse("2022-12"),
        SPEC.model_copy(update={"min_composite_score": minimum}),
    ).record
    walk = walk_forward(rows, {"2022-12": split}, {"good": models["good"]}, load, EASY)
    record = all_figures(walk, models)
    effect, by_name = record.filter_effects["good"], {row.name: row for row in record.leaderboard}
    assert 0 < effect.removed < effect.rows
    assert by_name["good"].n_rows == effect.rows - effect.removed
    assert (walk.scores.loc[~walk.scores[JUDGED], "stake"] == 0).all()


def test_nothing_to_judge_is_an_error_with_the_remedy(rows, splits, models) -> None:
    with pytest.raises(DataError, match=r"0 as_of months with a split, 14 models.*backfill"):
        walk_forward(rows, {}, models, load, EASY)


def width(estimate: Estimate) -> float:
    assert estimate.ends is not None
    return estimate.ends[1] - estimate.ends[0]


def test_the_report_has_charts_and_a_summary(walk: Walk, figures: WalkForwardRecord, models) -> None:
    charts = walk_forward_charts(walk_forward_view(walk, figures, monthly_scores(walk), models, EASY))
    assert set(charts) == {"AUC by month", "Brier score by month", "bankroll", "drawdown", "decay with age"}
    assert all(png(chart).startswith(b"\x89PNG") for chart in charts.values())
    summary = summary_of(figures)
    assert "7 months after 2022-06 to 2022-12" in summary and "7 challengers" in summary
    # The lead is paired: narrower than either score's own interval, and their difference.
    by_name = {row.name: row.brier for row in figures.leaderboard}
    good = by_name.pop("good")
    baseline = next(brier for name, brier in by_name.items() if name != "poor")
    assert figures.lead is not None and good is not None and baseline is not None
    assert figures.lead.point == pytest.approx(good.point - baseline.point)
    assert width(figures.lead) < min(width(good), width(baseline))
    assert f"a paired difference of {figures.lead}" in summary
    policy = figures.replays[0].row
    assert policy is not None and f"in the {policy.n_months} months with a champion" in summary


def test_the_page_shows_the_record_and_the_months(walk: Walk, figures: WalkForwardRecord, models) -> None:
    monthly = monthly_scores(walk)
    view = walk_forward_view(walk, figures, monthly, {**models, "absent": {}}, EASY)
    assert list(view.models)[:3] == ["good", "poor", OVERALL_POLICY]
    assert set(view.by_month) < set(view.models) and EQUAL_STAKES not in view.by_month
    good = view.models["good"]
    assert good.promoted == next(one.promotions for one in figures.replays if one.policy == "good alone") > 0
    own = monthly[monthly["model"] == "good"].set_index("month")
    assert list(good.months) == list(own.index)
    growth = next(row.growth for row in figures.leaderboard if row.name == "good")
    assert growth is not None and good.allocation.growth == pytest.approx(growth.point)
    html = render(walk_forward_report(view))
    assert all(f"good, {month}: {decimal(brier, 2)} (" in html for month, brier in own["brier"].items())
    assert "absent: none, so it is left out" in html and summary_of(figures) in html
    assert f'"min_months": {EASY.min_months}' in unescape(html)
    decisions = next(table for table in view.tables if table.title == "Its decisions")
    assert [row[2] for row in decisions.rows] == [one.action for one in figures.replays[0].decisions]


def test_rolling_and_expanding_windows_are_told_apart(rows, splits, models) -> None:
    rolling = plan_split(
        rows[rows["end_date"] < pd.Timestamp("2022-08-01", tz="UTC")],
        AsOf.parse("2022-07"),
        SPEC.model_copy(update={"max_history_months": 12}),
    ).record
    walk = walk_forward(rows, {"2022-06": splits["2022-06"], "2022-07": rolling}, models, load, EASY)
    windows = all_figures(walk, models).windows
    assert windows == {"2022-06": "expanding", "2022-07": "rolling 12 months"}
