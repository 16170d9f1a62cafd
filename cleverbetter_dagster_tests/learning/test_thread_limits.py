"""Threads of BLAS and OpenMP are limited in a block, and as before after it."""

import sys

import pytest
from threadpoolctl import ThreadpoolController, threadpool_info

import cleverbetter_dagster.learning.thread_limits as module
from cleverbetter_dagster.learning.thread_limits import at_most


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info()}


def test_a_block_has_at_most_so_many_threads() -> None:
    with at_most(2):
        assert threads() == {2}
        with at_most({"openmp": 1, "blas": 1}):
            assert threads() == {1}
        assert threads() == {2}


def test_libraries_are_looked_for_after_imports_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def look() -> ThreadpoolController:
        looked.append(True)
        return ThreadpoolController()

    monkeypatch.setattr(module, "ThreadpoolController", look)
    monkeypatch.setitem(sys.modules, "a module of this test", module)
    for _ in range(3):
        with at_most(1):
            pass
    assert looked == [True]
