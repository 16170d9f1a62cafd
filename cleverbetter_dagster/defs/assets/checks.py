"""Checks as asset checks: their specs, and one result per check over all months of a run."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import dagster as dg

from cleverbetter_dagster.defs.stored_metadata import stored_metadata
from cleverbetter_dagster.evaluation.checks import Check
from cleverbetter_dagster.redaction import redacted

Subject = TypeVar("Subject")


def check_specs(checks: Sequence[Check[Subject]], asset: str) -> list[dg.AssetCheckSpec]:
    """The asset checks of `asset`. Those that guard training block what follows in the run.

    Those that guard promotion do not: the gate reads them itself, and the report on what was refused is made.
    """
    return [
        dg.AssetCheckSpec(check.name, asset=asset, blocking=check.guards == "training", description=check.description)
        for check in checks
    ]


def check_results(checks: Sequence[Check[Subject]], subjects: Mapping[str, Subject]) -> list[dg.AssetCheckResult]:
    """One result per check: it passes if every month of the run passes."""
    return [_result(check, subjects) for check in checks]


def _result(check: Check[Subject], subjects: Mapping[str, Subject]) -> dg.AssetCheckResult:
    outcomes = {month: check.run(subject) for month, subject in subjects.items()}
    failed = [month for month, outcome in outcomes.items() if not outcome.passed]
    shown = (failed or list(outcomes))[-1]
    message = redacted(f"{shown}: {outcomes[shown].message}")
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if check.guards else dg.AssetCheckSeverity.WARN,
        description=f"{message} What to do: {check.remedy}" if failed else message,
        metadata={
            **stored_metadata(outcomes[shown].facts),
            "month": shown,
            "failed_months": ", ".join(failed) or "none",
        },
    )
