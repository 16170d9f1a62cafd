"""A real S3 server on this machine, moto's, that can be made slow to answer, deaf, forbidding or forgetful."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "ann", "AWS_SECRET_ACCESS_KEY": "hunter22", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "racing"

AWAY = "503 ServiceUnavailable"

Start = Callable[[str, list[tuple[str, str]]], Any]
FAULT = """<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"""


@dataclass
class S3Server:
    """The server, and what is wrong with it.

    Attributes:
        url: of our place in its bucket.
        faults: what the next requests get instead of their answer, the first one first: an S3 error code with its HTTP
            status, such as `403 AccessDenied`; `cut`: half of the answer.
        is_away: whether it answers everything with 503.
        asked: method and path of every request.
    """

    url: str = f"s3://{BUCKET}/team"
    faults: list[str] = field(default_factory=list)
    is_away: Callable[[], bool] = bool
    asked: list[str] = field(default_factory=list)
    application: Any = None

    def __call__(self, request: dict[str, Any], start: Start) -> Iterable[bytes]:
        self.asked.append(f"{request['REQUEST_METHOD']} {request['PATH_INFO']}")
        fault = AWAY if self.is_away() else self.faults.pop(0) if self.faults else ""
        if fault and fault != "cut":
            status, _, code = fault.partition(" ")
            start(f"{status} {code}", [("Content-Type", "application/xml")])
            return [] if request["REQUEST_METHOD"] == "HEAD" else [FAULT.format(code=code).encode()]
        answer = b"".join(self.application(request, start))
        return [answer[: len(answer) // 2] if fault else answer]


@contextmanager
def serving_s3(patch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server, with an empty bucket, and the environment by which its clients find it."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None:
            pass

    server = S3Server(application=DomainDispatcherApplication(create_backend_app))
    http = make_server("127.0.0.1", 0, server, threaded=True, request_handler=Quiet)
    with _in_thread(http):
        for name, value in KEYS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{http.server_port}")
        forget_clients()
        backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        backend.reset()
        backend.create_bucket(BUCKET, KEYS["AWS_DEFAULT_REGION"])
        yield server
        forget_clients()


def forget_clients() -> None:
    """The next store makes a new client, which asks the environment where the server is."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@contextmanager
def _in_thread(http: Any) -> Iterator[None]:
    from threading import Thread

    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
