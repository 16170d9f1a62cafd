"""The facts of a day: the champion, its stakes and the windows they are for, and how old all of it is."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.schema import END_DATE, METHOD, START_DATE, STRATEGY
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.redaction import message_of
from cleverbetter_dagster.services.champion.renewal import RENEW_COMMAND, no_stakes
from cleverbetter_dagster.services.champion.stake_inputs import ScoringFacts, read_inputs
from cleverbetter_dagster.services.evaluation.checks import FRESH_DAYS
from cleverbetter_dagster.services.overview.earnings import Earnings, earnings
from cleverbetter_dagster.services.overview.past import past_advice, past_windows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import LedgerEntry
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.strategies import strategy_names

STALE_HOURS = 36
"""Stakes that were not renewed for so long missed a daily renewal (CLEVERBETTER_DAILY_PREDICTIONS_CRON)."""

SHOWN = 20
OPENS, CLOSES, NAME = "opens", "closes", "strategy_name"
NO_ROWS = "No rows are loaded yet: `cleverbetter import --help` says where they come from; a training loads them."


@dataclass(frozen=True, eq=False)
class Today:
    """What a team reads in the morning.

    Attributes:
        stakes: `current_predictions`, the largest first, with `opens` and `closes` of the window each is for (NaT if
            not known) and, in the first `SHOWN`, `strategy_name`.
        scoring: how they were made; None if that was not stored.
        newest_window: when the newest window that is loaded ended; None before the first load.
        earned: None if no window has closed that something was advised for.
        warnings: what is missing or stale, and the command that helps.
    """

    now: datetime
    champion: LedgerEntry | None
    stakes: pd.DataFrame
    scoring: ScoringFacts | None
    newest_window: datetime | None
    earned: Earnings | None
    warnings: tuple[str, ...]

    @property
    def staked(self) -> pd.DataFrame:
        """The strategies with a stake."""
        return self.stakes[self.stakes["recommended_stake"] > 0]


def today(settings: Settings, now: datetime) -> Today:
    """The facts of the day.

    Raises:
        DatabaseError: the database does not answer.
    """
    warnings: list[str] = []
    champion, current = ledger.champion(settings), read_predictions(settings)
    if champion is None or current.empty:
        warnings.append(no_stakes(champion))
    stakes, scoring = _with_windows(settings, champion, current, warnings)
    newest, earned = _past(settings, scoring, warnings)
    warnings += _stale(now, stakes, scoring, newest)
    return Today(now, champion, _named(settings, stakes), scoring, newest, earned, tuple(warnings))


def _with_windows(
    settings: Settings, champion: LedgerEntry | None, current: pd.DataFrame, warnings: list[str]
) -> tuple[pd.DataFrame, ScoringFacts | None]:
    missing = pd.Series(pd.NaT, index=current.index, dtype="datetime64[us, UTC]")
    unknown = current.assign(**{OPENS: missing, CLOSES: missing})
    if champion is None or current.empty:
        return unknown, None
    try:
        inputs = read_inputs(settings, *champion.model, str(current["as_of"].iloc[0]), RENEW_COMMAND)
    except CleverBetterError as error:
        warnings.append(message_of(error))
        return unknown, None
    if inputs is None:
        warnings.append(f"Which windows the stakes are for was not stored: `{RENEW_COMMAND}` does that.")
        return unknown, None
    rows, length = inputs.rows, inputs.rows[END_DATE] - inputs.rows[START_DATE]
    windows = rows[[STRATEGY, METHOD]].assign(**{OPENS: rows[END_DATE], CLOSES: rows[END_DATE] + length})
    return current.merge(windows, on=[STRATEGY, METHOD], how="left"), inputs.facts


def _past(
    settings: Settings, scoring: ScoringFacts | None, warnings: list[str]
) -> tuple[datetime | None, Earnings | None]:
    spec, staking = (scoring.spec, scoring.staking) if scoring else (DatasetSpec(), StakingSpec())
    try:
        windows = past_windows(settings, spec)
    except CleverBetterError as error:
        warnings.append(f"Past windows are missing: {message_of(error)}")
        return None, None
    if windows.empty:
        warnings.append(NO_ROWS)
        return None, None
    return windows[END_DATE].max(), earnings(past_advice(settings, windows), staking)


def _stale(now: datetime, stakes: pd.DataFrame, scoring: ScoringFacts | None, newest: datetime | None) -> list[str]:
    warnings = []
    if newest is not None and now - newest > timedelta(days=FRESH_DAYS):
        warnings.append(
            f"The rows are stale: the newest window that is loaded ended {(now - newest).days} days ago, and at most "
            f"{FRESH_DAYS} are usual. `cleverbetter status` shows what the tables hold."
        )
    if scoring is not None and now - scoring.scored_at > timedelta(hours=STALE_HOURS):
        warnings.append(
            f"The stakes are stale: they were made {age(now - scoring.scored_at)} ago. `{RENEW_COMMAND}` makes them "
            "anew; under `cleverbetter up` that is done daily."
        )
    closed = int((stakes.loc[stakes["recommended_stake"] > 0, CLOSES] < now).sum())
    if closed:
        warnings.append(
            f"The windows of {closed:,} stakes have closed already. Newer rows are needed to stake on what comes next: "
            "`cleverbetter import --help` says where they come from."
        )
    return warnings


def age(span: timedelta) -> str:
    """A span in words.

    >>> age(timedelta(minutes=1)), age(timedelta(hours=5)), age(timedelta(days=3))
    ('1 minute', '5 hours', '3 days')
    """
    seconds = max(span.total_seconds(), 0.0)
    for unit, length, least in (("day", 86400, 2 * 86400), ("hour", 3600, 3600), ("minute", 60, 0)):
        if seconds >= least:
            count = int(seconds // length)
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return "0 minutes"


def _named(settings: Settings, stakes: pd.DataFrame) -> pd.DataFrame:
    shown = set(stakes[STRATEGY].head(SHOWN))
    return stakes.assign(**{NAME: stakes[STRATEGY].map(strategy_names(settings, shown) if shown else {})})
