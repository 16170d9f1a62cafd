"""How often panels are built and rows hashed while a block runs in this process."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cleverbetter_dagster.dataset import panel
from cleverbetter_dagster.services.training import datasets


@contextmanager
def counted_work() -> Iterator[Counter[str]]:
    """Counts `panels` that are built and `hashes` of all rows."""
    counts: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            counts[name] += 1
            return function(*arguments)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panel, "add_features", counting("panels", panel.add_features))
        patch.setattr(datasets, "data_hash", counting("hashes", datasets.data_hash))
        yield counts
