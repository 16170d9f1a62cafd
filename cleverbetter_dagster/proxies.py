"""Keeps proxies out of calls to this machine. `http_proxy` and the like hold for everything else.

Our servers call each other on loopback, by libraries that each read these variables themselves.
"""

from collections.abc import Iterable, MutableMapping

LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1", "0.0.0.0")
"""Names and addresses of this machine. Some libraries know no networks, so 127.0.0.1 is there by itself too."""

EXCEPTIONS = ("no_proxy", "NO_PROXY")


def call_directly(environment: MutableMapping[str, str], hosts: Iterable[str] = LOOPBACK) -> None:
    """Add hosts to those without a proxy, if the environment sets a proxy. Other hosts stay as they are.

    >>> environment = {"http_proxy": "http://proxy:3128", "NO_PROXY": "nas"}
    >>> call_directly(environment)
    >>> environment["no_proxy"]
    'nas,localhost,127.0.0.1,127.0.0.0/8,::1,0.0.0.0'
    """
    if not _has_proxy(environment):
        return  # on macOS, a no_proxy alone would switch the system's proxies off
    given = next((environment[name] for name in EXCEPTIONS if environment.get(name)), "")
    # gRPC reads its own variable instead, if there is one.
    for name in (*EXCEPTIONS, *({"no_grpc_proxy"} & environment.keys())):
        direct = [host for text in (environment.get(name) or given).split(",") if (host := text.strip())]
        if direct != ["*"]:
            environment[name] = ",".join(dict.fromkeys([*direct, *hosts]))


def _has_proxy(environment: MutableMapping[str, str]) -> bool:
    names = {name.lower() for name, value in environment.items() if value}
    return any(name.endswith("_proxy") for name in names - {"no_proxy", "no_grpc_proxy"})
