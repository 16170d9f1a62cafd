"""The replay of the promotion policy decides as the asset `champion` does, month by month."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.champion import promotion
from cleverbetter_dagster.services.evaluation.compare import compare_families
from cleverbetter_dagster.services.evaluation.evaluate import score_test_rows
from cleverbetter_dagster.services.evaluation.scored_table import signed
from cleverbetter_dagster.services.evaluation.stakes import judge_staking, rows_of
from cleverbetter_dagster.services.records import ChampionRecord, EvaluatedModel, ModelRecord
from cleverbetter_dagster.services.training.datasets import Dataset, plan_split
from cleverbetter_dagster.services.walk_forward.promotion_replay import LoadedModel
from cleverbetter_dagster.services.walk_forward.study import OVERALL_POLICY, walk_forward
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.services.ingest.followers import Follower

SPEC = DatasetSpec(min_composite_score=None, min_examples=1, train_fraction=0.35, validation_fraction=0.2)
"""The test rows span the six months or more that stakes are compared on."""
MONTHS = [f"2022-{month:02d}" for month in range(6, 13)]
EASY = PromotionPolicy(min_months=2, level=0.6)
AGENT = "rl_agent"
Outcomes = Mapping[bytes, float]
BOUNDS = {"ensemble": StakingSpec(), AGENT: StakingSpec(max_stake_fraction=0.02)}


class Player(Follower):
    """A follower that knows the outcomes in `known`, by the features of the row; an agent also has `stakes`."""

    def __init__(self, noise: float = 0.0, known: Outcomes | None = None, stakes: Outcomes | None = None) -> None:
        super().__init__(noise)
        self.known, self.stakes = known or {}, stakes

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        answer = super()._predict_frame(values)
        guesses = zip(values, answer["probability"], strict=True)
        p = np.array([self.known.get(row.tobytes(), guess) for row, guess in guesses])
        answer |= {"probability": p, "score": p}
        if self.stakes is not None:
            answer["kelly_share"] = np.array([float(self.stakes.get(row.tobytes(), 0.0) > 0.5) for row in values])
        return answer

    def agent_shares(self, X: pd.DataFrame) -> pd.DataFrame | None:
        if self.stakes is None:
            return None
        share = self.predict_frame(X)["kelly_share"]
        return pd.DataFrame({f"seed {seed}": share for seed in range(3)})


def outcomes(test: Examples, share: float) -> Outcomes:
    """The outcomes of about `share` of the test rows, as likely or unlikely, by the features of the row."""
    values = test.X[list(Follower.feature_names)].to_numpy(dtype=np.float64)
    known = np.random.default_rng(0).random(len(test)) < share
    rows = zip(values, test.y, known, strict=True)
    return {row.tobytes(): 0.95 if label else 0.05 for row, label, is_known in rows if is_known}


@pytest.fixture(scope="module")
def datasets(rows: pd.DataFrame) -> dict[str, Dataset]:
    return {
        month: plan_split(rows[rows["end_date"] < AsOf.parse(month).end], AsOf.parse(month), SPEC) for month in MONTHS
    }


@pytest.fixture(scope="module")
def players(datasets: dict[str, Dataset]) -> dict[str, dict[str, FittedModel]]:
    """By family and month. Every reason to promote, to refuse and to pass over occurs in some month."""
    test = {month: dataset.parts.test for month, dataset in datasets.items()}
    first = Player(0.05)
    ensemble = [
        first,
        first,  # an update that found nothing new
        Player(0.0, outcomes(test["2022-08"], 0.05)),
        Player(0.0, outcomes(test["2022-09"], 1.0)),  # knows too much
        Player(0.0, outcomes(test["2022-10"], 0.1)),
        Player(0.6),
        Player(0.0),
    ]
    agents = {
        "2022-06": Player(0.0, outcomes(test["2022-06"], 0.05), stakes={}),  # the best Brier score, and no stakes
        "2022-07": Player(0.0, stakes={}),
        "2022-09": Player(0.0, stakes={}),
        "2022-10": Player(0.0, outcomes(test["2022-10"], 1.0), stakes={}),  # knows too much, and is passed over
        "2022-12": Player(0.0, outcomes(test["2022-12"], 0.1), stakes=outcomes(test["2022-12"], 1.0)),  # stakes well
    }
    return {"ensemble": dict(zip(MONTHS, ensemble, strict=True)), AGENT: agents}


def record(family: str, month: str) -> ModelRecord:
    """The record of one month's model; July's ensemble is June's."""
    is_junes = (family, month) == ("ensemble", "2022-07")
    made = "2022-06" if is_junes else month
    return ModelRecord(
        family=family,
        as_of=month,
        run_id=f"{family} {made}",
        model_uri=f"{family}/{made}",
        sha256="",
        params={},
        trials=1,
        seed=0,
        data_hash="h",
        fitted_rows=1,
        parent_version=1 if is_junes else None,
        training="incremental" if is_junes else "full",
    )


