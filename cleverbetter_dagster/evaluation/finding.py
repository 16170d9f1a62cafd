"""What a check found: whether a fact holds, said in a sentence with its numbers."""

from pydantic import BaseModel, ConfigDict


class Finding(BaseModel):
    """A fact that was looked into."""

    model_config = ConfigDict(frozen=True)

    passed: bool
    told: str
    """One sentence or two for a person: what was found, against which bound."""
    facts: dict[str, float | int | str] = {}
    """The numbers of the sentence by name, and what helps to look further."""
