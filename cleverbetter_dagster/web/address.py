"""Where servers listen: addresses, free ports, and who may be listened for without a token."""

import ipaddress
import socket
from dataclasses import dataclass

from pydantic import SecretStr

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import variable_of

LOOPBACK = "127.0.0.1"
ANY_ADDRESS = {"0.0.0.0": LOOPBACK, "::": "::1"}
"""Addresses that mean all of this machine's, each with the one by which the machine reaches itself."""

PORTS_TRIED = 50
TOKEN_VARIABLE = variable_of("api_token")


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Its address as this machine reaches it."""
        host = ANY_ADDRESS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def options(self) -> tuple[str, ...]:
        """It as options of a command."""
        return ("--host", self.host, "--port", str(self.port))


def check_host(token: SecretStr | None, host: str) -> None:
    """Refuse to listen for other machines without a token.

    Raises:
        SettingsError: no token is set and `host` is not this machine's loopback.
    """
    if token is None and not is_loopback(host):
        raise SettingsError(
            f"Will not listen at {host} without a token: whoever reaches it could start jobs and promote models. Set "
            f"{TOKEN_VARIABLE} to a long random text, or listen at 127.0.0.1."
        )


def free_port(wanted: int, host: str = LOOPBACK) -> int:
    """`wanted`, or the next port nobody listens on.

    Raises:
        SettingsError: none of the next ones is free.
    """
    for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise SettingsError(f"No port from {wanted} to {wanted + PORTS_TRIED - 1} is free; choose another with --port.")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "evil.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
