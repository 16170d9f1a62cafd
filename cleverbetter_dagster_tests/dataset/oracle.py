"""The definitions of the package dataset, row by row: slow, simple, and without code of the package.

A row is a plain dictionary. Nothing is sorted without need, summed cumulatively or cached.
"""

import math
from datetime import datetime
from statistics import fmean
from typing import Any

Row = dict[str, Any]


def latest_runs(rows: list[Row], decision: str, as_of_end: datetime | None) -> list[Row]:
    """Rows decided before the end, less those of which a later run is among them; in canonical order."""
    known = [row for row in rows if as_of_end is None or row[decision] < as_of_end]

    def run(row: Row) -> tuple[Any, ...]:
        return row["run_date"], row.get("created_at") or datetime.min.replace(tzinfo=row["run_date"].tzinfo), row["id"]

    latest = [row for row in known if not any(_same_window(row, other) and run(other) > run(row) for other in known)]
    return sorted(latest, key=lambda row: (row[decision], row["strategy_id"], row["start_date"], row["id"]))


def next_window(row: Row, rows: list[Row], decision: str) -> Row | None:
    """The first to be known of the windows that begin once this one is over; None if known when this is decided."""
    following = [
        other
        for other in rows
        if _same_sequence(row, other) and other["start_date"] >= row["end_date"] and other["end_date"] > row["end_date"]
    ]
    if not following:
        return None
    first = min(following, key=lambda other: (other[decision], other["start_date"], other["id"]))
    return first if first[decision] > row[decision] else None


def history(row: Row, rows: list[Row], decision: str) -> list[Row]:
    """What the strategy had done by then, newest first: this row, then those decided strictly before it."""
    earlier = [other for other in rows if _same_sequence(row, other) and other[decision] < row[decision]]
    earlier.sort(key=lambda other: (other[decision], other["start_date"], other["id"]), reverse=True)
    return [row, *earlier]


def population(row: Row, rows: list[Row], decision: str) -> list[Row]:
    """Everybody's rows decided by then, at the same moment included."""
    return [other for other in rows if other[decision] <= row[decision]]


def features(row: Row, rows: list[Row], decision: str) -> dict[str, float]:
    """Every feature of the row except the market's."""
    seen, everybody = history(row, rows, decision), population(row, rows, decision)
    roi = [past["roi"] for past in seen]
    profitable = [float(value > 0) for value in roi]
    sharpe = [_clipped_sharpe(past) for past in seen]
    measured = [value for value in sharpe[:12] if value is not None]
    weights = [0.5 ** (age / 6) for age in range(24)]
    risk = math.sqrt(fmean(value**2 for value in roi[:12]))
    computed = {
        "sharpe_ratio": 0.0 if sharpe[0] is None else sharpe[0],
        "profit_factor": 1.0 if row["profit_factor"] is None else min(row["profit_factor"], 10.0),
        "win_rate": 0.5 if row["win_rate"] is None else row["win_rate"],
        "no_bet": float(row["total_bets"] == 0),
        "no_sharpe_ratio": float(sharpe[0] is None and row["total_bets"] > 0),
        "no_profit_factor": float(row["profit_factor"] is None and row["total_bets"] > 0),
        "no_losing_bet": float((row["profit_factor"] or 0.0) >= 999),
        "log_total_bets": math.log(1 + row["total_bets"]),
        "windows_seen": float(len(seen)),
        "profit_streak": float(_streak(profitable)),
        "mean_roi": fmean(roi),
        "std_roi": math.sqrt(_variance(roi)),
        "profitable_share": fmean(profitable),
        "mean_sharpe_12": fmean(measured) if measured else 0.0,
        "return_to_risk_12": fmean(roi[:12]) / risk if risk else 0.0,
        "ewm_roi": sum(w * v for w, v in zip(weights, roi, strict=False)) / sum(weights[: len(roi)]),
    }
    for name in ("roi", "max_drawdown", "total_bets"):
        computed[name] = row[name]
    for k in (3, 6, 12):
        computed[f"mean_roi_{k}"] = fmean(roi[:k])
        computed[f"profitable_share_{k}"] = fmean(profitable[:k])
    return computed | _estimates(seen, everybody, rows, decision)


