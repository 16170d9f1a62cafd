"""Whether MLflow answers: asked before work begins, and noticed when it stops answering in the middle.

By itself MLflow tries for minutes, call after call, and then names an address of its REST API, with the password.
MLflow is imported inside functions.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import wraps
from threading import Thread
from typing import TYPE_CHECKING, Any

import requests
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from cleverbetter_dagster.errors import SettingsError, TrackingUnavailable, causes
from cleverbetter_dagster.store.postgres.transient import is_transient

if TYPE_CHECKING:
    from mlflow import MlflowClient

ANSWER_SECONDS = 8.0
REASON_LENGTH = 200

AWAY = (requests.ConnectionError, requests.Timeout, requests.exceptions.RetryError)
"""What is at the root of MLflow's errors if its server is away. RetryError: it answers 5xx or 429."""

REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")
VARIABLE = "MLFLOW_TRACKING_URI"


class AnsweringClient:
    """MLflow's client, whose calls raise `TrackingUnavailable` if MLflow has stopped answering."""

    def __init__(self, client: "MlflowClient", address: str) -> None:
        self._client = client
        self._address = address

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return _noticing(attribute, self._address) if callable(attribute) else attribute


def require_answer(address: str) -> None:
    """Ask MLflow for one experiment, within `ANSWER_SECONDS` whatever happens.

    Args:
        address: of a tracking server or a database; no message shows its password.

    Raises:
        TrackingUnavailable: it does not answer, or not in time.
        SettingsError: something answers, but is no MLflow, or refuses user or token.
    """
    from mlflow.exceptions import MlflowException

    answer: Future[None] = Future()
    # A daemon, because neither a name server nor a silent server can be interrupted.
    Thread(target=_ask, args=(address, answer), daemon=True).start()
    try:
        answer.result(timeout=ANSWER_SECONDS)
    except TimeoutError:
        raise _unavailable(address, f"no answer within {ANSWER_SECONDS:.0f} s") from None
    except (MlflowException, SQLAlchemyError, OSError, ValueError, ImportError) as error:  # ImportError: no driver
        if _is_away(error):
            raise _unavailable(address, _reason(error)) from None
        raise _unusable(address, error) from None


@contextmanager
def noticing_absence(address: str) -> Iterator[None]:
    """Raise `TrackingUnavailable` in place of what MLflow raises if it has stopped answering."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, SQLAlchemyError, requests.RequestException) as error:
        if _is_away(error):
            raise _unavailable(address, _reason(error)) from None
        raise


def is_database(address: str) -> bool:
    """Whether MLflow keeps its runs in a database at this address, and asks no server."""
    return address.partition(":")[0].partition("+")[0] in ("postgresql", "mysql", "sqlite", "mssql")


def without_login(address: str) -> str:
    """An address for people: without driver, user, password and options.

    >>> without_login("https://ann:secret@mlflow.example:8443/ui?token=x")
    'https://mlflow.example:8443/ui'
    """
    scheme, mark, rest = address.partition("://") if "://" in address else ("", "", address)
    return scheme.partition("+")[0] + mark + rest.rpartition("@")[2].partition("?")[0]


def _ask(address: str, answer: Future[None]) -> None:
    try:
        if is_database(address):
            engine = create_engine(address)
            try:
                engine.connect().close()
            finally:
                engine.dispose()
        else:
            from mlflow import MlflowClient

            MlflowClient(address).search_experiments(max_results=1)
    except Exception as error:  # noqa: BLE001  raised again by whoever waits for the answer
        answer.set_exception(error)
    else:
        answer.set_result(None)


def _noticing(call: Callable[..., Any], address: str) -> Callable[..., Any]:
    @wraps(call)
    def noticing(*arguments: Any, **options: Any) -> Any:
        with noticing_absence(address):
            return call(*arguments, **options)

    return noticing


def _is_away(error: Exception) -> bool:
    return any(isinstance(cause, AWAY) or is_transient(cause) for cause in causes(error))


def _reason(error: Exception) -> str:
    chain = list(causes(error))
    first = chain[-1]
    text = (first.strerror if isinstance(first, OSError) else None) or str(first)
    through = "through the proxy of the environment: " if _through_proxy(chain) else ""
    return f"{through}{' '.join(text.split())}"[:REASON_LENGTH]


def _through_proxy(chain: list[BaseException]) -> bool:
    return any(isinstance(cause, requests.exceptions.ProxyError) for cause in chain)


def _unavailable(address: str, reason: str) -> TrackingUnavailable:
    variable = f"{VARIABLE}, or else DATABASE_URL" if is_database(address) else VARIABLE
    return TrackingUnavailable(
        f"MLflow does not answer at {without_login(address)} ({variable}): {reason}. Start it, or correct {VARIABLE}; "
        "without that variable, runs are kept in the database."
    )


def _unusable(address: str, error: Exception) -> SettingsError:
    place = f"{without_login(address)} ({VARIABLE})"
    if getattr(error, "error_code", None) in REFUSED:
        return SettingsError(
            f"MLflow at {place} refuses this user. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN, to those of a user who may read and write experiments."
        )
    reason = str(error).replace(address, "that address")
    reason = " ".join(reason.split())[:REASON_LENGTH]
    return SettingsError(
        f"MLflow cannot be used at {place}: {reason}. Write the address of a tracking server as http://host:port, or "
        f"of a database; without {VARIABLE}, runs are kept in the database."
    )
