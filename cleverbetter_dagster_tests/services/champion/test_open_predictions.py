"""What earlier predictions hold of the bankroll, from a real table of predictions."""

import pandas as pd
import pytest

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.services.champion.open_predictions import open_stake_fraction
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.predictions import ScoredBy, write_predictions
from cleverbetter_dagster_tests.dataset.panels import example_row, frame


def month_end(as_of: AsOf) -> pd.Timestamp:
    return pd.Timestamp(as_of.plus(1).key, tz="UTC") - pd.Timedelta(seconds=1)


def rolled(months: int, last: str, roi: float) -> pd.DataFrame:
    """Windows of so many months, one ending with every month from 2022-10 to `last`; those before 2023 return 0."""
    ends = AsOf.range(AsOf.parse("2022-10"), AsOf.parse(last))
    return frame(
        [
            example_row(
                id=f"row {end}",
                start_date=pd.Timestamp(end.plus(1 - months).key, tz="UTC"),
                end_date=month_end(end),
                run_date=end.end,
                roi=roi if end.year == 2023 else 0.0,
            )
            for end in ends
        ]
    )


def staked(settings: Settings, rows: pd.DataFrame, stakes: dict[str, float]) -> None:
    for month, stake in stakes.items():
        row = rows[rows["id"] == f"row {month}"].iloc[0]
        prediction = pd.DataFrame(
            {
                "strategy_id": [row["strategy_id"]],
                "method": row["method"],
                "backtest_result_id": row["id"],
                "decision_time": row["end_date"],
                **dict.fromkeys(["probability", "score", "confidence"], 0.6),
                "recommended_stake": stake,
                "expected_return": 0.1,
            }
        )
        write_predictions(settings, prediction, ScoredBy(month, "ensemble", 1, "run", StakingSpec()))


def held(settings: Settings, rows: pd.DataFrame, as_of: str) -> float:
    month = AsOf.parse(as_of)
    return open_stake_fraction(settings, build_panel(rows, month.end, DatasetSpec()), month)


def test_windows_of_three_months_hold_their_stakes_until_they_close(database: Settings) -> None:
    rows = rolled(3, "2023-04", roi=0.5)
    assert held(database, rows, "2023-01") == 0.0
    staked(database, rows, {"2023-01": 0.4, "2023-02": 0.2})
    assert [held(database, rows, month) for month in ("2023-01", "2023-02")] == [0.0, pytest.approx(0.4)]
    assert held(database, rows, "2023-03") == pytest.approx(0.6)
    # In April the first has closed with 0.4 x 0.5 of profit.
    assert held(database, rows, "2023-04") == pytest.approx(0.2 / 1.2)


def test_months_that_follow_one_another_hold_nothing(database: Settings) -> None:
    rows = rolled(1, "2023-04", roi=0.5)
    staked(database, rows, dict.fromkeys(["2023-01", "2023-02", "2023-03"], 0.4))
    assert [held(database, rows, f"2023-0{month}") for month in range(1, 5)] == [0.0] * 4
