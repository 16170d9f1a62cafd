"""Why a strategy has its stake, and what came of earlier ones: from what is stored, and the champion alone."""

import pandas as pd
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec, kelly_fraction
from cleverbetter_dagster.errors import ModelNotFound, NotStored
from cleverbetter_dagster.learning.model import PROBABILITY
from cleverbetter_dagster.services.champion.renewal import RENEW_COMMAND
from cleverbetter_dagster.services.champion.stake_inputs import STEPS, StakeInputs, read_inputs, save_inputs
from cleverbetter_dagster.services.overview.reasons import reasons_of
from cleverbetter_dagster.services.overview.strategy import Explanation, Today, explain_strategy
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster_tests.services.overview.advised import HOSTILE, MODEL, MONTHS, WEIGHTS, rows, store_rows

HARMLESS = "a strategy nobody knows"


@pytest.fixture(scope="module")
def current(deployment: Settings) -> pd.DataFrame:
    return read_predictions(deployment)


@pytest.fixture(scope="module")
def inputs(deployment: Settings) -> StakeInputs:
    champion = ledger.champion(deployment)
    assert champion is not None
    found = read_inputs(deployment, champion.family, champion.version, MONTHS[-1], RENEW_COMMAND)
    assert found is not None
    return found


def today_of(explanation: Explanation) -> Today:
    today = explanation.methods[0].today
    assert today is not None
    return today


def test_the_steps_end_at_the_stake_that_is_advised(deployment: Settings, current: pd.DataFrame) -> None:
    staked = current[current["recommended_stake"] > 0]
    assert len(staked) > 3
    for row in staked.head(3).to_dict("records"):
        today = today_of(explain_strategy(deployment, row["strategy_id"]))
        assert today.reasons is not None
        assert today.stake == row["recommended_stake"] == today.reasons.steps[-1].stake
        assert today.reasons.refusal is None


def test_every_bound_that_binds_is_told(inputs: StakeInputs) -> None:
    spec = StakingSpec()
    kelly = kelly_fraction(inputs.rows["mean"], inputs.rows["variance"])
    assert inputs.rows["kelly"].to_numpy() == pytest.approx(kelly)
    assert inputs.rows["part"].to_numpy() == pytest.approx(spec.kelly_fraction * kelly)
    capped = inputs.rows["part"] > spec.max_stake_fraction
    assert capped.any()
    position = int(capped.to_numpy().argmax())
    bound = [step.bound for step in reasons_of(inputs, position, MODEL.fitted).steps]
    assert bound[2]
    last = inputs.rows.iloc[position][list(STEPS)]
    assert bound[4] == (last["stake"] < 0.99 * last["together"])


def test_influences_are_those_of_an_additive_model(inputs: StakeInputs) -> None:
    reasons = reasons_of(inputs, 0, MODEL.fitted)
    own, effects = inputs.features.iloc[0], {one.feature: one.effect for one in reasons.influences}
    assert set(effects) <= set(WEIGHTS)
    assert reasons.usual + sum(effects.values()) + reasons.others == pytest.approx(reasons.probability)
    background = inputs.features.sample(12, random_state=0)  # as `shapley_values` draws it
    for name, weight in WEIGHTS.items():
        assert effects[name] == pytest.approx(weight * (own[name] - background[name].mean()))


def test_a_strategy_that_should_lose_has_its_refusal(deployment: Settings, current: pd.DataFrame) -> None:
    losing = current[current["expected_return"] <= 0].iloc[0]
    reasons = today_of(explain_strategy(deployment, losing["strategy_id"])).reasons
    assert reasons is not None
    assert reasons.refusal is not None
    assert "only one above 0 is staked on" in reasons.refusal


def test_past_predictions_stand_beside_their_outcomes(deployment: Settings, current: pd.DataFrame) -> None:
    strategy = current["strategy_id"].iloc[0]
    method = explain_strategy(deployment, strategy).methods[0]
    own = rows()
    own = own[own["strategy_id"] == strategy].sort_values("end_date")
    assert [window.roi for window in method.windows] == own["roi"].tolist()[::-1]
    # The newest prediction has no outcome; those before have the return of the row that followed.
    assert [one.roi for one in method.predictions] == [None, *own["roi"].tolist()[::-1][:3]]
    assert [one.as_of for one in method.predictions] == list(MONTHS[::-1])
    assert [one.in_time for one in method.predictions] == [True, False, False, False]  # scored today, closed in 2023