class NoMirror:
    def __init__(self, settings: Settings) -> None:
        pass

    def set_champion(self, family: str, version: int) -> None:
        pass


def decided_by_the_asset(
    settings: Settings, datasets: dict[str, Dataset], players: dict[str, dict[str, FittedModel]]
) -> list[ChampionRecord]:
    """What the assets of every month decide: evaluations, their comparison, and the promotion with its ledger."""
    decided = []
    for month, dataset in datasets.items():
        tables = {}
        for family, models in players.items():
            if month not in models:
                continue
            table = score_test_rows({family: models[month]}, dataset, BOUNDS[family])
            own, model = rows_of(table, family), record(family, month)
            evaluated = EvaluatedModel(
                **model.model_dump(),
                version=model.parent_version or MONTHS.index(month) + 1,
                headline={},
                staking=BOUNDS[family],
                staking_comparison=judge_staking(own, own, BOUNDS[family]),
            )
            tables[family] = signed(table, evaluated)
        comparison = compare_families(tables).record
        decided.append(promotion.promote_or_refuse(settings, comparison, dataset, EASY))
    return decided


def test_the_replay_decides_as_the_champion_asset_does(
    database: Settings,
    monkeypatch: pytest.MonkeyPatch,
    rows: pd.DataFrame,
    datasets: dict[str, Dataset],
    players: dict[str, dict[str, FittedModel]],
) -> None:
    class Loaded:
        def __init__(self, settings: Settings, uri: str) -> None:
            family, _, which = uri.removeprefix("models:/").partition("/")
            month = MONTHS[int(which) - 1] if uri.startswith("models:/") else which
            self.fitted = players[family][month]

    monkeypatch.setattr(promotion, "load_model", Loaded)
    monkeypatch.setattr(promotion, "Registry", NoMirror)
    actual = decided_by_the_asset(database, datasets, players)

    records = {family: {month: record(family, month) for month in models} for family, models in players.items()}
    splits = {month: dataset.record for month, dataset in datasets.items()}

    def load(model: ModelRecord) -> LoadedModel:
        return LoadedModel(model, players[model.family][model.model_uri[-7:]], BOUNDS[model.family])

    walk = walk_forward(rows, splits, records, load, EASY)
    replayed = walk.decisions[OVERALL_POLICY]

    decided = [
        (one.as_of, one.challenger_family, one.action, one.champion_family, one.champion_as_of, tuple(one.reasons))
        for one in actual
    ]
    assert decided == [
        (one.as_of, one.challenger, one.action, one.champion, one.champion_as_of, one.reasons) for one in replayed
    ]
    expected = [
        ("ensemble", "promoted"),
        ("ensemble", "kept"),
        ("ensemble", "promoted"),
        ("ensemble", "refused"),
        ("ensemble", "refused"),
        ("ensemble", "refused"),
        (AGENT, "promoted"),
    ]
    assert [(one.challenger, one.action) for one in replayed] == expected
