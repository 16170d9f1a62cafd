"""The charts of a report, each made from numbers of this room. Colours are those of `plots`."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult
from cleverbetter_dagster.evaluation.metrics.calibration_error import reliability_curve
from cleverbetter_dagster.evaluation.plots.models import MODEL, MUTED, SERIES, wilson_interval
from cleverbetter_dagster.evaluation.report.svg import Board, Format
from cleverbetter_dagster.evaluation.report.view import Chart, figure, percent
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows

CURVE_POINTS = 80
"""Points kept of a curve; an eye sees no more at this size."""

HOVERED_POINTS = 16
LOW, HIGH = "#0b6bcb", "#c2506f"
"""Colours of a low and of a high value of a feature."""

ROW_HEIGHT = 24.0
MUTED_FILL = "#9aa5b1"


def reliability_chart(rows: ScoredRows) -> Chart:
    """Observed against stated frequency, by bins of equal mass."""
    curve = reliability_curve(rows.label, rows.probability)
    low, high = wilson_interval(curve.observed, curve.count)
    top = min(1.0, 1.08 * float(max(high.max(), curve.mean_probability.max(), 0.1)))
    board = Board((0.0, top), (0.0, top))
    board.y_axis("were profitable", _whole_percent)
    board.x_axis("stated probability", _whole_percent)
    board.line([(0, 0), (top, top)], MUTED, 1.0, dashed=True)
    board.line(np.column_stack([curve.mean_probability, curve.observed]), MODEL)
    for stated, seen, ends, count in zip(
        curve.mean_probability, curve.observed, zip(low, high, strict=True), curve.count, strict=True
    ):
        board.whisker((stated, ends[0]), (stated, ends[1]), MODEL)
        told = f"stated {percent(stated)}, profitable {percent(seen)} ({percent(ends[0])} to {percent(ends[1])})"
        board.point((stated, seen), MODEL, f"{told}, {count:,} rows")
    caption = f"Calibration error {figure(curve.calibration_error)}. On the dashed line, 30% means 30%."
    return Chart("Reliability", caption, board.svg("reliability diagram"))


def probability_chart(rows: ScoredRows, bins: int = 25) -> Chart:
    """How many rows were given which probability, profitable ones below the others."""
    top = min(1.0, max(0.1, 1.02 * float(rows.probability.max())))
    edges = np.linspace(0.0, top, bins + 1)
    won = rows.label == 1
    profitable, all_rows = (np.histogram(part, edges)[0] for part in (rows.probability[won], rows.probability))
    board = Board((0.0, top), (0.0, 1.05 * float(all_rows.max())))
    board.y_axis("rows", lambda value: f"{value:,.0f}")
    board.x_axis("stated probability", _whole_percent)
    for low, high, good, count in zip(edges[:-1], edges[1:], profitable, all_rows, strict=True):
        told = f"{percent(low)} to {percent(high)}: {count:,} rows, {good:,} profitable"
        board.bar((low, 0.0), (high, float(good)), MODEL, told)
        board.bar((low, float(good)), (high, float(count)), MUTED_FILL, told)
    legend = ((MODEL, "profitable next window"), (MUTED_FILL, "not profitable"))
    caption = f"How the {len(rows):,} test rows spread over the probabilities they were given."
    return Chart("Stated probabilities", caption, board.svg("histogram of probabilities"), legend)


def roc_chart(scored: Mapping[str, ScoredRows]) -> Chart:
    """ROC curves, the first as the model."""
    from sklearn.metrics import roc_auc_score, roc_curve

    board = Board((0.0, 1.0), (0.0, 1.0))
    board.y_axis("profitable windows found", _whole_percent)
    board.x_axis("others let through", _whole_percent)
    board.line([(0, 0), (1, 1)], MUTED, 1.0, dashed=True)
    legend = []
    for index, (name, rows) in _last_first(scored):
        if not 0 < rows.label.mean() < 1:
            continue
        false_positive, true_positive, threshold = roc_curve(rows.label, rows.probability)
        points = np.column_stack([false_positive, true_positive])
        kept = _spread(false_positive, CURVE_POINTS)
        board.line(points[kept], _colour(index), _width(index))
        legend.append((_colour(index), f"{name} {figure(roc_auc_score(rows.label, rows.probability))}"))
        if not index:
            for place in _spread(false_positive, HOVERED_POINTS)[1:-1]:
                told = f"from {percent(threshold[place])}: {percent(true_positive[place])} of the profitable windows"
                board.point(tuple(points[place]), MODEL, f"{told}, {percent(false_positive[place])} of the others", 2.5)
    caption = "Area under the curve beside each name; the dashed line is chance."
    return Chart("ROC", caption, board.svg("ROC curves"), tuple(reversed(legend)))


def precision_recall_chart(scored: Mapping[str, ScoredRows]) -> Chart:
    """Precision against recall, the first as the model."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = {}
    for name, rows in scored.items():
        if rows.label.any():
            precision, recall, threshold = precision_recall_curve(rows.label, rows.probability)
            settled = recall >= 0.03  # the first few rows alone make precision jump between 0 and 1
            curves[name] = precision[settled], recall[settled], np.append(threshold, 1.0)[settled]
    top = min(1.0, 1.1 * max((float(precision.max()) for precision, _, _ in curves.values()), default=1.0))
    board = Board((0.0, 1.0), (0.0, top))
    board.y_axis("precision", _whole_percent)
    board.x_axis("recall", _whole_percent)
    base_rate = float(next(iter(scored.values())).label.mean())
    board.line([(0, base_rate), (1, base_rate)], MUTED, 1.0, dashed=True)
    legend = []
    for index, (name, rows) in _last_first(scored):
        if name not in curves or len(np.unique(rows.probability)) == 1:
            continue
        precision, recall, threshold = curves[name]
        board.line(np.column_stack([recall, precision])[_spread(recall, CURVE_POINTS)], _colour(index), _width(index))
        legend.append((_colour(index), f"{name} {figure(average_precision_score(rows.label, rows.probability))}"))
        if not index:
            for place in _spread(recall, HOVERED_POINTS):
                told = f"from {percent(threshold[place])}: {percent(precision[place])} of those called are profitable"
                board.point((recall[place], precision[place]), MODEL, f"{told}, {percent(recall[place])} found", 2.5)
    caption = "Average precision beside each name; the dashed line is the share of profitable windows."
    return Chart("Precision and recall", caption, board.svg("precision-recall curves"), tuple(reversed(legend)))


