"""Rows that contradict themselves, columns in other units, and that no rule asks who won."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.quality import rules
from cleverbetter_dagster.dataset.quality.contradictions import OwnCapital
from cleverbetter_dagster.dataset.quality.rules import examine
from cleverbetter_dagster.dataset.quality.unit_evidence import UnitEvidence
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster_tests.dataset.quality.test_rules import rows

NOW = pd.Timestamp("2123-06-01", tz="UTC")
ROWS = 12
RETURNS = [0.064, -0.031, 0.0, 0.2, -0.005, 0.012, -0.11, 0.03, -0.04, 0.0004, 0.07, -0.02]


def with_capital(*returns: float, **changed: list[Any]) -> pa.Table:
    """Rows whose capitals agree with their returns, in cents."""
    final = [round(1000 * (1 + value), 2) for value in returns]
    plain = {"roi": list(returns), "initial_capital": [1000.0] * len(returns), "final_capital": final}
    return rows(len(returns), **(plain | changed))


def reasons(table: pa.Table) -> list[tuple[int, str, str]]:
    violations = examine(table, NOW)[1]
    return list(violations[["position", "column", "reason"]].itertuples(index=False, name=None))


def doubts(table: pa.Table) -> list[tuple[str, str, int, int]]:
    evidence = UnitEvidence()
    evidence.add(table)
    return [(doubt.column, doubt.unit, doubt.wrong, doubt.judged) for doubt in evidence.doubts()]


@pytest.mark.parametrize("written", [0.05, 0.0499, 0.05004, 0.04, 0.06])
def test_a_return_may_be_rounded_or_lack_a_fee(written: float) -> None:
    assert reasons(with_capital(0.05, roi=[written])) == []


@pytest.mark.parametrize("initial", [1.0, 10.0, 1e6])
def test_capitals_may_be_rounded_to_cents(initial: float) -> None:
    final = round(initial * 1.0137, 2)
    table = with_capital(0.0137, initial_capital=[initial], final_capital=[final])
    assert reasons(table) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_a_single_return_in_per_cent_is_refused_as_such(sign: int) -> None:
    found = reasons(with_capital(*RETURNS[:2], sign * 0.05, roi=[*RETURNS[:2], sign * 5.0]))
    assert [(position, column) for position, column, _ in found] == [(2, "roi")]
    assert "which give a hundredth of it" in found[0][2] or "must be at least -1" in found[0][2]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_return_of_another_capital_is_refused(sign: int) -> None:
    ((position, column, reason),) = reasons(with_capital(sign * 0.05, roi=[sign * 0.3]))
    assert (position, column) == (0, "roi")
    assert "it is final / initial - 1" in reason


@pytest.mark.parametrize(("initial", "final"), [(0.0, 5.0), (None, 5.0), (1000.0, None), (float("nan"), 1.0)])
def test_a_missing_capital_contradicts_nothing(initial: float | None, final: float | None) -> None:
    good, violations = examine(with_capital(0.05, initial_capital=[initial], final_capital=[final]), NOW)
    assert (good.num_rows, len(violations)) == (1, 0)


def test_ruin_is_kept_where_the_capital_confirms_it() -> None:
    lost = with_capital(-1.0, -1.25, max_drawdown=[1.0, 1.25])
    assert reasons(lost) == []
    assert [found[1] for found in reasons(with_capital(-1.25, final_capital=[None], max_drawdown=[1.25]))] == [
        "max_drawdown",
        "roi",
    ]


@pytest.mark.parametrize("sign", [1, -1])
def test_nothing_is_won_or_lost_without_a_bet(sign: int) -> None:
    found = reasons(rows(2, roi=[sign * 0.05, 0.0], total_bets=[0, 0], win_rate=[0, 0.4], max_drawdown=[0.0, 0.2]))
    assert [found[:2] for found in found] == [(0, "total_bets"), (1, "win_rate"), (1, "max_drawdown")]


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"winning_bets": [15]}, []),
        ({"winning_bets": [15], "losing_bets": [23]}, []),  # two void bets
        ({"winning_bets": [4]}, ["win_rate"]),
        ({"winning_bets": [15], "losing_bets": [26]}, ["total_bets"]),
        ({"total_stake": [0.0]}, ["total_bets"]),
        ({"total_stake": [36.0]}, []),
    ],
)
def test_counts_and_stakes_agree_with_the_bets(changed: dict[str, list[Any]], wrong: list[str]) -> None:
    assert [column for _, column, _ in reasons(rows(1, total_bets=[40], win_rate=[0.375], **changed))] == wrong


def test_returns_in_per_cent_are_known_by_their_capital() -> None:
    table = with_capital(*RETURNS, roi=[100 * value for value in RETURNS])
    # A return of 0 is the same in both units.
    assert doubts(table) == [("roi", "per cent", 11, 11)]
    good, violations = examine(table, NOW)
    assert good.num_rows == 0
    assert len(violations) == ROWS


def test_per_cent_without_capital_is_known_by_the_losses() -> None:
    per_cent = [100 * value for value in RETURNS]
    assert doubts(rows(ROWS, roi=per_cent)) == [("roi", "per cent", 4, 12)]
    assert doubts(rows(ROWS, roi=[value / 10 for value in per_cent])) == []  # one row: -1.1


def test_a_file_of_small_returns_without_capital_is_undecidable() -> None:
    assert doubts(rows(ROWS, roi=[0.5, -0.3] * 6)) == []


@pytest.mark.parametrize(
    ("column", "values", "unit"),
    [
        ("win_rate", [45.0, 0.8, 37.5, 0.0] * 3, "per cent"),
        ("max_drawdown", [0.4, 0.9, 12.0, 0.0] * 3, "per cent"),
        ("max_drawdown", [-0.04, -0.9, -0.12, 0.0] * 3, "negative"),
    ],
)
def test_a_column_in_another_unit_is_refused_in_every_row(column: str, values: list[float], unit: str) -> None:
    table = rows(ROWS, **{column: values})
    assert [doubt[:2] for doubt in doubts(table)] == [(column, unit)]
    assert examine(table, NOW)[0].num_rows == 0


def test_a_few_wrong_values_leave_the_other_rows_in_peace() -> None:
    table = rows(ROWS, win_rate=[45.0, 30.0] + [0.4] * 10, max_drawdown=[5.0] + [0.1] * 11)
    assert doubts(table) == []
    assert examine(table, NOW)[0].num_rows == ROWS - 2


def test_batches_give_the_same_doubts_as_one_table() -> None:
    table = with_capital(*RETURNS, roi=[100 * value for value in RETURNS], win_rate=[40.0] * ROWS)
    evidence = UnitEvidence()
    for start in range(0, ROWS, 5):
        evidence.add(table.slice(start, 5))
    assert [(doubt.column, doubt.wrong) for doubt in evidence.doubts()] == [("roi", 11), ("win_rate", 12)]
    assert "6.4 in row r1, where 1000 became 1064, which is 0.064" in evidence.doubts()[0].example


def test_simulated_rows_contradict_nothing() -> None:
    results, _ = simulate_rows(SimulationSpec(n_strategies=40, months=6))
    canonical = results.rename(columns={"total_return": "roi"}).drop(columns="recommendation")
    table = pa.Table.from_pandas(canonical, preserve_index=False)
    good, violations = examine(table, NOW)
    assert (good.num_rows, len(violations)) == (len(results), 0)


SPECIAL = [float("nan"), float("inf"), float("-inf"), 999.0, -100.0, 0.0, None]
"""What exporters write for a ratio that has no value."""


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "size": st.floats(0.0, 0.9) | st.sampled_from([1.0, 0.05]),
                "bets": st.sampled_from([0, 1, 40]),
                "written": st.sampled_from([1.0, 1.0, 100.0, 0.5]),  # the return, in these units
                "win_rate": st.sampled_from([0.0, 0.4, 1.0, 40.0, None]),
                "profit_factor": st.sampled_from([1.25, *SPECIAL]),
                "sharpe_ratio": st.sampled_from([1.5, *SPECIAL]),
                "composite_score": st.sampled_from([0.5, *SPECIAL]),
                "max_drawdown": st.sampled_from([0.1, 2.0, -0.1, None]),
                "has_capital": st.booleans(),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_no_rule_asks_who_won(drawn: list[dict[str, Any]]) -> None:
    """The same rows with mirrored returns: each is kept in both worlds, or in none."""
    assert kept(drawn, 1.0) == kept(drawn, -1.0)


def kept(drawn: list[dict[str, Any]], sign: float) -> list[str]:
    implied = [sign * row["size"] if row["bets"] else 0.0 for row in drawn]
    columns: dict[str, list[Any]] = {
        name: [row[name] for row in drawn]
        for name in ("win_rate", "profit_factor", "sharpe_ratio", "composite_score", "max_drawdown")
    }
    # A loss of more than everything is impossible by itself, so a row that a unit would make one has its capital.
    safe = [row["has_capital"] or abs(value * row["written"]) <= 1 for row, value in zip(drawn, implied, strict=True)]
    table = rows(
        len(drawn),
        roi=[value * row["written"] for row, value in zip(drawn, implied, strict=True)],
        total_bets=[row["bets"] for row in drawn],
        initial_capital=[1000.0] * len(drawn),
        final_capital=[
            1000.0 * (1 + value) if row["has_capital"] or not fine else None
            for row, value, fine in zip(drawn, implied, safe, strict=True)
        ],
        **{name: pa.array(values, pa.float64()) for name, values in columns.items()},
    )
    good: list[str] = examine(table, NOW)[0]["id"].to_pylist()
    return good


def special_values_by_outcome(rng: np.random.Generator, count: int) -> pa.Table:
    """Rows of winners and losers in which every ratio without a denominator is written in some exporter's way."""
    roi = rng.normal(0.0, 0.1, count)
    without_value = rng.random(count) < 0.5
    written = rng.choice(np.array([np.nan, np.inf, 999.0, -100.0]), count)
    profit_factor = np.where(without_value & (roi > 0), written, np.where(roi > 0, 1.4, 0.7))
    sharpe = np.where(without_value, np.copysign(np.inf, roi), roi * 20)
    return rows(count, roi=roi, profit_factor=profit_factor, sharpe_ratio=sharpe)


def kept_shares(table: pa.Table) -> tuple[float, float]:
    """Share of the winners and of the losers that is kept."""
    won = table["roi"].to_numpy() > 0
    good = np.isin(table["id"].to_numpy(), examine(table, NOW)[0]["id"].to_numpy())
    return float(good[won].mean()), float(good[~won].mean())


def test_winners_and_losers_are_kept_alike() -> None:
    assert kept_shares(special_values_by_outcome(np.random.default_rng(1), 400)) == (1.0, 1.0)


def test_a_rule_that_asks_who_won_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of old: a profit factor must be finite."""
    usual = rules.contradictions

    def planted(table: pa.Table, capital: OwnCapital) -> Any:
        yield from usual(table, capital)
        yield "profit_factor", ~np.isfinite(table["profit_factor"].to_numpy()), "is NaN or infinite"

    monkeypatch.setattr(rules, "contradictions", planted)
    winners, losers = kept_shares(special_values_by_outcome(np.random.default_rng(1), 400))
    assert winners < 0.9 < losers
