"""The table of skill pairs forecasters by month and measures the way to the oracle."""

import pandas as pd
import pytest

from cleverbetter_dagster_tests.benchmarks.bench_skill import BASELINE, ORACLE, WITHOUT, skills


def asked() -> pd.DataFrame:
    """Two rows in each of six months, one of a young strategy; all forecasters rank them rightly but the baseline."""
    rows = []
    for month in range(1, 7):
        for label, young in ((1.0, month % 2), (0.0, month // 2 % 2)):
            rows.append(
                {
                    "decision_time": pd.Timestamp(2023, month, 20, tz="UTC"),
                    "label": label,
                    "windows_seen": 3.0 if young else 30.0,
                    "edge_sharpe": label,
                    ORACLE: label,
                    BASELINE: 1.0 - label if month < 4 else label,
                    "p_ensemble": 0.8 if label else 0.2,
                    f"p_{WITHOUT}": 0.7 if label else 0.3,
                    f"p_{BASELINE}": 0.5,
                }
            )
    return pd.DataFrame(rows)


def test_brier_scores_are_paired_by_month() -> None:
    found = {one.name: one for one in skills(asked(), {"ensemble": 1.5, WITHOUT: 1.0, BASELINE: 0.0}, WITHOUT)}
    change = found["ensemble"].brier_change
    assert change is not None and change.point == pytest.approx(0.2**2 - 0.3**2)
    assert found["ensemble"].brier == pytest.approx(0.04) and found["ensemble"].cpu_seconds == 1.5
    assert found[WITHOUT].brier_change is None


def test_the_way_leads_from_the_baseline_to_the_oracle() -> None:
    found = {one.name: one for one in skills(asked(), {"ensemble": 1.5, WITHOUT: 1.0, BASELINE: 0.0}, WITHOUT)}
    assert (found[ORACLE].way, found["ensemble"].way) == (1.0, 1.0)
    assert found[ORACLE].brier is None
