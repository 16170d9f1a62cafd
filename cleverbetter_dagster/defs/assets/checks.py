"""Rules as asset checks: their specs, and one result a rule over all months of a run."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import dagster as dg

from cleverbetter_dagster.defs.assets.metadata import rounded
from cleverbetter_dagster.services.checks import Rule

Subject = TypeVar("Subject")


def check_specs(rules: Sequence[Rule[Subject]], asset: str) -> list[dg.AssetCheckSpec]:
    """The rules as checks of `asset`. Those that guard training block what follows in the run.

    Those that guard promotion do not: the gate reads them itself, and the report on what was refused is made.
    """
    return [
        dg.AssetCheckSpec(rule.name, asset=asset, blocking=rule.guards == "training", description=rule.description)
        for rule in rules
    ]


def check_results(rules: Sequence[Rule[Subject]], subjects: Mapping[str, Subject]) -> list[dg.AssetCheckResult]:
    """What each rule found over the months of a run: it passes where it holds of every month."""
    return [_result(rule, subjects) for rule in rules]


def _result(rule: Rule[Subject], subjects: Mapping[str, Subject]) -> dg.AssetCheckResult:
    found = {month: rule.find(subject) for month, subject in subjects.items()}
    failed = [month for month, finding in found.items() if not finding.passed]
    shown = (failed or list(found))[-1]
    told = f"{shown}: {found[shown].message}"
    return dg.AssetCheckResult(
        check_name=rule.name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if rule.guards else dg.AssetCheckSeverity.WARN,
        description=f"{told} What to do: {rule.remedy}" if failed else told,
        metadata={**rounded(found[shown].facts), "month": shown, "failed_months": ", ".join(failed) or "none"},
    )
