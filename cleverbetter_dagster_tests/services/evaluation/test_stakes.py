"""Stakes from scores; and a family that stakes by itself, from its comparisons to the gate."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec, allocate, return_moments
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.selection import live_rows
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, Verdict, judge
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.champion import decision, promotion
from cleverbetter_dagster.services.champion.predict import predict, unmeasured_features
from cleverbetter_dagster.services.evaluation.compare import compare_families
from cleverbetter_dagster.services.evaluation.evaluate import staking_metrics
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns
from cleverbetter_dagster.services.evaluation.scored_table import (
    scored_by_model,
    scored_frame,
    scored_rows,
    scored_table,
    signed,
)
from cleverbetter_dagster.services.evaluation.stakes import (
    AGENT_STAKE,
    agent_stakes,
    exposures_of,
    judge_staking,
    rows_of,
    sizing_of,
)
from cleverbetter_dagster.services.records import EvaluatedModel
from cleverbetter_dagster.services.training.datasets import panels_from
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import StrategyModel
from cleverbetter_dagster_tests.dataset.panels import example_row, frame
from cleverbetter_dagster_tests.services.conftest import AS_OF
from cleverbetter_dagster_tests.support.provenance import NOTHING_LEARNED

WIDE = StakingSpec(max_stake_fraction=1.0, max_total_fraction=1.0)


@dataclass(frozen=True, eq=False)
class Staker(FittedModel):
    """Stakes half of Kelly on every row of even total bets, nothing elsewhere."""

    family = "rl_agent"
    feature_names: tuple[str, ...] = ("total_bets",)

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        p = np.full(len(values), 0.7)
        return {"probability": p, "score": p, "confidence": p, "kelly_share": np.where(values[:, 0] % 2 == 0, 0.5, 0.0)}

    def feature_importance(self) -> pd.Series:
        return pd.Series([1.0], index=["total_bets"])

    def report(self) -> dict[str, float | int | str]:
        return {"nothing": 0}


def panel(n: int = 2) -> pd.DataFrame:
    return pd.DataFrame({"shrunk_gain": np.full(n, 0.2), "shrunk_loss": np.full(n, 0.2)})


def test_only_an_agent_chooses_its_fraction_of_kelly() -> None:
    # p 0.55: mean 0.02, second moment pi/2 x 0.04; full Kelly is 1/pi.
    scores = pd.DataFrame({"probability": [0.55, 0.55]})
    assert sizing_of(scores, panel(), WIDE).size(np.arange(2)) == pytest.approx(np.full(2, 0.25 / np.pi))
    agent = scores.assign(kelly_share=[0.5, 1.0])
    for spec in (WIDE, StakingSpec(kelly_fraction=0.9, max_stake_fraction=1.0, max_total_fraction=1.0)):
        assert sizing_of(agent, panel(), spec).size(np.arange(2)) == pytest.approx([0.5 / np.pi, 1.0 / np.pi])


def test_the_steps_of_a_stake_heed_one_bound_more_each() -> None:
    # Full Kelly is 1/pi at p 0.55, a quarter 0.0796, the cap 0.05; together they may be 0.1, of which 0.04 is open.
    spec = StakingSpec(max_stake_fraction=0.05, max_total_fraction=0.1)
    sizing, every = sizing_of(pd.DataFrame({"probability": [0.55] * 3}), panel(3), spec), np.arange(3)
    steps = sizing.steps(every, sizing.size(every, 0.04), 0.04)
    assert steps.kelly == pytest.approx(np.full(3, 1 / np.pi))
    assert steps.part == pytest.approx(np.full(3, 0.25 / np.pi))
    assert steps.capped.tolist() == steps.together.tolist() == [0.05] * 3
    assert steps.stake == pytest.approx(np.full(3, 0.02))
    roomy = sizing_of(pd.DataFrame({"probability": [0.55]}), panel(1), spec).steps(np.arange(1), np.array([0.05]))
    assert roomy.together.tolist() == roomy.stake.tolist() == [0.05]


def test_the_steps_of_an_agent_hold_its_share() -> None:
    sizing = sizing_of(pd.DataFrame({"probability": [0.55, 0.55], "kelly_share": [0.5, 1.0]}), panel(), WIDE)
    steps = sizing.steps(np.arange(2), sizing.size(np.arange(2)))
    assert steps.kelly == pytest.approx(np.full(2, 1 / np.pi))
    assert steps.part.tolist() == steps.capped.tolist() == pytest.approx([0.5 / np.pi, 1.0 / np.pi])


def test_an_agents_stakes_keep_the_cap_and_the_bound() -> None:
    agent = pd.DataFrame({"probability": np.full(40, 0.6), "kelly_share": np.linspace(0, 1, 40)})
    stake = sizing_of(agent, panel(40), StakingSpec(max_total_fraction=0.5)).size(np.arange(40), 0.1)
    assert stake.sum() == pytest.approx(0.4)
    assert (stake <= 0.05 * agent["kelly_share"] + 1e-12).all()
    assert stake[0] == 0.0


def test_predictions_of_an_agent_follow_its_shares_under_the_bound(rows: pd.DataFrame) -> None:
    model = StrategyModel(Staker(), DatasetSpec(min_composite_score=None), NOTHING_LEARNED)
    spec = StakingSpec(max_total_fraction=0.3)
    predictions = predict(panels_from(rows, AS_OF), AS_OF, model, spec)
    newest = live_rows(build_panel(rows, AS_OF.end, model.spec), AS_OF).set_index("id")
    even = newest.loc[predictions["backtest_result_id"], "total_bets"].to_numpy() % 2 == 0
    stake = predictions["recommended_stake"].to_numpy()
    assert stake.sum() == pytest.approx(0.3)
    assert (stake[~even] == 0).all()
    assert (stake[even] <= 0.5 * 0.05 + 1e-12).all()


FROM_THE_MARKET = ("total_bets", "ml_avg_odds", "ml_country=AU", "ml_country=NZ")


@pytest.mark.parametrize(
    ("odds", "country", "unmeasured"),
    [
        (2.5, "AU", []),
        (None, "NZ", ["ml_avg_odds"]),
        (2.5, "ZA", ["ml_country=AU", "ml_country=NZ"]),
    ],
)
def test_features_that_no_live_strategy_has_are_named(
    rows: pd.DataFrame, odds: float | None, country: str, unmeasured: list[str]
) -> None:
    model = StrategyModel(Staker(FROM_THE_MARKET), DatasetSpec(min_composite_score=None), NOTHING_LEARNED)
    measured = rows.assign(ml_avg_odds=odds, category_country=country)
    newest = live_rows(build_panel(measured, AS_OF.end, model.spec), AS_OF)
    assert unmeasured_features(newest, model) == unmeasured


def test_filtered_rows_get_no_part_of_the_bound(rows: pd.DataFrame) -> None:
    open_model, strict = (
        StrategyModel(Staker(), DatasetSpec(min_composite_score=least), NOTHING_LEARNED)
        for least in (None, float(rows["composite_score"].quantile(0.9)))
    )
    every, few = (predict(panels_from(rows, AS_OF), AS_OF, model, WIDE) for model in (open_model, strict))
    newest = live_rows(build_panel(rows, AS_OF.end, strict.spec), AS_OF).set_index("id").loc[few["backtest_result_id"]]
    low = newest["composite_score"].to_numpy() < strict.spec.min_composite_score
    assert 0 < low.sum() < len(low)
    assert (few.loc[low, "recommended_stake"] == 0).all()
    # Somebody's stake went to a row the filter keeps out; now the others have the whole bankroll.
    assert [stakes["recommended_stake"].sum() for stakes in (every, few)] == pytest.approx([1.0, 1.0])
    assert (few["recommended_stake"] > 0).sum() < (every["recommended_stake"] > 0).sum()


def test_a_probability_is_staked_as_betting_stakes_it() -> None:
    probability = np.array([0.52, 0.6, 0.7])
    expected = allocate(*return_moments(probability, np.full(3, 0.2), np.full(3, 0.2)), WIDE)
    sizing = sizing_of(pd.DataFrame({"probability": probability}), panel(3), WIDE)
    np.testing.assert_array_equal(sizing.size(np.arange(3)), expected)


def correlated_rows(months: int = 20, strategies: int = 30, future: float = 0.0) -> pd.DataFrame:
    """Monthly rows of strategies that gain and lose together; `future` is added to the returns of the last month."""
    rng = np.random.default_rng(0)
    ends = AsOf.range(AsOf.parse("2021-01"), AsOf.parse("2021-01").plus(months - 1))
    common = rng.normal(0, 0.3, months)
    return frame(
        [
            example_row(
                id=f"{month} {number}",
                strategy_id=f"s{number:02d}",
                start_date=pd.Timestamp(month.key, tz="UTC"),
                end_date=pd.Timestamp(month.plus(1).key, tz="UTC") - pd.Timedelta(seconds=1),
                run_date=month.end,
                roi=0.02 + shock + rng.normal(0, 0.1) + (future if month == ends[-1] else 0.0),
            )
            for month, shock in zip(ends, common, strict=True)
            for number in range(strategies)
        ]
    )


def sized(rows: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The rows of the 15th month, their stakes under the covariance that was known, and as if they were independent."""
    whole = build_panel(rows, None, DatasetSpec(min_composite_score=None))
    decided = whole[whole["decision_time"].dt.strftime("%Y-%m") == "2022-03"].assign(shrunk_gain=0.3, shrunk_loss=0.2)
    scores = pd.DataFrame({"probability": 0.5}, index=decided.index)
    joint, alone = (sizing_of(scores, decided, WIDE, returns=past) for past in (PastReturns.of(whole), None))
    every = np.arange(len(decided))
    return decided, joint.size(every), alone.size(every)


