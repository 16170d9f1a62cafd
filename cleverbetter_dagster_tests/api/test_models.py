"""Versions, champion, decisions by hand and predictions over HTTP, on a real registry and ledger."""

from collections.abc import Iterator

import pandas as pd
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.predictions import ScoredBy, write_predictions
from cleverbetter_dagster.store.tracking.package import log_model
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster.store.tracking.runs import RunSpec, start_run
from cleverbetter_dagster_tests.api.conftest import Api, served
from cleverbetter_dagster_tests.store.tracking.test_package import MODEL

REASON = {"reason": "calibrated better in October"}


@pytest.fixture
def api(empty_registry: Settings) -> Iterator[Api]:
    """The API of a deployment with two versions of the ensemble, of October and November 2023."""
    for as_of in ("2023-10", "2023-11"):
        with start_run(empty_registry, RunSpec("ensemble", as_of, "abc")) as run:
            log_model(run, MODEL)
        Registry(empty_registry).register(run.run_id, "ensemble")
    with served(empty_registry) as running:
        yield running


def promote(api: Api, version: int, *, override_gate: bool = True) -> tuple[int, dict]:
    body = REASON | {"override_gate": override_gate}
    answer = api.post(f"/api/v1/models/ensemble/versions/{version}/promote", body)
    return answer.status_code, answer.json()


def test_versions_and_the_champion_are_shown_as_they_become_it(api: Api) -> None:
    assert api.get("/api/v1/models/champion").status_code == 404
    status, decided = promote(api, 1)
    assert (status, decided["action"], decided["champion"]) == (200, "promoted", "ensemble v1")
    champion = api.get("/api/v1/models/champion").json()
    assert (champion["model_name"], champion["version"], champion["as_of"]) == ("ensemble", "1", "2023-10")
    assert (champion["reason"], champion["decided_by"]) == (REASON["reason"], "REST API")
    models = api.get("/api/v1/models").json()["models"]
    assert [(m["version"], m["stage"], m["is_champion"]) for m in models] == [
        ("1", "Production", True),
        ("2", "None", False),
    ]


def test_a_model_nobody_can_judge_takes_the_override(api: Api, empty_registry: Settings) -> None:
    status, refused = promote(api, 1, override_gate=False)
    assert (status, "cannot be judged" in refused["detail"]) == (409, True)
    assert ledger.champion(empty_registry) is None


def test_a_rollback_returns_to_the_predecessor(api: Api) -> None:
    promote(api, 1)
    promote(api, 2)
    answer = api.post("/api/v1/models/rollback", {"reason": "stakes look wrong"})
    assert (answer.status_code, answer.json()["champion"]) == (200, "ensemble v1")
    again = api.post("/api/v1/models/rollback", {"reason": "stakes look wrong"})
    assert again.status_code == 409


def test_what_a_rollback_withdrew_takes_the_override(api: Api, empty_registry: Settings) -> None:
    promote(api, 1)
    promote(api, 2)
    api.post("/api/v1/models/rollback", {"reason": "stakes look wrong"})
    status, refused = promote(api, 2, override_gate=False)
    assert status == 409
    assert "cannot be judged" in refused["detail"]
    status, decided = promote(api, 2)
    assert (status, decided["champion"]) == (200, "ensemble v2")
    promoted = ledger.champion(empty_registry)
    assert promoted is not None
    assert promoted.evidence["gate"]["overridden"] is True


def test_what_nobody_expected_is_told_to_the_log_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Settings) -> None:
        raise RuntimeError("postgresql://ann:Tr0ub4dor@db")

    monkeypatch.setattr(ledger, "champion", broken)
    answer = api.get("/api/v1/models/champion")
    assert (answer.status_code, list(answer.json())) == (500, ["detail"])
    assert "Tr0ub4dor" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/models/ensemble/versions/9/promote", REASON, 404),
        ("/models/oracle/versions/1/promote", REASON, 404),
        ("/models/ensemble/versions/0/promote", REASON, 422),
        ("/models/ensemble/versions/1/promote", {}, 422),
        ("/models/ensemble/versions/1/promote", {"reason": "  "}, 422),
        ("/models/ensemble/versions/1/promote", {"reason": "r", "override_gate": "yes"}, 422),
        ("/models/ensemble/versions/1/promote", {"reason": "a\0b"}, 422),
        ("/models/rollback", REASON, 409),
    ],
)
def test_what_cannot_be_decided_is_refused(
    api: Api, empty_registry: Settings, path: str, body: dict, status: int
) -> None:
    answer = api.post(f"/api/v1{path}", body)
    assert answer.status_code == status, answer.text
    assert ledger.history(empty_registry) == []


def test_predictions_are_the_champions_the_largest_stake_first(api: Api, empty_registry: Settings) -> None:
    empty = api.get("/api/v1/predictions").json()
    assert empty["predictions"] == []
    assert "there is no champion" in empty["message"]
    _, decided = promote(api, 1)
    assert "`cleverbetter predict --renew` scores" in decided["stakes"]
    assert api.get("/api/v1/predictions").json()["message"] == decided["stakes"]
    frame = pd.DataFrame(
        {
            "strategy_id": ["s1", "s2"],
            "method": "",
            "backtest_result_id": ["r1", "r2"],
            "decision_time": pd.Timestamp("2023-10-31", tz="UTC"),
            "probability": [0.4, 0.6],
            "score": [0.4, 0.6],
            "confidence": [0.5, float("nan")],
            "recommended_stake": [0.01, 0.05],
            "expected_return": [0.001, 0.02],
        }
    )
    write_predictions(empty_registry, frame, ScoredBy("2023-10", "ensemble", 1, "run", StakingSpec()))
    answer = api.get("/api/v1/predictions").json()
    predictions = answer["predictions"]
    assert answer["message"] is None
    assert [(row["strategy_id"], row["recommended_stake"], row["confidence"]) for row in predictions] == [
        ("s2", 0.05, None),
        ("s1", 0.01, 0.5),
    ]
    assert (predictions[0]["model_name"], predictions[0]["model_version"]) == ("ensemble", "1")
    assert len(api.get("/api/v1/predictions?as_of=2023-10&limit=1").json()["predictions"]) == 1
    assert api.get("/api/v1/predictions?as_of=2023-12").json()["predictions"] == []
