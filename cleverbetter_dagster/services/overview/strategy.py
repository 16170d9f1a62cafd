"""One strategy: its name, its past windows, what was advised for them and came of it, and why it has its stake."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL_TIME, NEXT_ROI, NEXT_START
from cleverbetter_dagster.dataset.schema import END_DATE, METHOD, ROI, START_DATE, STRATEGY, TOTAL_BETS
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import CleverBetterError, NotStored
from cleverbetter_dagster.redaction import message_of
from cleverbetter_dagster.services.champion.renewal import RENEW_COMMAND, no_stakes
from cleverbetter_dagster.services.champion.stake_inputs import StakeInputs, read_inputs
from cleverbetter_dagster.services.overview.past import past_advice, past_windows
from cleverbetter_dagster.services.overview.reasons import Reasons, reasons_of
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import LedgerEntry
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.strategies import strategies_named, strategy_names
from cleverbetter_dagster.store.tracking.package import StrategyModel, load_model

SHOWN = 24
"""Most past windows and predictions of a method, the newest."""

MOST_NAMESAKES = 5
LISTED = "`cleverbetter predict` lists strategies with a stake."

Load = Callable[[Settings, str], StrategyModel]


@dataclass(frozen=True)
class PastWindow:
    """A backtest: its window, its return and its bets."""

    start: datetime
    end: datetime
    roi: float
    bets: float


@dataclass(frozen=True)
class PastPrediction:
    """What a model said before a window, and what came of it.

    Attributes:
        opens, closes, roi: of the window that followed; None as long as it is not known.
        in_time: whether it was written before that window closed; else it was scored afterwards, as in a backfill.
    """

    as_of: str
    model: str
    decided: datetime
    probability: float
    stake: float
    opens: datetime | None
    closes: datetime | None
    roi: float | None
    in_time: bool


@dataclass(frozen=True)
class Today:
    """What the champion says now. The window it is for begins where the last one ended, and is taken to be as long."""

    model: str
    as_of: str
    scored_at: datetime
    opens: datetime | None
    closes: datetime | None
    probability: float
    confidence: float
    expected_return: float
    stake: float
    reasons: Reasons | None


@dataclass(frozen=True)
class MethodExplanation:
    """A strategy as one method backtests it. `today` is None without a prediction of the champion."""

    method: str
    today: Today | None
    windows: tuple[PastWindow, ...]
    predictions: tuple[PastPrediction, ...]


@dataclass(frozen=True)
class Explanation:
    """Everything about one strategy. `notices` say what is missing, and the command that helps."""

    strategy_id: str
    name: str | None
    methods: tuple[MethodExplanation, ...]
    notices: tuple[str, ...]


def explain_strategy(settings: Settings, wanted: str, load: Load = load_model) -> Explanation:
    """Explain the strategy with this id, or with this name if only one has it.

    Args:
        load: loads the champion, once.

    Raises:
        NotStored: nothing is known of it, or several strategies have this name.
        DatabaseError: the database does not answer.
    """
    notices: list[str] = []
    strategy = wanted.encode(errors="replace").decode()
    spec, current = DatasetSpec(), read_predictions(settings)
    champion = ledger.champion(settings)
    inputs = _inputs(settings, champion, current, notices)
    if inputs is not None:
        spec = inputs.facts.spec
    found = None if "\0" in strategy else _known(settings, strategy, spec, notices)
    if found is None:
        listed = "`cleverbetter status` shows what is there." if current.empty else LISTED
        raise NotStored(
            f"Nothing is known of a strategy {wanted!r}: no row of it is loaded and none of its predictions is stored. "
            f"{listed}"
        )
    strategy, windows, advice = found
    today = _today(settings, current[current[STRATEGY] == strategy], inputs, load, notices)
    if champion is not None and not current.empty and not today:
        notices.append(
            f"{champion} did not score it as of {current['as_of'].iloc[0]}: its newest window ended too long ago, or "
            f"after the last scoring, which `{RENEW_COMMAND}` repeats."
        )
    names = dict.fromkeys([*today, *_methods(windows), *_methods(advice)])
    methods = tuple(
        MethodExplanation(name, today.get(name), _past_windows(windows, name), _past_predictions(advice, name))
        for name in names
    )
    return Explanation(strategy, strategy_names(settings, [strategy]).get(strategy), methods, tuple(notices))


def _inputs(
    settings: Settings, champion: LedgerEntry | None, current: pd.DataFrame, notices: list[str]
) -> StakeInputs | None:
    if champion is None or current.empty:
        notices.append(no_stakes(champion))
        return None
    as_of = str(current["as_of"].iloc[0])
    try:
        inputs = read_inputs(settings, champion.family, champion.version, as_of, RENEW_COMMAND)
    except CleverBetterError as error:
        notices.append(message_of(error))
        return None
    if inputs is None:
        notices.append(f"What the stakes as of {as_of} were made of was not stored: `{RENEW_COMMAND}` does that.")
    return inputs


def _known(
    settings: Settings, strategy: str, spec: DatasetSpec, notices: list[str]
) -> tuple[str, pd.DataFrame, pd.DataFrame] | None:
    """Id, windows and advice of the strategy with this id or name; None if nothing is known of it.

    Raises:
        NotStored: several have this name.
    """
    for one in (strategy, *_namesakes(settings, strategy)):
        windows = pd.DataFrame()
        try:
            windows = past_windows(settings, spec, one)
        except CleverBetterError as error:
            notices.append(f"Past windows are missing: {message_of(error)}")
        advice = past_advice(settings, windows, one)
        if len(windows) or len(advice):
            return one, windows, advice
    return None


def _namesakes(settings: Settings, name: str) -> list[str]:
    found = strategies_named(settings, name)
    if len(found) > 1:
        shown = ", ".join(found[:MOST_NAMESAKES])
        raise NotStored(f"{len(found)} strategies have the name {name!r}; give the id of one: {shown}.")
    return found


def _today(
    settings: Settings, own: pd.DataFrame, inputs: StakeInputs | None, load: Load, notices: list[str]
) -> dict[str, Today]:
    """What the champion says now, by method, the largest stake first."""
    model: StrategyModel | None = None
    if inputs is not None and not own.empty:
        try:
            model = load(settings, f"models:/{inputs.facts.family}/{inputs.facts.version}")
        except CleverBetterError as error:
            notices.append(f"The features that count are missing: {message_of(error)}")
    today = {}
    for row in own.to_dict("records"):
        position = _position(inputs, row)
        reasons, window = None, None
        if inputs is not None and position is not None:
            window = inputs.rows.iloc[position]
            try:
                reasons = reasons_of(inputs, position, model.fitted) if model is not None else None
            except CleverBetterError as error:
                notices.append(f"{message_of(error)} `{RENEW_COMMAND}` scores it again.")
        elif inputs is not None:
            notices.append(f"Its stake is of another scoring than what is stored of it: `{RENEW_COMMAND}` mends that.")
        opens = None if window is None else window[END_DATE]
        today[row[METHOD]] = Today(
            model=f"{row['family']} v{row['model_version']}",
            as_of=row["as_of"],
            scored_at=row["created_at"] if inputs is None else inputs.facts.scored_at,
            opens=opens,
            closes=None if window is None else opens + (window[END_DATE] - window[START_DATE]),
            probability=row["probability"],
            confidence=row["confidence"],
            expected_return=row["expected_return"],
            stake=row["recommended_stake"],
            reasons=reasons,
        )
    return today


def _position(inputs: StakeInputs | None, prediction: dict[Any, Any]) -> int | None:
    """Of a prediction among the inputs; None if they are of another scoring."""
    if inputs is None:
        return None
    rows = inputs.rows
    same = (rows[STRATEGY] == prediction[STRATEGY]) & (rows[METHOD] == prediction[METHOD])
    same &= (rows["probability"] == prediction["probability"]) & (rows["stake"] == prediction["recommended_stake"])
    positions = same.to_numpy().nonzero()[0]
    return int(positions[0]) if len(positions) else None


def _methods(frame: pd.DataFrame) -> list[str]:
    return sorted(set(frame[METHOD])) if len(frame) else []


def _past_windows(windows: pd.DataFrame, method: str) -> tuple[PastWindow, ...]:
    if windows.empty:
        return ()
    own = windows[windows[METHOD] == method].tail(SHOWN)[::-1]
    columns = (own[name].tolist() for name in (START_DATE, END_DATE, ROI, TOTAL_BETS))
    return tuple(PastWindow(*values) for values in zip(*columns, strict=True))


def _past_predictions(advice: pd.DataFrame, method: str) -> tuple[PastPrediction, ...]:
    own = advice[advice[METHOD] == method].sort_values(DECISION_TIME).tail(SHOWN)[::-1]
    return tuple(
        PastPrediction(
            as_of=row["as_of"],
            model=f"{row['family']} v{row['model_version']}",
            decided=row[DECISION_TIME],
            probability=row["probability"],
            stake=row["stake"],
            opens=_or_none(row[NEXT_START]),
            closes=_or_none(row[LABEL_TIME]),
            roi=_or_none(row[NEXT_ROI]),
            in_time=pd.isna(row[LABEL_TIME]) or row["created_at"] <= row[LABEL_TIME],
        )
        for row in own.to_dict("records")
    )


def _or_none(value: Any) -> Any:
    return None if pd.isna(value) else value