def test_strategies_that_move_together_get_less() -> None:
    decided, joint, alone = sized(correlated_rows())
    assert alone.sum() == pytest.approx(1.0)
    # Together they are about one strategy, for which a quarter of Kelly is 0.25 x 0.05 / E[R^2].
    assert joint.sum() == pytest.approx(0.25 * 0.05 / (np.pi / 2 * 0.065), rel=0.15)
    assert len(decided) == 30 and joint.min() > 0


def test_no_stake_depends_on_a_later_return() -> None:
    np.testing.assert_array_equal(sized(correlated_rows())[1], sized(correlated_rows(future=5.0))[1])


def test_exposures_say_how_few_bets_the_stakes_are() -> None:
    rows = build_panel(correlated_rows(), None, DatasetSpec(min_composite_score=None))
    past = PastReturns.of(rows)
    labelled = rows[rows["label"].notna()].assign(shrunk_gain=0.3, shrunk_loss=0.2, probability=0.5)
    scored = labelled.assign(stake=np.where(labelled["strategy_id"] < "s10", 0.05, 0.0))
    exposures = exposures_of(scored, StakingSpec(), past)
    assert list(exposures)[::18] == ["2021-01-31", "2022-07-31"]
    early, late = exposures["2021-10-31"], exposures["2022-07-31"]
    assert (early.months, early.staked, late.months, late.staked) == (0, 10, 19, 10)
    assert early.effective_bets == pytest.approx(10)
    assert 1 < late.effective_bets < 1.5
    assert late.common_share > 0.8


