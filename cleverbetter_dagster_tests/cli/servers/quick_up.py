"""`cleverbetter` with two services that start at once in place of MLflow's and Dagster's, for trying `up` itself."""

import sys

from rich.console import Console

from cleverbetter_dagster.cli.main import main
from cleverbetter_dagster.cli.servers import supervisor as supervision
from cleverbetter_dagster.cli.servers import up
from cleverbetter_dagster.cli.servers.processes import Service, _got
from cleverbetter_dagster.cli.servers.supervisor import Supervisor
from cleverbetter_dagster.web.address import Address, free_port

# It starts a child, as Dagster's code server does, and says so in its log.
SERVER = """
import http.server, subprocess, sys
print("serving", flush=True)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def _start_all(supervisor: Supervisor, servers: up._Servers, console: Console) -> None:
    supervisor.watch_database()
    for name in ("first", "second"):
        address = Address(servers.host, free_port(supervisor.settings.dagster_port, servers.host))
        url = address.url
        log = supervisor.settings.state_folder / "logs" / f"{name}.log"
        command = (sys.executable, "-c", SERVER, address.host, str(address.port))
        supervisor.wait_for(supervisor.start(Service(name, command, lambda url=url: _got(url), log, url)))


if __name__ == "__main__":
    up._start_all = _start_all
    supervision.FIRST_PAUSE_SECONDS = 0.01
    up.PROGRAM = (sys.executable, "-m", "cleverbetter_dagster_tests.cli.servers.quick_up")
    main()
