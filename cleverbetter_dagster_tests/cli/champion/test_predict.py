"""`cleverbetter compare` and `predict`, and months that are none."""

import json

import pandas as pd
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.leaderboard import METRICS
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import Decision
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.predictions import ScoredBy, write_predictions
from cleverbetter_dagster_tests.cli.conftest import Command, command_in
from cleverbetter_dagster_tests.store.ledger.test_ledger import Mirror

FAMILY = {"family": "ensemble", "as_of": "2023-06", "run_id": "r", "model_uri": "m", "sha256": "0", "params": {}}
MODEL = {**FAMILY, "trials": 0, "seed": 0, "data_hash": "h", "fitted_rows": 9, "version": 3, "headline": {}}
ROW = {"name": "ensemble", "n_rows": 1234, "n_months": 7, "n_bets": 56} | dict.fromkeys(
    METRICS, Estimate.without("too few", 0.95).model_dump()
)


@pytest.fixture
def command(database: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_in(database, monkeypatch)


@pytest.mark.parametrize("name", ["compare", "predict"])
def test_missing_predictions_and_wrong_months_are_errors(command: Command, name: str) -> None:
    assert command(name).returncode == 4
    assert command(name, "--as-of", "2023-06").returncode == 4
    hostile = command(name, "--as-of", "../../etc/passwd")
    assert (hostile.returncode, "write YYYY-MM" in hostile.stderr, hostile.stdout) == (2, True, "")


def test_the_newest_leaderboard_is_shown(database: Settings, command: Command) -> None:
    store = ArtefactStore(database.artefacts_base)
    for month in ("2023-05", "2023-06"):
        record = {"as_of": month, "leaderboard": [ROW], "models": {"ensemble": MODEL}, "challenger": "ensemble"}
        store.write_json(f"model_comparison/{month}.json", record)
    shown = command("compare")
    assert "Leaderboard as of 2023-06" in shown.stdout
    assert "Challenger: ensemble v3" in shown.stdout
    assert json.loads(command("compare", "--as-of", "2023-05", "--json").stdout)["as_of"] == "2023-05"
    leaderboard = database.home / "leaderboard.xlsx"
    assert "1 row is in" in command("compare", "--xlsx", str(leaderboard)).stderr
    assert pd.read_excel(leaderboard)["n_bets"].tolist() == [56]


def test_predictions_of_the_champion_alone_are_shown(database: Settings, command: Command) -> None:
    ledger.promote(database, Mirror(), Decision("ensemble", 2, "run", "2023-06", "better", "test"), None)
    for version, strategy in ((1, "old"), (2, "new [/] 'x'")):
        frame = pd.DataFrame(
            {
                "strategy_id": [strategy],
                "method": "m",
                "backtest_result_id": "b",
                "decision_time": pd.Timestamp("2023-06-30", tz="UTC"),
                "probability": 0.75,
                "score": 0.7,
                "confidence": 0.5,
                "recommended_stake": 0.04,
                "expected_return": 0.02,
            }
        )
        write_predictions(database, frame, ScoredBy("2023-06", "ensemble", version, "run", StakingSpec()))
    for arguments in ((), ("--as-of", "2023-06")):
        shown = command("predict", *arguments).stdout
        assert "new [/] 'x'" in shown
        assert "4.00%" in shown
        assert "old" not in shown
    assert [row["model_version"] for row in json.loads(command("predict", "--json").stdout)] == [2]
    stakes = database.home / "stakes.xlsx"
    assert command("predict", "--xlsx", str(stakes)).returncode == 0
    written = pd.read_excel(stakes)
    assert (written["strategy_id"].tolist(), written["recommended_stake"].tolist()) == (["new [/] 'x'"], [0.04])
    with psycopg_connect(database, "rows", autocommit=True) as connection:
        connection.execute("CREATE TABLE strategies AS SELECT %s::text AS id, 'Lay the draw' AS name", ["new [/] 'x'"])
    assert "Lay the draw" in command("predict").stdout
