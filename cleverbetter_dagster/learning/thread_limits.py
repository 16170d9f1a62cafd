"""How many threads BLAS and OpenMP may use while a block runs."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


def at_most(threads: int | Mapping[str, int]) -> AbstractContextManager[object]:
    """At most so many threads in the block, of all libraries, or of `openmp` and `blas`.

    Unlike `threadpoolctl.threadpool_limits`, it looks for libraries only after further modules were imported.
    """
    limits = threads if isinstance(threads, int) else dict(threads)
    return _controller(len(sys.modules)).limit(limits=limits)


@lru_cache(maxsize=1)
def _controller(_modules: int) -> ThreadpoolController:
    return ThreadpoolController()
