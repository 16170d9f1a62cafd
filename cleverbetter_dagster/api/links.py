"""Where the links of a page lead: below this server, and to Dagster's and MLflow's as whoever asks can reach them."""

import re
from functools import cached_property
from urllib.parse import quote, urlsplit

from fastapi import Request

from cleverbetter_dagster.evaluation.report import Link
from cleverbetter_dagster.settings import Settings, variable_of
from cleverbetter_dagster.web.address import LOOPBACK, is_loopback
from cleverbetter_dagster.web.guard import OF_A_PROXY

_PLAIN_NAME = re.compile(r"(?!\.{1,2}$)[^/\\]+")
"""Names that a path carries past every reader of it; the guard refuses others in a path, so they go into the query."""


class Links:
    """The links of one request.

    Attributes:
        notices: why a link is missing, and the setting that brings it.
    """

    def __init__(self, settings: Settings, request: Request) -> None:
        self._settings, self._request = settings, request
        self._root = str(request.scope.get("root_path", ""))
        self.notices: list[str] = []

    @property
    def home(self) -> str:
        """The page of the day."""
        return f"{self._root}/"

    @property
    def search(self) -> str:
        """Where a form sends the name of a strategy."""
        return f"{self._root}/strategies"

    def strategy(self, strategy: str) -> str:
        """The page of a strategy."""
        name = quote(strategy, safe="")
        return f"{self.search}/{name}" if _PLAIN_NAME.fullmatch(strategy) else f"{self.search}?name={name}"

    def report(self, kind: str, as_of: str) -> str:
        """A stored report."""
        return f"{self._root}/reports/{quote(kind, safe='')}/{quote(as_of, safe='')}"

    @cached_property
    def elsewhere(self) -> tuple[Link, ...]:
        """Dagster, MLflow and the description of the API."""
        settings = self._settings
        mlflow = settings.mlflow_tracking_uri or f"http://{LOOPBACK}:{settings.mlflow_port}"
        found = (
            self._server("Dagster", "dagster_link", settings.dagster_link, settings.dagster_address),
            self._server("MLflow", "mlflow_link", settings.mlflow_link, mlflow),
        )
        return (*filter(None, found), Link("API", f"{self._root}/docs"))

    @property
    def all(self) -> tuple[Link, ...]:
        """Those of `elsewhere` after that to the day."""
        return (Link("Today", self.home), *self.elsewhere)

    def _server(self, name: str, field: str, configured: str | None, address: str) -> Link | None:
        """Another server: as configured, or at its own port of the host that this page was asked of."""
        if configured:
            return Link(name, configured)
        place = urlsplit(address)
        if place.scheme not in ("http", "https") or not place.hostname:  # MLflow keeps its runs in a database alone
            return None
        host = place.hostname
        if is_loopback(host):
            if any(OF_A_PROXY.fullmatch(header) for header in self._request.headers):
                self.notices.append(f"Where {name} is behind the proxy is not known: set `{variable_of(field)}`.")
                return None
            host = self._request.url.hostname or LOOPBACK
        shown = f"[{host}]" if ":" in host else host
        return Link(name, f"{place.scheme}://{shown}" + (f":{place.port}/" if place.port else "/"))
