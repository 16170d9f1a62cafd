"""A real HTTP server on this machine that stands for an alert webhook: it answers as told and keeps what it got."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET_PATH = "/services/T0SECRET"


class Webhook:
    """`answers` are given in turn, the last one for good; `bodies` are what was posted."""

    def __init__(self) -> None:
        self.answers: list[int] = [200]
        self.delay_seconds = 0.0
        self.location: str | None = None
        self.bodies: list[dict[str, Any]] = []
        self.address = ""

    @property
    def apprise_url(self) -> str:
        """The same server as a URL of Apprise, which posts JSON of its own."""
        return self.address.replace("http://", "json://", 1)

    @property
    def messages(self) -> list[str]:
        """What Apprise sent."""
        return [body["message"] for body in self.bodies]

    @property
    def texts(self) -> list[str]:
        return [body["text"] for body in self.bodies]


@contextmanager
def webhook_server() -> Iterator[Webhook]:
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Content-Type"] == "application/json"
            hook.bodies.append(body)
            time.sleep(hook.delay_seconds)
            self.send_response(hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0])
            if hook.location:
                self.send_header("Location", hook.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.address = f"http://127.0.0.1:{server.server_port}{SECRET_PATH}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)  # looks so often for its end
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
