"""A transaction in psql: it has the whole restore of a database, and nothing holds until it is committed."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cleverbetter_dagster.store.backups.clients import client_environment, client_program, failed
from cleverbetter_dagster.store.postgres.database import Target

READY, COMMITTED = "ready", "committed"
LEAVE_TIMEOUT_SECONDS = 10.0


class OpenTransaction:
    """psql with a transaction of one database.

    Args:
        target: the database.
        server_version: of its server.
        folder: where its scripts are, and where it writes what it says.
    """

    def __init__(self, target: Target, server_version: int, folder: Path) -> None:
        self._target = target
        self._log = (folder / f"psql-{id(self)}.log").open("w+b")
        program = str(client_program("psql", server_version))
        self._process = subprocess.Popen(
            [program, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password", "-vON_ERROR_STOP=1"],
            cwd=folder,
            env=client_environment(target),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C is for us: we roll back
        )

    def run(self, lines: Sequence[str], done: str = READY) -> None:
        """Give psql lines of a script, and wait until all are done.

        Raises:
            BackupError: one failed; all that the transaction did is undone.
        """
        given, said = self._process.stdin, self._process.stdout
        assert given is not None
        assert said is not None
        with suppress(BrokenPipeError):  # it ended; what it said is reported below
            given.write("\n".join([*lines, f"SELECT '{done}';", ""]))
            given.flush()
        for line in said:
            if line.strip() == done:
                return
        self._log.seek(0)
        raise failed("psql", self._log.read().decode(errors="replace"), self._target)

    def commit(self) -> None:
        """Make it hold.

        Raises:
            BackupError: the server did not commit.
        """
        self.run(["COMMIT;"], COMMITTED)

    def close(self) -> None:
        """End psql; a transaction that was not committed is undone by the server."""
        self._process.kill()
        self._process.wait(LEAVE_TIMEOUT_SECONDS)
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()