# A world of 12 months, 20 strategies each, of which the first ten gain.


class World:
    """Scored rows of an agent that knows what gains (or not), of an ensemble that half knows, and of a base rate."""

    def __init__(self, agents: int = 5) -> None:
        self.time = pd.DatetimeIndex(np.repeat(pd.date_range("2022-01-31", periods=12, freq="ME", tz="UTC"), 20))
        rng = np.random.default_rng(0)
        self.gains = np.tile(np.arange(20) < 10, 12)
        self.frame = pd.DataFrame(
            {
                "id": [f"r{i}" for i in range(240)],
                "strategy_id": np.tile([f"s{i}" for i in range(20)], 12),
                "method": "replay",
                "decision_time": self.time,
                "next_start": self.time,
                "label_time": self.time + pd.offsets.MonthEnd(1),
                "label": self.gains.astype(float),
                "next_roi": np.where(self.gains, 0.05, -0.05) + rng.normal(0, 0.005, 240),
                "shrunk_gain": 0.05,
                "shrunk_loss": 0.05,
            }
        )
        self.agents = agents

    def scores(self, sure: float) -> pd.DataFrame:
        noise = np.random.default_rng(1).uniform(-0.02, 0.02, 240)
        return pd.DataFrame({"probability": np.where(self.gains, sure, 0.55) + noise})

    def table(self, family: str, sure: float, share: np.ndarray | None = None) -> pa.Table:
        scores, spec = self.scores(sure), StakingSpec()
        shares = None
        if share is not None:
            scores = scores.assign(kelly_share=share)
            shares = pd.DataFrame({f"seed {seed}": share for seed in range(self.agents)})
        agents = agent_stakes(scores, shares, self.frame, spec)
        frame = scored_frame(family, self.frame, scores, spec).assign(**agents)
        base = pd.DataFrame({"probability": np.full(240, 0.5)})
        table = scored_table([frame, scored_frame("base_rate", self.frame, base, spec)])
        own = rows_of(table, family)
        return signed(table, evaluated(family, judge_staking(own, own, spec)))