def test_the_window_begins_where_the_last_one_ended(deployment: Settings, current: pd.DataFrame) -> None:
    strategy = current["strategy_id"].iloc[0]
    explanation = explain_strategy(deployment, strategy)
    today, last = today_of(explanation), explanation.methods[0].windows[0]
    assert today.opens == last.end
    assert today.closes == last.end + (last.end - last.start)


def test_an_id_with_markup_is_found_as_it_is(deployment: Settings) -> None:
    explanation = explain_strategy(deployment, HOSTILE)
    assert (explanation.strategy_id, explanation.notices) == (HOSTILE, ())


@pytest.mark.parametrize("name", [HARMLESS, "nul \0 inside", "half \udc80 of a pair", "", "%", "x" * 5000])
def test_what_nobody_knows_is_not_found(deployment: Settings, name: str) -> None:
    with pytest.raises(NotStored, match="Nothing is known of a strategy"):
        explain_strategy(deployment, name)


def test_a_name_that_one_strategy_has_finds_it(deployment: Settings, current: pd.DataFrame) -> None:
    one, two = current["strategy_id"].iloc[:2]
    table = deployment.model_copy(update={"strategies_table": "tipsters"})
    with psycopg_connect(deployment, "rows", autocommit=True) as connection:
        connection.execute("CREATE TABLE tipsters (id text, name text)")
        connection.execute("INSERT INTO tipsters VALUES (%s, 'Lay the draw'), ('x', 'Twice'), ('y', 'Twice')", [one])
    explanation = explain_strategy(table, "Lay the draw")
    assert (explanation.strategy_id, explanation.name) == (one, "Lay the draw")
    assert explain_strategy(table, two).name is None
    with pytest.raises(NotStored, match="2 strategies have the name 'Twice'; give the id of one: x, y"):
        explain_strategy(table, "Twice")


def test_a_model_that_is_gone_leaves_everything_else(deployment: Settings, current: pd.DataFrame) -> None:
    def gone(_: Settings, uri: str) -> object:
        raise ModelNotFound(f"There is no model {uri}.")

    explanation = explain_strategy(deployment, current["strategy_id"].iloc[0], gone)  # type: ignore[arg-type]
    assert today_of(explanation).reasons is None
    assert explanation.methods[0].windows
    assert "There is no model models:/ensemble/1." in explanation.notices[0]


def test_inputs_of_another_scoring_are_not_taken(
    deployment: Settings, current: pd.DataFrame, inputs: StakeInputs
) -> None:
    other = StakeInputs(inputs.facts, inputs.rows.assign(probability=0.123), inputs.features)
    save_inputs(deployment, other)
    explanation = explain_strategy(deployment, current["strategy_id"].iloc[0])
    save_inputs(deployment, inputs)
    assert today_of(explanation).reasons is None
    assert explanation.notices == (
        f"Its stake is of another scoring than what is stored of it: `{RENEW_COMMAND}` mends that.",
    )


def test_features_of_another_model_explain_nothing(inputs: StakeInputs) -> None:
    changed = StakeInputs(inputs.facts, inputs.rows, inputs.features.assign(win_rate=0.0))
    with pytest.raises(Exception, match="not those of this model"):
        reasons_of(changed, 0, MODEL.fitted)
    assert MODEL.fitted.predict_frame(inputs.features)[PROBABILITY].tolist() == inputs.rows["probability"].tolist()


def test_without_a_champion_the_windows_are_still_shown(database: Settings) -> None:
    store_rows(database)
    explanation = explain_strategy(database, HOSTILE)
    assert explanation.methods[0].today is None
    assert len(explanation.methods[0].windows) > 3
    assert "there is no champion" in explanation.notices[0]
