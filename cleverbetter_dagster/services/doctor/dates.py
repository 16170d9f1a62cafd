"""The doctor's checks of what is not loaded: rows that no month has, rows of methods left out, undated features."""

from collections import Counter
from collections.abc import Iterable, Iterator

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import TablesInUse
from cleverbetter_dagster.services.doctor.lines import DoctorLine
from cleverbetter_dagster.settings import Settings, variable_of
from cleverbetter_dagster.store.postgres.giving_way import is_cancelled, read_session
from cleverbetter_dagster.store.source.instants import count_undated_features, counts_without_month, left_out_rows
from cleverbetter_dagster.store.source.layout import SourceLayout

TIMEOUT_MILLISECONDS = 10_000


def dates(settings: Settings, layout: SourceLayout) -> Iterator[DoctorLine]:
    """Rows that are not loaded because of their date or method, and market features with an impossible time."""
    first = AsOf.parse(settings.first_month)
    undated_query = count_undated_features(layout)
    limit = f"SET LOCAL statement_timeout = {TIMEOUT_MILLISECONDS}"
    try:
        with read_session(settings) as session:
            counts = session.rows_or_none(counts_without_month(layout, first.start), is_cancelled, limit)
            times = session.rows_or_none(undated_query, is_cancelled, limit) if undated_query else [(0,)]
            methods = left_out_rows(layout) if layout.left_out_methods else None
            left_out = session.rows_or_none(methods, is_cancelled, limit) if methods else []
    except TablesInUse as error:
        yield DoctorLine("dates", "warn", str(error), "Ask again when the tables are not being altered.")
        return
    if counts is None or times is None or left_out is None:
        remedy = f"An index on {layout.window_end.name} of {layout.results} makes it quick."
        yield DoctorLine("dates", "warn", "counting the rows without a month took too long", remedy)
        return
    ((without_month, early),), ((undated,),) = counts, times
    if without_month:
        message = f"{without_month:,} rows of {layout.results} are in no month: their end_date is missing or impossible"
        remedy = (
            "Correct them there. `cleverbetter quarantine list --column end_date` names them once months were "
            "loaded, and `cleverbetter quarantine retry` settles them."
        )
        yield DoctorLine("dates", "warn", message, remedy)
    if early:
        message = f"{early:,} rows of {layout.results} end before the first partition, {first}, and are not loaded"
        yield DoctorLine("dates", "warn", message, "Set CLEVERBETTER_FIRST_MONTH to an earlier month to load them.")
    if undated and layout.features:
        message = f"{undated:,} rows of {layout.features.relation} have a time that cannot be right"
        yield DoctorLine("dates", "warn", message, "Correct it; until then they count as older than all others.")
    if not (without_month or early or undated):
        yield DoctorLine("dates", "ok", "every row is in a month")
    yield from _methods(left_out)


def _methods(left_out: Iterable[tuple[str, str, int]]) -> Iterator[DoctorLine]:
    """What is left out by its method; nothing where no row is."""
    counts: Counter[str] = Counter()
    for _, method, rows in left_out:
        counts[method] += rows
    if counts:
        listed = ", ".join(f"{method}: {rows:,}" for method, rows in counts.most_common())
        message = f"rows left out because their method is no backtest ({variable_of('left_out_methods')}): {listed}"
        yield DoctorLine("methods", "ok", message)