def evaluated(family: str, comparison: Any) -> EvaluatedModel:
    return EvaluatedModel(
        family=family,
        as_of="2023-06",
        run_id="r",
        model_uri="models:/m-1",
        sha256="0",
        params={},
        trials=1,
        seed=0,
        data_hash="h",
        fitted_rows=1,
        version=1,
        headline={},
        staking_comparison=comparison,
    )


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_an_agent_that_beats_the_rules_challenges(world: World) -> None:
    good = world.table("rl_agent", 0.6, world.gains.astype(float))
    record = compare_families({"ensemble": world.table("ensemble", 0.57), "rl_agent": good}).record
    assert (record.challenger, record.passed_over) == ("rl_agent", {})
    own, ensembles = record.staking_comparisons("rl_agent")
    assert (own.probability_of, ensembles.probability_of) == ("rl_agent", "ensemble")
    assert own.earns_its_place
    assert ensembles.earns_its_place
    assert own.seeds == 5
    assert record.staking_comparisons("ensemble") == []


def test_an_agent_that_loses_to_rules_is_passed_over(world: World) -> None:
    poor = world.table("rl_agent", 0.9, np.zeros(240))
    record = compare_families({"rl_agent": poor, "ensemble": world.table("ensemble", 0.57)}).record
    assert record.leaderboard[0].name == "rl_agent"
    assert record.challenger == "ensemble"
    assert any("not shown to beat shrunken kelly" in reason for reason in record.passed_over["rl_agent"])
    alone = compare_families({"rl_agent": poor}).record
    assert (alone.challenger, alone.staking) == ("rl_agent", {})


def test_one_family_too_good_to_be_true_stops_all_promotion(
    world: World, database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing = world.table("rl_agent", 0.9, np.zeros(240))  # passed over for its stakes, and its AUC is 1
    record = compare_families({"rl_agent": knowing, "ensemble": world.table("ensemble", 0.55)}).record
    assert (record.challenger, list(record.broken_guards)) == ("ensemble", ["rl_agent"])
    passes = Verdict(promote=True, reasons=("It beats everything.",), comparisons=(), n_months=12, n_rows=240)
    monkeypatch.setattr(decision, "gate_verdict", lambda *_: passes)
    monkeypatch.setattr(promotion, "_score", lambda *_: (None, None))
    decided = promotion.promote_or_refuse(database, record, dataset=None, policy=PromotionPolicy())  # type: ignore[arg-type]
    assert decided.action == "refused"
    assert decided.reasons[0].startswith("rl_agent: The check model_is_not_too_good_to_be_true failed.")


def test_the_gate_refuses_an_agent_with_worthless_stakes(world: World) -> None:
    tables = {name: world.table("rl_agent", 0.6, share) for name, share in self_and_nothing(world).items()}
    for name, table in tables.items():
        scored = scored_by_model([table])
        own = rows_of(table, "rl_agent")
        comparison = judge_staking(own, own, StakingSpec())
        assert comparison is not None
        decision = judge(scored["rl_agent"], None, {"base_rate": scored["base_rate"]}, staking=[comparison])
        assert decision.promote == (name == "good")
        assert sum("log growth a month" in reason for reason in decision.reasons) == 2


def self_and_nothing(world: World) -> dict[str, np.ndarray]:
    return {"good": world.gains.astype(float), "nothing": np.zeros(240)}


def test_every_seeds_stakes_are_columns_of_the_table(world: World) -> None:
    own = rows_of(world.table("rl_agent", 0.6, world.gains.astype(float)), "rl_agent")
    columns = [name for name in own if str(name).startswith(AGENT_STAKE)]
    assert len(columns) == 5
    np.testing.assert_array_equal(own[columns[0]], own["stake"])
    assert scored_rows(own).stake.sum() > 0


def test_stakes_on_different_rows_cannot_be_compared(world: World) -> None:
    own = rows_of(world.table("rl_agent", 0.6, world.gains.astype(float)), "rl_agent")
    with pytest.raises(DataError, match="differ"):
        judge_staking(own, own.assign(model="ensemble", id=own["id"][::-1].to_numpy()), StakingSpec())


def test_logged_figures_have_the_ends_of_their_intervals(world: World) -> None:
    own = rows_of(world.table("rl_agent", 0.6, world.gains.astype(float)), "rl_agent")
    comparison = judge_staking(own, own, StakingSpec())
    assert comparison is not None
    figures = staking_metrics(comparison)
    assert figures["staking_earns_its_place"] == 1.0
    assert figures["staking_nothing_final_bankroll"] == 1.0
    name = "staking_monthly_log_growth_over_half_kelly"
    assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]
    assert {"staking_agent_risk_of_ruin", "staking_agent_max_drawdown", "staking_agent_growth_high"} <= set(figures)