def bankroll_chart(allocations: Mapping[str, AllocationResult]) -> Chart:
    """Bankroll over decision times, the first as the model."""
    times, curves = _time_axis(allocations), {name: one.bankroll / one.bankroll[0] for name, one in allocations.items()}
    everything = np.concatenate(list(curves.values()))
    spare = 0.06 * max(float(np.ptp(everything)), 0.02)
    board = Board((times[0], times[-1]), (float(everything.min()) - spare, float(everything.max()) + spare))
    board.y_axis("bankroll, start = 1", lambda value: figure(value, 2))
    _month_axis(board, times)
    board.line([(times[0], 1.0), (times[-1], 1.0)], MUTED, 1.0, dashed=True)
    for index, (name, curve) in _last_first(curves):
        own = _time_axis({name: allocations[name]})
        board.line(np.column_stack([own, curve]), _colour(index), _width(index))
        for time, value in zip(own, curve, strict=True):
            told = f"{name}, {_date(time)}: {figure(value)} ({percent(value - 1, signed=True)})"
            board.point((time, value), _colour(index), told, 2.8 if not index else 1.6)
    legend = [
        (_colour(index), f"{name} {percent(one.growth, signed=True)}")
        for index, (name, one) in enumerate(allocations.items())
    ]
    caption = "Stakes of every decision time settled together, gains reinvested; growth beside each name."
    return Chart("Bankroll", caption, board.svg("bankroll over time"), tuple(legend))


