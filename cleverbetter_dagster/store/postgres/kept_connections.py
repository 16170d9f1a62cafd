"""Engines that keep a connection, where the program that makes them would connect anew for each statement.

Dagster makes its engines so, and a connection takes longer than what it is for: a few milliseconds of the processor,
here and in the server. SQLAlchemy finds the plugin by its name in a URL.
"""

from typing import Any

from sqlalchemy.dialects import plugins
from sqlalchemy.engine import CreateEnginePlugin, make_url
from sqlalchemy.engine.url import URL
from sqlalchemy.pool import NullPool, QueuePool

NAME = "cleverbetter.kept"
KEPT = 1
"""Connections that an engine keeps open; as many more as it needs at once are closed after use."""


class KeptConnections(CreateEnginePlugin):
    """Gives an engine without a pool one of `KEPT` connections. One that the server closed is replaced unnoticed."""

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        if kwargs.get("poolclass") is NullPool:
            kwargs |= {"poolclass": QueuePool, "pool_size": KEPT, "max_overflow": -1, "pool_pre_ping": True}

    def update_url(self, url: URL) -> URL:
        """The plugin has nothing of its own in the URL."""
        return url


plugins.register(NAME, __name__, KeptConnections.__name__)


def keeping_connections(url: str) -> str:
    """The URL, with its password, of engines that keep a connection."""
    return make_url(url).update_query_dict({"plugin": NAME}).render_as_string(hide_password=False)
