"""Starts services, waits until each answers, and starts one again that ends by itself."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from cleverbetter_dagster.cli.servers.processes import Service
from cleverbetter_dagster.errors import CleverBetterError, EmbeddedServerError
from cleverbetter_dagster.settings import UP_TOKEN, Settings
from cleverbetter_dagster.web.up_processes import ProcessRecord, processes_of

START_TIMEOUT_SECONDS = 180.0
POLL_SECONDS = 0.25
RESTARTS = 5
"""How often a service that ends is started again before it is given up."""
FIRST_PAUSE_SECONDS = 1.0
"""The pause before the first restart; each further one is twice as long."""
STEADY_SECONDS = 600.0
"""What ran for this long before it ended has all its restarts again."""
POSTGRESQL = "PostgreSQL"


class ServiceFailed(CleverBetterError):
    """A service did not start, or ended and is given up."""


@dataclass
class _Watched:
    """A service or the embedded PostgreSQL, and how often it was started again.

    Attributes:
        end: how it ended; None while it runs.
        start: start it (again).
        since: when it was started last, in seconds of the monotonic clock.
        due: when it is to be started again, by the same clock; None while it runs or once it is given up.
    """

    name: str
    log: Path
    end: Callable[[], str | None]
    start: Callable[[], None]
    since: float
    restarts: int = 0
    due: float | None = None
    given_up: bool = False

    def tend(self, now: float, say: Callable[[str], None]) -> bool:
        """Look once; start it again when that is due. Whether anything has changed."""
        if self.given_up:
            return False
        if self.due is not None:
            if now < self.due:
                return False
            self.since, self.due, self.restarts = now, None, self.restarts + 1
            try:
                self.start()
            except EmbeddedServerError as error:
                say(str(error))
            return True
        how = self.end()
        if how is None:
            return False
        if now - self.since > STEADY_SECONDS:
            self.restarts = 0
        if self.restarts == RESTARTS:
            self.given_up = True
            say(f"{self.name} {how}, after {RESTARTS} restarts. It is given up. {_end_of(self.log)}")
            return True
        pause = FIRST_PAUSE_SECONDS * 2**self.restarts
        self.due = now + pause
        say(f"{self.name} {how}. Restart {self.restarts + 1} of {RESTARTS} in {pause:.0f} s; its log is {self.log}.")
        return True


class Supervisor:
    """The services of one `cleverbetter up`.

    Args:
        settings: whose home they work in, and whether PostgreSQL is one of ours.
        token: what every process started here carries in its environment.
    """

    def __init__(self, settings: Settings, token: str) -> None:
        self.settings = settings
        self.token = token
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._records: dict[str, ProcessRecord] = {}
        self._watched: dict[str, _Watched] = {}

    @property
    def records(self) -> tuple[ProcessRecord, ...]:
        """What was started so far, each with its latest process."""
        watched = {name: self._watched[name] for name in self._records}
        return tuple(
            replace(self._records[name], restarts=one.restarts, given_up=one.given_up) for name, one in watched.items()
        )

    def start(self, service: Service) -> Service:
        """Start a service and return at once."""
        self._launch(service)
        self._watched[service.name] = _Watched(
            service.name,
            service.log,
            lambda: _how_it_ended(self._processes[service.name]),
            lambda: self._launch_again(service),
            time.monotonic(),
        )
        return service

    def wait_for(self, service: Service) -> None:
        """Wait until a started service answers.

        Raises:
            ServiceFailed: it does not within START_TIMEOUT_SECONDS, or another one died meanwhile.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not service.answers():
            self._check_alive()
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"{service.name} did not answer within {START_TIMEOUT_SECONDS:.0f} s. {_end_of(service.log)}"
                )
            time.sleep(POLL_SECONDS)

    def watch_database(self) -> None:
        """Watch the embedded PostgreSQL too, where it is ours."""
        from cleverbetter_dagster.store.postgres.database import embedded_folder

        if not self.settings.uses_embedded_database:
            return
        log = embedded_folder(self.settings) / "server.log"
        self._watched[POSTGRESQL] = _Watched(
            POSTGRESQL, log, self._how_postgresql_ended, self._start_postgresql, time.monotonic()
        )

    def tend(self, say: Callable[[str], None]) -> bool:
        """Look at everything once, and start again what ended and whose pause is over.

        Args:
            say: told in a sentence or two what ended, and what is done about it.

        Returns:
            Whether `records` have changed.

        Raises:
            ServiceFailed: PostgreSQL or every service is given up.
        """
        now = time.monotonic()
        changed = [one.tend(now, say) for one in list(self._watched.values())]
        services = [one for one in self._watched.values() if one.name != POSTGRESQL]
        if POSTGRESQL in self._watched and self._watched[POSTGRESQL].given_up:
            raise ServiceFailed("Nothing works without PostgreSQL, so all is stopped.")
        if services and all(one.given_up for one in services):
            raise ServiceFailed("Every service is given up, so all is stopped.")
        return any(changed)

    def _check_alive(self) -> None:
        ended = ((one, one.end()) for one in self._watched.values())
        for one, how in ended:
            if how is not None:
                raise ServiceFailed(f"{one.name} {how}. {_end_of(one.log)}")

    def _launch(self, service: Service) -> None:
        process = service.start(self.settings.home, {UP_TOKEN: self.token})
        self._processes[service.name] = process
        self._records[service.name] = ProcessRecord.of(service.name, process.pid, service.url)

    def _launch_again(self, service: Service) -> None:
        if not service.children_go_on:
            for process in _left_of(self.token, self._processes[service.name].pid):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._launch(service)

    def _how_postgresql_ended(self) -> str | None:
        from cleverbetter_dagster.store.postgres.database import embedded_folder
        from cleverbetter_dagster.store.postgres.postmaster import live_postmaster

        return None if live_postmaster(embedded_folder(self.settings)) else "has ended"

    def _start_postgresql(self) -> None:
        from cleverbetter_dagster.store.postgres.database import embedded_folder
        from cleverbetter_dagster.store.postgres.embedded import ensure_server
        from cleverbetter_dagster.store.postgres.postmaster import last_port

        folder = embedded_folder(self.settings)
        before = last_port(folder)
        if ensure_server(folder).port != before:
            raise ServiceFailed(
                f"PostgreSQL's port {before} was taken meanwhile, and the services know no other. "
                "Start `cleverbetter up` again."
            )


def _how_it_ended(process: subprocess.Popen[bytes]) -> str | None:
    code = process.poll()
    if code is None:
        return None
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _left_of(token: str, session: int) -> list[psutil.Process]:
    """What a service that ended has left running: it may hold the service's port."""
    left = []
    for process in processes_of(token):
        with suppress(ProcessLookupError):
            if os.getsid(process.pid) == session:
                left.append(process)
    return left


def _end_of(log: Path, lines: int = 15) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"The end of {log}:\n" + "\n".join(text.splitlines()[-lines:])
