"""What a check is: a fact, how to find out if it holds, and what to do if it does not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Subject = TypeVar("Subject")


class CheckOutcome(BaseModel):
    """Whether a fact holds.

    Attributes:
        message: one sentence or two for a person: the numbers, and the bound they are compared with.
        facts: the numbers of the message by name, and others that help to look further.
    """

    model_config = ConfigDict(frozen=True)

    passed: bool
    message: str
    facts: dict[str, float | int | str] = {}


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """A fact about a subject of one month.

    Attributes:
        name: the fact as an identifier, such as `no_label_after_split`.
        fact: the fact as a sentence.
        remedy: what to do if it does not hold; continues "Otherwise:".
        run: finds out if it holds.
        guards: what a failure stops. `training`: nothing is made of the rows. `promotion`: models are made, judged and
            reported on, but none is promoted.
    """

    name: str
    fact: str
    remedy: str
    run: Callable[[Subject], CheckOutcome]
    guards: Literal["training", "promotion"] | None = None

    @property
    def description(self) -> str:
        return f"{self.fact} Otherwise: {self.remedy}"


def broken_guards(checks: Iterable[Check[Subject]], subject: Subject) -> list[str]:
    """One sentence, with the remedy, for every guarding check that `subject` fails."""
    outcomes = [(check, check.run(subject)) for check in checks if check.guards]
    return [failure_message(check, outcome) for check, outcome in outcomes if not outcome.passed]


def failure_message(check: Check[Subject], outcome: CheckOutcome) -> str:
    """What a failed check says, and what to do."""
    return f"The check {check.name} failed. {outcome.message} {check.remedy[:1].upper()}{check.remedy[1:]}"
