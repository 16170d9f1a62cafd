"""`cleverbetter down`: stop what is left running."""

import signal
import time

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import print_json, progress_console, result_console
from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.web.up_processes import UpRecord, read_record, record_path, stop_processes

UP_TIMEOUT_SECONDS = 60.0


def down(as_json: AsJson = False) -> None:
    """Stop what `cleverbetter up` started, and the embedded PostgreSQL."""
    from cleverbetter_dagster.store.postgres.database import embedded_folder
    from cleverbetter_dagster.store.postgres.embedded import stop_server

    settings = load_settings()
    stopped = 0
    with progress_console(quiet=as_json).status("stopping"):
        record = read_record(record_path(settings))
        if record is not None:
            stopped += _end_up(record) + stop_processes(record.token)
            record_path(settings).unlink(missing_ok=True)
        # Also if DATABASE_URL has been set since: nothing else would stop the embedded server.
        stopped += stop_server(embedded_folder(settings))
    if as_json:
        print_json({"home": settings.home, "stopped": stopped > 0})
        return
    message = f"Stopped {settings.home}." if stopped else f"Nothing was running for {settings.home}."
    result_console().print(message)


def _end_up(record: UpRecord) -> int:
    """Ask `up` itself to end, which stops its services in order, and give it the time."""
    process = record.up.process()
    if process is None:
        return 0
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + UP_TIMEOUT_SECONDS
    while record.up.process() and time.monotonic() < deadline:
        time.sleep(0.1)
    return 1
