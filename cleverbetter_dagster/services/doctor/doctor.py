"""What may be wrong with a deployment, looked at once: each finding says how to mend it. Changes nothing.

Here is what is of this machine: folder, disk, variables, packages, ports. What is kept is in `doctor_stores`.
"""

import shutil
import socket
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.services.doctor import stores
from cleverbetter_dagster.services.doctor.lines import Check, Finding, Level
from cleverbetter_dagster.settings import Settings, unread_variables, variable_of
from cleverbetter_dagster.store.home import INSTANCE_FILE, is_current, is_ours

LITTLE_DISK_GIB, LEAST_DISK_GIB = 5.0, 1.0
GIB = 1 << 30
PORTS = {"Dagster": "dagster_port", "MLflow": "mlflow_port", "the API": "api_port"}


def examine(settings: Settings) -> list[Finding]:
    """Every check in turn; one that cannot be made is itself a finding, told at length once."""
    found: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            found += check(settings)
        except CleverBetterError as error:
            told = " ".join(str(error).split())  # PostgreSQL's reasons hold line breaks and tabs
            known = next((one for one in found if one.told == told), None)
            if known:
                found.append(Finding(name, "warn", "could not be looked at", f"Mend first: {known.name}."))
            else:
                found.append(Finding(name, "fail", told))
    return found


def _home(settings: Settings) -> Iterator[Finding]:
    place = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    if not place.is_dir():
        yield Finding("home", "fail", f"{place} is no folder", "Set DAGSTER_HOME to a folder of yours.")
        return
    yield Finding("home", "ok", str(settings.home))
    if (settings.home / INSTANCE_FILE).exists() and not is_current(settings):
        told = f"{INSTANCE_FILE} is not what this release comes with: its limits of runs may be missing"
        remedy = "The next command renews it." if is_ours(settings) else "Yours: compare it, or delete it to get ours."
        yield Finding("instance", "warn", told, remedy)
    free = shutil.disk_usage(place).free / GIB
    level: Level = "fail" if free < LEAST_DISK_GIB else "warn" if free < LITTLE_DISK_GIB else "ok"
    remedy = "" if level == "ok" else "Free some, or set DAGSTER_HOME to a larger disk."
    yield Finding("disk", level, f"{free:.1f} GiB free at {place}", remedy)


def _variables(_: Settings) -> Iterator[Finding]:
    unread = unread_variables()
    for name, meant in unread.items():
        remedy = f"Did you mean {meant}?" if meant else "`cleverbetter settings` lists those there are."
        yield Finding("variables", "warn", f"{name} is set, but nothing reads it", remedy)
    if not unread:
        yield Finding("variables", "ok", "every CLEVERBETTER_ variable that is set is one of ours")


def _versions(_: Settings) -> Iterator[Finding]:
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
        yield Finding("packages", "fail", "; ".join(wrong), "Install again: pip install -e .")
    else:
        yield Finding("packages", "ok", "every package is of a tested version")


def _ports(settings: Settings) -> Iterator[Finding]:
    for name, field in PORTS.items():
        port = getattr(settings, field)
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        told = f"port {port} is {'taken' if taken else 'free'}"
        remedy = f"By `cleverbetter up`: all is well; else free it, or set {variable_of(field)}." if taken else ""
        yield Finding(f"port of {name}", "warn" if taken else "ok", told, remedy)


CHECKS: dict[str, Check] = {
    "home": _home,
    "variables": _variables,
    "packages": _versions,
    "database": stores.database,
    "rights": stores.rights,
    "MLflow": stores.tracking,
    "champion": stores.champion_files,
    "ports": _ports,
}
