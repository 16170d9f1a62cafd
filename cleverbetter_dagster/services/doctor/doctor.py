"""Checks a deployment and says how to mend what is wrong. Changes nothing.

This module checks the machine: folder, disk, variables, packages, ports. `stores` checks the databases and MLflow.
"""

import shutil
import socket
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.redaction import message_of
from cleverbetter_dagster.services.doctor import features, stores
from cleverbetter_dagster.services.doctor.lines import DoctorLine, Level
from cleverbetter_dagster.setting_sources import file_in_use, sources, unread_variables
from cleverbetter_dagster.settings import Settings, variable_of
from cleverbetter_dagster.store.home import INSTANCE_FILE, is_current, is_ours

LITTLE_DISK_GIB, LEAST_DISK_GIB = 5.0, 1.0
GIB = 1 << 30
PORTS = {"Dagster": "dagster_port", "MLflow": "mlflow_port", "the API": "api_port"}


def examine(settings: Settings) -> list[DoctorLine]:
    """Run every check. A check that raises becomes a line itself; where two raise the same, the second is short."""
    lines: list[DoctorLine] = []
    for name, check in CHECKS.items():
        try:
            lines += check(settings)
        except CleverBetterError as error:
            message = " ".join(message_of(error).split())  # PostgreSQL's messages hold line breaks and tabs
            same = next((line for line in lines if line.message == message), None)
            if same:
                lines.append(DoctorLine(name, "warn", "could not be checked", f"First mend: {same.name}."))
            else:
                lines.append(DoctorLine(name, "fail", message))
    return lines


def _home(settings: Settings) -> Iterator[DoctorLine]:
    place = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    if not place.is_dir():
        yield DoctorLine("home", "fail", f"{place} is not a folder", "Set DAGSTER_HOME to a folder.")
        return
    yield DoctorLine("home", "ok", str(settings.home))
    if (settings.home / INSTANCE_FILE).exists() and not is_current(settings):
        message = f"{INSTANCE_FILE} differs from the one of this release: limits on runs may be missing"
        ours = is_ours(settings)
        remedy = "The next command renews it." if ours else "It was edited: compare it, or delete it to get a new one."
        yield DoctorLine("instance", "warn", message, remedy)
    free = shutil.disk_usage(place).free / GIB
    level: Level = "fail" if free < LEAST_DISK_GIB else "warn" if free < LITTLE_DISK_GIB else "ok"
    remedy = "" if level == "ok" else "Free some space, or set DAGSTER_HOME to a larger disk."
    yield DoctorLine("disk", level, f"{free:.1f} GiB free at {place}", remedy)


def _variables(_: Settings) -> Iterator[DoctorLine]:
    unread = unread_variables()
    for name, meant in unread.items():
        remedy = f"Did you mean {meant}?" if meant else "`cleverbetter settings` lists all variables."
        yield DoctorLine("variables", "warn", f"{name} is set, but nothing reads it", remedy)
    if not unread:
        yield DoctorLine("variables", "ok", "every CLEVERBETTER_ variable that is set is known")
    if path := file_in_use():
        count = list(sources().values()).count("file")
        yield DoctorLine("settings file", "ok", f"{path}: {count} settings come from it")


def _versions(_: Settings) -> Iterator[DoctorLine]:
    wrong = []
    for requirement in map(Requirement, requires("cleverbetter-dagster") or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = "not installed"
        if installed == "not installed" or not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} (tested: {requirement.specifier})")
    if wrong:
        yield DoctorLine("packages", "fail", "; ".join(wrong), "Install again: pip install -e .")
    else:
        yield DoctorLine("packages", "ok", "every package has a tested version")


def _ports(settings: Settings) -> Iterator[DoctorLine]:
    for name, field in PORTS.items():
        port = getattr(settings, field)
        with socket.socket() as probe:
            in_use = probe.connect_ex(("127.0.0.1", port)) == 0
        message = f"port {port} is {'in use' if in_use else 'free'}"
        remedy = f"Fine if `cleverbetter up` uses it; otherwise free it, or set {variable_of(field)}." if in_use else ""
        yield DoctorLine(f"port of {name}", "warn" if in_use else "ok", message, remedy)


CHECKS: dict[str, Callable[[Settings], Iterator[DoctorLine]]] = {
    "home": _home,
    "variables": _variables,
    "packages": _versions,
    "database": stores.database,
    "rights": stores.rights,
    "MLflow": stores.tracking,
    "storage": stores.storage,
    "champion": stores.champion_files,
    "market features": features.market_features,
    "ports": _ports,
}
