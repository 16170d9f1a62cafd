"""The months of a backfill side by side on workers, with the same results as one after the other.

Months are independent but for one thing: a search begins with the best settings of the month before. So studies follow
each other, and what comes after them does not wait.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rich.console import Console

from cleverbetter_dagster.cli.models.launch import run_job
from cleverbetter_dagster.defs.launches import Launch
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.workers.queue import LANE, MONTHS

MOST_AT_ONCE = 64
"""Months that one command watches. More wait until one of them is done."""

T = TypeVar("T")


@dataclass(frozen=True)
class Month:
    """The training of a month.

    Attributes:
        launch: all of it.
        searches: whether it begins with what the month before found.
    """

    name: str
    launch: Launch
    searches: bool
    studied: threading.Event = field(default_factory=threading.Event)


def run_months(
    settings: Settings, months: Sequence[Month], console: Console, result: Callable[[str, Callable[[], str]], T]
) -> list[T]:
    """Run the launches of months, in their order where they depend on each other.

    Args:
        months: in ascending order.
        console: where ended steps are shown, each with its month.
        result: of a month, given its name and what runs its launch and returns the id of the last run.

    Raises:
        KeyboardInterrupt: it was interrupted; every run is cancelled.
    """
    stop = threading.Event()

    def run(month: Month, before: Month | None) -> str:
        parts = _parts(month)
        try:
            if month.searches and before is not None:
                before.studied.wait()
            for number, part in enumerate(parts):
                run_id = run_job(settings, part, console, label=month.name, stop=stop)
                if number == 0:
                    month.studied.set()
        finally:
            month.studied.set()  # whoever follows begins with what there is
        return run_id

    with ThreadPoolExecutor(min(len(months), MOST_AT_ONCE)) as threads:
        before = [None, *months][: len(months)]
        futures = [
            threads.submit(result, month.name, lambda pair=(month, earlier): run(*pair))  # type: ignore[misc]
            for month, earlier in zip(months, before, strict=True)
        ]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            stop.set()
            raise


def _parts(month: Month) -> list[Launch]:
    """The launch in the lane of months; where it searches, its studies and the rest apart."""
    launch = replace(month.launch, tags={**month.launch.tags, LANE: MONTHS})
    studies = [asset for asset in launch.assets if asset in {f"{family}_study" for family in FAMILIES}]
    if not month.searches or not studies:
        return [launch]
    first = [asset for asset in launch.assets if asset in ("training_rows", "temporal_split")] + studies
    return [_part(launch, first), _part(launch, [asset for asset in launch.assets if asset not in first])]


def _part(launch: Launch, assets: Sequence[str]) -> Launch:
    ops = {name: config for name, config in launch.run_config.get("ops", {}).items() if name in assets}
    return replace(launch, assets=tuple(assets), run_config={"ops": ops})
