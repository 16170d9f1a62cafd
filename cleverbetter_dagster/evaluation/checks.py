"""The outcome of a check: whether a fact holds, and a sentence with its numbers."""

from pydantic import BaseModel, ConfigDict


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
