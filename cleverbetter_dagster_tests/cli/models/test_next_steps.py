"""Whatever a command tells a person to type next works in that state: every hint that is printed is run."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator

import pytest

from cleverbetter_dagster.cli.models import launch
from cleverbetter_dagster.cli.servers import up
from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster_tests.cli.conftest import command_in
from cleverbetter_dagster_tests.services.overview.advised import MONTHS, advised, make_champion, store_rows

HINT = re.compile(r"`cleverbetter ([^`]+)`|: cleverbetter ([a-z][^\n`]*)")
SIMULATION = SimulationSpec(n_strategies=10, first_month="2023-01", months=4)
MONTH, NO_MONTH = "2023-03", "2019-01"

TYPED = (
    "status",
    "predict",
    f"predict --as-of {MONTH}",
    "predict --renew",
    "predict --what-if kelly_fraction=0.1",
    "explain nobody",
    "compare",
    f"compare --as-of {MONTH}",
    f"compare --as-of {NO_MONTH}",
    "evaluate ensemble",
    f"evaluate ensemble --as-of {MONTH}",
    "report",
    f"report --as-of {MONTH}",
    "report --kind comparison",
    f"report --kind split --as-of {MONTH}",
    "report --kind walk_forward",
    "history",
    "history --decisions",
    "quarantine show 1",
    "rollback --reason tried --yes",
    "rollback --to ensemble 9 --reason tried --yes",
    "promote ensemble 9 --reason tried --yes",
    "retrain",
    "train ensemble",
)
"""What people type first, right or too early."""


class Launched(BaseException):
    """A run would have been launched: the command got as far as it can get without hours of training."""


def empty(_: Settings) -> None:
    """Nothing is there."""


def imported(settings: Settings) -> None:
    """Rows are in the tables, and nothing was trained."""
    files = settings.home / "results.parquet", settings.home / "features.parquet"
    for frame, file in zip(simulate_rows(SIMULATION), files, strict=True):
        frame.to_parquet(file)
    import_files(settings, *files)


def unscored(settings: Settings) -> None:
    """There is a champion, and no stake of it."""
    imported(settings)
    store_rows(settings)
    make_champion(settings, MONTHS[0])


def staked(settings: Settings) -> None:
    """There are stakes."""
    imported(settings)
    advised(settings)


@pytest.fixture
def fresh(empty_registry: Settings) -> Iterator[Settings]:
    """A home and a database with MLflow's tables alone."""
    shutil.rmtree(empty_registry.home)
    empty_registry.home.mkdir()
    with psycopg_connect(empty_registry, "rows", autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS public.backtest_results, public.ml_features CASCADE")
    yield empty_registry
    with psycopg_connect(empty_registry, "rows", autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS public.backtest_results, public.ml_features CASCADE")


def launched(*_: object, **__: object) -> None:
    raise Launched


@pytest.mark.parametrize("state", [empty, imported, unscored, staked])
def test_every_hint_works_in_the_state_it_is_printed_in(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch, state: Callable[[Settings], None]
) -> None:
    state(fresh)
    monkeypatch.setattr(launch, "run_job", launched)
    monkeypatch.setattr(up, "_run", launched)
    run = command_in(fresh, monkeypatch)

    def typed(text: str) -> tuple[int, str]:
        try:
            done = run(*shlex.split(text))
        except Launched:
            return 0, ""
        return done.returncode, done.stdout + done.stderr

    hints: dict[str, str] = {}
    for text in TYPED:
        for quoted, listed in HINT.findall(typed(text)[1]):
            hints.setdefault(quoted or listed.strip(), text)
    assert hints
    tried = {hint: typed(hint) for hint in hints}
    assert {hint: (hints[hint], *done) for hint, done in tried.items() if done[0] != 0} == {}
