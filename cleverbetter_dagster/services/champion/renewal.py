"""The stakes of the champion: scored at once after a decision, and what to say as long as there are none."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import CleverBetterError, NotStored
from cleverbetter_dagster.services.champion.staking_options import changed_options
from cleverbetter_dagster.services.ingest.change_detection import newest_with_rows
from cleverbetter_dagster.services.stored_assets import stored_rows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import LedgerEntry
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.source.load_log import read_load_log

if TYPE_CHECKING:
    import pandas as pd

RENEW_COMMAND = "cleverbetter predict --renew"

log = logging.getLogger(__name__)


def month_to_score(settings: Settings) -> str | None:
    """The month of today's stakes: the newest with loaded rows, or the champion's own if that is later.

    None without loaded rows.
    """
    newest, champion = newest_with_rows(read_load_log(settings)), ledger.champion(settings)
    return max(newest, champion.as_of) if newest and champion else newest


def renew_stakes(settings: Settings, decided: LedgerEntry) -> None:
    """Score every live strategy with the model a decision made *the* champion; nothing where it made another one.

    The decision stands where that fails: a warning says why, and how to do it again.
    """
    champion = ledger.champion(settings)
    if champion is None or champion.model != decided.model:
        return
    try:
        _score(settings)
    except CleverBetterError as error:
        log.warning("%s The last attempt failed: %s", no_stakes(champion), error)


def stakes_line(settings: Settings) -> str:
    """In one sentence for people, which stakes there are now."""
    champion = ledger.champion(settings)
    current = read_predictions(settings)
    if champion is None or current.empty:
        return no_stakes(champion)
    staked = int((current["recommended_stake"] > 0).sum())
    return f"{champion} scored {len(current):,} strategies as of {current['as_of'].iloc[0]}, {staked:,} with a stake."


def no_stakes(champion: LedgerEntry | None) -> str:
    """What whoever asks for stakes is told while there are none."""
    if champion is None:
        return "There are no stakes, because there is no champion: `cleverbetter promote --help` says how to make one."
    return f"There are no stakes of the champion {champion} yet: `{RENEW_COMMAND}` scores the strategies."


def supposed_predictions(settings: Settings, as_of: str, options: Mapping[str, float]) -> "pd.DataFrame":
    """The champion's predictions as of a month if it staked with these options. Changes nothing.

    Raises:
        NotStored: there is no champion as of the month.
        InvalidInput: an option is unknown or out of range.
    """
    from cleverbetter_dagster.services.champion.predict import predict_supposing
    from cleverbetter_dagster.services.training.datasets import panels_of
    from cleverbetter_dagster.store.tracking.package import load_model
    from cleverbetter_dagster.store.tracking.registry import Registry

    champion, month = ledger.champion_at(settings, as_of), AsOf.parse(as_of)
    if champion is None:
        raise NotStored(f"There is no champion as of {as_of} to predict with. {no_stakes(None)}")
    staking = changed_options(Registry(settings).get_version(*champion.model).staking_spec, options)
    model = load_model(settings, f"models:/{champion.family}/{champion.version}")
    return predict_supposing(settings, panels_of(settings, stored_rows(settings, month), month), month, model, staking)


def _score(settings: Settings) -> None:
    # Imported late: pandas, scikit-learn and MLflow come with them, and reading which stakes there are needs neither.
    from cleverbetter_dagster.services.champion.predict import predict_and_write
    from cleverbetter_dagster.services.training.datasets import panels_of

    month = month_to_score(settings)
    if month is None:
        raise NotStored("No rows are loaded yet; the job load_rows loads them.")
    as_of = AsOf.parse(month)
    predict_and_write(settings, panels_of(settings, stored_rows(settings, as_of), as_of), as_of, {})