def drawdown_chart(name: str, allocation: AllocationResult) -> Chart:
    """How far the bankroll was below its highest so far."""
    times, bankroll = _time_axis({name: allocation}), allocation.bankroll
    peak = np.maximum.accumulate(bankroll)
    below = bankroll / peak - 1.0
    board = Board((times[0], times[-1]), (min(1.1 * float(below.min()), -0.01), 0.0))
    board.y_axis("below the peak", lambda value: percent(value, 1))
    _month_axis(board, times)
    points = np.column_stack([times, below])
    board.area(points, HIGH)
    board.line(points, HIGH)
    for time, depth in points:
        board.point((time, depth), HIGH, f"{_date(time)}: {percent(depth)} below the peak", 2.8)
    return Chart("Drawdown", f"Of the bankroll staked by {name}; deepest {percent(float(below.min()))}.",
                 board.svg("drawdown over time"))  # fmt: skip


def impact_chart(values: pd.DataFrame, features: pd.DataFrame, top: int = 12) -> Chart:
    """What each feature adds to or takes from the probability of single rows (SHAP values), strongest on top.

    Args:
        values: SHAP values in probability, shape (n, k).
        features: of the same rows, shape (n, k); the colour tells their rank.
        top: features shown.
    """
    strength = values.abs().mean().nlargest(top)
    reach = 1.05 * float(values[strength.index].abs().to_numpy().max(initial=1e-6))
    board = Board((-reach, reach), (-0.6, len(strength) - 0.4), ROW_HEIGHT * len(strength) + 50, 142)
    board.x_axis("change of the probability", lambda value: percent(value, 0, signed=True))
    board.whisker((0, -0.6), (0, len(strength) - 0.4), "#b8c0c8")
    for row, feature in enumerate(reversed(list(strength.index))):
        rank = features[feature].rank(pct=True).fillna(0.5)
        board.name(row, f"{feature} {percent(strength[feature])}")
        for value, place, shift, seen in zip(
            values[feature], rank, _swarm(values[feature].to_numpy(), reach), features[feature], strict=True
        ):
            board.dot((value, row + shift), _blend(place), f"{feature} = {seen:.4g}: {percent(value, signed=True)}")
    legend = ((LOW, "low value of the feature"), (HIGH, "high value"))
    caption = f"SHAP values of {len(values)} test rows, a dot each; beside a name the mean size of its effect."
    return Chart("What moves the probability", caption, board.svg("SHAP values by feature"), legend)


def forest_chart(title: str, rows: Sequence[tuple[str, Interval | None]], shown: Format, caption: str) -> Chart:
    """Estimates below each other, each with its interval; the first is drawn as the model."""
    known = [interval for _, interval in rows if interval is not None]
    ends = [end for one in known for end in (one.low, one.high)] or [0.0, 1.0]
    spare = 0.06 * (max(ends) - min(ends))
    board = Board((min(ends) - spare, max(ends) + spare), (-0.7, len(rows) - 0.3), ROW_HEIGHT * len(rows) + 36, 112, 30)
    board.x_axis("", shown)
    for index, (name, interval) in enumerate(rows):
        height, colour = len(rows) - 1 - index, MODEL if not index else MUTED
        board.name(height, name, "strong" if not index else "name")
        if interval is not None:
            board.whisker((interval.low, height), (interval.high, height), colour)
            told = f"{name}: {shown(interval.point)} ({shown(interval.low)} to {shown(interval.high)})"
            board.point((interval.point, height), colour, told, 4.0)
    return Chart(title, caption, board.svg(f"{title} with intervals"))