def _clipped_sharpe(row: Row) -> float | None:
    value: float | None = row["sharpe_ratio"]
    return None if value is None else min(max(value, -20.0), 20.0)


def cut_times(times: list[datetime], shares: list[float]) -> list[datetime]:
    """For each share, the distinct time before which the share of rows comes closest to it; one after another."""
    distinct = sorted(set(times))
    cuts: list[datetime] = []
    for number, share in enumerate(shares):
        must_remain = len(shares) - number - 1
        candidates = [t for t in distinct[1 : len(distinct) - must_remain] if not cuts or t > cuts[-1]]
        cuts.append(min(candidates, key=lambda t: (abs(sum(x < t for x in times) - share * len(times)), t)))
    return cuts


def _estimates(seen: list[Row], everybody: list[Row], rows: list[Row], decision: str) -> dict[str, float]:
    bets, roi = [past["total_bets"] for past in seen], [past["roi"] for past in seen]
    all_bets, all_roi = [past["total_bets"] for past in everybody], [past["roi"] for past in everybody]
    edge = sum(all_roi) / sum(all_bets) if sum(all_bets) else 0.0
    expected = (sum(roi) + 300 * edge) / (sum(bets) + 300) * fmean(bets)
    std = math.sqrt(
        (len(seen) * _variance(roi) + 2 * _variance_per_bet(everybody, rows, decision) * fmean(bets)) / (len(seen) + 1)
    )
    share = fmean(float(value > 0) for value in all_roi)
    return {
        "shrunk_profitable_share": (sum(value > 0 for value in roi) + 8 * share) / (len(roi) + 8),
        "shrunk_sharpe": max(min(expected / max(std, 1e-4), 20.0), -20.0),
        "shrunk_return": expected,
        "shrunk_std": std,
        "shrunk_gain": _size(1, seen, everybody, unknown=0.0),
        "shrunk_loss": _size(-1, seen, everybody, unknown=1.0),
    }


def _variance_per_bet(everybody: list[Row], rows: list[Row], decision: str) -> float:
    deviations, bets = [], []
    for other in everybody:
        own = [past["roi"] for past in history(other, rows, decision)]
        if len(own) > 1:
            deviations.append((other["roi"] - fmean(own)) ** 2 * len(own) / (len(own) - 1))
            bets.append(other["total_bets"])
    if sum(bets) > 0:
        return sum(deviations) / sum(bets)
    all_bets = sum(other["total_bets"] for other in everybody)
    return sum(other["roi"] ** 2 for other in everybody) / all_bets if all_bets else 0.0


def _size(sign: int, seen: list[Row], everybody: list[Row], unknown: float) -> float:
    def scale(row: Row) -> float:
        return math.sqrt(max(row["total_bets"], 1.0))

    happened_to_all = [row for row in everybody if sign * row["roi"] > 0]
    if not happened_to_all:
        return unknown
    typical = sum(abs(row["roi"]) for row in happened_to_all) / sum(map(scale, happened_to_all))
    usual = fmean(map(scale, seen))
    happened = [row for row in seen if sign * row["roi"] > 0]
    sizes = sum(abs(row["roi"]) for row in happened) + 2 * usual * typical
    return usual * sizes / (sum(map(scale, happened)) + 2 * usual)


def _streak(newest_first: list[float]) -> int:
    length = 0
    for value in newest_first:
        if value != newest_first[0]:
            break
        length += 1
    return length if newest_first[0] else -length


def _variance(values: list[float]) -> float:
    return fmean((value - fmean(values)) ** 2 for value in values)


def _same_sequence(row: Row, other: Row) -> bool:
    return bool(row["strategy_id"] == other["strategy_id"] and row["method"] == other["method"])


def _same_window(row: Row, other: Row) -> bool:
    return _same_sequence(row, other) and (row["start_date"], row["end_date"]) == (
        other["start_date"],
        other["end_date"],
    )
