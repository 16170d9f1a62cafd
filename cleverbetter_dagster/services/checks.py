"""What a check is: a fact about something, the remedy where it does not hold, and how to find out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from cleverbetter_dagster.evaluation.checks import CheckOutcome

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """A fact about a subject of one month, looked into by `find`.

    Attributes:
        name: the fact as an identifier, such as `no_label_after_split`.
        fact: the fact as a sentence.
        remedy: what to do where it does not hold; continues "Otherwise:".
        guards: what does not happen where it does not hold. `training`: nothing is made of the rows at all.
            `promotion`: everything is made, judged and reported on, and nothing is promoted.
    """

    name: str
    fact: str
    remedy: str
    find: Callable[[Subject], CheckOutcome]
    guards: Literal["training", "promotion"] | None = None

    @property
    def description(self) -> str:
        return f"{self.fact} Otherwise: {self.remedy}"


def broken_guards(rules: Iterable[Rule[Subject]], subject: Subject) -> list[str]:
    """What the guarding rules that do not hold of `subject` found, a sentence each, with the remedy."""
    found = [(rule, rule.find(subject)) for rule in rules if rule.guards]
    return [told_with_remedy(rule, finding) for rule, finding in found if not finding.passed]


def told_with_remedy(rule: Rule[Subject], finding: CheckOutcome) -> str:
    """What a rule that does not hold found, and what to do."""
    return f"The check {rule.name} failed. {finding.message} {rule.remedy[:1].upper()}{rule.remedy[1:]}"