def monthly_chart(title: str, caption: str, series: Mapping[str, tuple[Sequence[str], Sequence[Interval | None]]],
                  shown: Format, reference: float | None = None) -> Chart:  # fmt: skip
    """A metric by month for each of several models: points with their intervals.

    Args:
        title, caption: of the chart.
        series: of each model its months (`2023-12`), ascending, and an estimate for each.
        shown: formats a value.
        reference: a level drawn across, such as 0.5 for an AUC.
    """
    known = [one for _, values in series.values() for one in values if one is not None]
    months = sorted({month for of, _ in series.values() for month in of})
    ends = [end for one in known for end in (one.low, one.high)] + ([] if reference is None else [reference])
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    spare = 0.05 * (high - low)
    board = Board((-0.5, max(len(months) - 0.5, 0.5)), (low - spare, high + spare))
    board.y_axis("", shown)
    step = max(1, len(months) // 5)
    board.x_axis("", lambda place: months[round(place)], list(range(0, len(months), step)))
    if reference is not None:
        board.line([(-0.5, reference), (len(months) - 0.5, reference)], MUTED, 1.0, dashed=True)
    for index, (name, (of, values)) in enumerate(series.items()):
        shift = (index - (len(series) - 1) / 2) * 0.18
        for month, one in zip(of, values, strict=True):
            if one is not None:
                place = months.index(month) + shift
                board.whisker((place, one.low), (place, one.high), _colour(index))
                told = f"{name}, {month}: {shown(one.point)} ({shown(one.low)} to {shown(one.high)})"
                board.point((place, one.point), _colour(index), told, 3.0)
    legend = tuple((_colour(index), name) for index, name in enumerate(series))
    return Chart(title, caption, board.svg(title), legend)


def _time_axis(allocations: Mapping[str, AllocationResult]) -> FloatArray:
    """Days of the decision times, and when the last one's windows have ended."""
    times = sorted({time for one in allocations.values() for time in one.decision_time})
    days = np.array([time.timestamp() / 86400 for time in times])
    return np.append(days, days[-1] + (np.median(np.diff(days)) if len(days) > 1 else 30.0))


def _month_axis(board: Board, days: FloatArray) -> None:
    first, last = (pd.Timestamp(day, unit="D", tz="UTC") for day in (days[0], days[-1]))
    months = AsOf.range(AsOf.of(first), AsOf.of(last))
    starts = [month.start for month in months if month.start >= first.normalize()]
    kept = starts[:: max(1, -(-len(starts) // 5))]
    board.x_axis("", lambda day: f"{pd.Timestamp(day, unit='D'):%b %Y}", [t.timestamp() / 86400 for t in kept])


def _date(day: float) -> str:
    return f"{pd.Timestamp(day, unit='D'):%Y-%m-%d}"


def _whole_percent(value: float) -> str:
    return percent(value, 0)


def _colour(index: int) -> str:
    return SERIES[index % len(SERIES)]


def _width(index: int) -> float:
    return 1.3 if index else 2.2


def _last_first(items: Mapping[str, object]) -> list:
    """Numbered items, the first of them last, so that it is drawn above the others."""
    return list(reversed(list(enumerate(items.items()))))


def _spread(values: FloatArray, count: int) -> np.ndarray:
    """Positions of about `count` points, evenly along the values (which are monotonic), both ends among them."""
    wanted = np.linspace(values[0], values[-1], count)
    ascending = values if values[-1] >= values[0] else values[::-1]
    places = np.searchsorted(ascending, wanted).clip(0, len(values) - 1)
    if ascending is not values:
        places = len(values) - 1 - places
    return np.unique(np.concatenate([[0], places, [len(values) - 1]]))


def _swarm(values: FloatArray, reach: float) -> FloatArray:
    """How far each dot of a row steps aside so that dots of like value do not hide each other, within +-0.38."""
    column = np.round((values + reach) / (2 * reach) * 60).astype(int)
    turn = pd.Series(column).groupby(column).cumcount().to_numpy()
    most = pd.Series(column).groupby(column).transform("size").to_numpy()
    step = np.minimum(0.16, 0.76 / np.maximum(most, 1))
    return np.where(turn % 2 == 0, 1.0, -1.0) * ((turn + 1) // 2) * step


def _blend(share: float) -> str:
    """Between the colours of a low (0) and a high (1) value."""
    ends = [[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in (LOW, HIGH)]
    return "#" + "".join(f"{round(low + (high - low) * share):02x}" for low, high in zip(*ends, strict=True))
