"""The doctor's check of the market features that were loaded last."""

from collections.abc import Iterator

from cleverbetter_dagster.dataset.quality.left_out import left_out_of
from cleverbetter_dagster.services.doctor.lines import DoctorLine
from cleverbetter_dagster.services.stored_assets import newest_rows
from cleverbetter_dagster.settings import Settings, variable_of


def market_features(settings: Settings) -> Iterator[DoctorLine]:
    """Whether something was left out of the market features of the newest month."""
    newest = newest_rows(settings)
    if newest is None:
        return
    month, rows = newest
    if left_out := left_out_of(rows):
        remedy = f"Have upstream write numbers, or name categories in {variable_of('categorical_features')}."
        yield DoctorLine("market features", "warn", f"left out of {month}: {left_out}", remedy)
    else:
        yield DoctorLine("market features", "ok", f"every value of {month} is a number")
