"""Starts services, waits until each answers, and says which one died. Restarts nothing."""

import signal
import subprocess
import time
from pathlib import Path

from cleverbetter_dagster.cli.servers.processes import Service
from cleverbetter_dagster.cli.servers.running import ProcessRecord
from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.settings import UP_TOKEN, Settings

START_TIMEOUT_SECONDS = 180.0
POLL_SECONDS = 0.25


class ServiceFailed(CleverBetterError):
    """A service did not start, or ended by itself."""


class Supervisor:
    """The services of one `cleverbetter up`.

    Args:
        settings: whose home they work in, and whether PostgreSQL is one of ours.
        token: what every process started here carries in its environment.

    Attributes:
        records: what was started so far.
    """

    def __init__(self, settings: Settings, token: str) -> None:
        self.settings = settings
        self.token = token
        self._running: dict[Service, subprocess.Popen[bytes]] = {}
        self.records: list[ProcessRecord] = []

    def start(self, service: Service) -> Service:
        """Start a service and return at once."""
        process = service.start(self.settings.home, {UP_TOKEN: self.token})
        self._running[service] = process
        self.records.append(ProcessRecord.of(service.name, process.pid, service.url))
        return service

    def wait_for(self, service: Service) -> None:
        """Wait until a started service answers.

        Raises:
            ServiceFailed: it does not within START_TIMEOUT_SECONDS, or another one died meanwhile.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not service.answers():
            self.check_alive()
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"{service.name} did not answer within {START_TIMEOUT_SECONDS:.0f} s. {_end_of(service.log)}"
                )
            time.sleep(POLL_SECONDS)

    def check_alive(self) -> None:
        """Look once.

        Raises:
            ServiceFailed: a service, or the embedded PostgreSQL, has ended; the message has its last words.
        """
        from cleverbetter_dagster.store.postgres.database import embedded_folder
        from cleverbetter_dagster.store.postgres.postmaster import live_postmaster

        for service, process in self._running.items():
            code = process.poll()
            if code is not None:
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                raise ServiceFailed(f"{service.name} {how}. {_end_of(service.log)}")
        folder = embedded_folder(self.settings)
        if self.settings.uses_embedded_database and live_postmaster(folder) is None:
            raise ServiceFailed(f"PostgreSQL has ended. {_end_of(folder / 'server.log')}")


def _end_of(log: Path, lines: int = 15) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"The end of {log}:\n" + "\n".join(text.splitlines()[-lines:])
