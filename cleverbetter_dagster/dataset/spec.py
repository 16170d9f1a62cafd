"""The choices that turn rows into examples, as one frozen value that can be hashed, stored and compared."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DatasetSpec(BaseModel):
    """How rows become labelled, split examples.

    The defaults are the training guide's where it names one: examples of `composite_score >= 0.3`, at least
    1,000 of them, 60/20/20 in time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision_time: Literal["end_date", "run_date"] = Field(
        "end_date", description="Column that says when a row is known and the next window's stake is decided."
    )
    return_threshold: float = Field(
        0.0,
        ge=-1.0,
        allow_inf_nan=False,
        description="A label is 1 where the next window's roi is above this fraction.",
    )
    min_composite_score: float | None = Field(
        0.3, allow_inf_nan=False, description="Rows scoring below are no examples; None takes every row."
    )
    min_examples: int = Field(1000, ge=1, description="Fewest labelled examples, all parts together, to train on.")
    train_fraction: float = Field(0.6, gt=0.0, lt=1.0, description="Share of the examples decided first.")
    validation_fraction: float = Field(0.2, gt=0.0, lt=1.0, description="Share decided next; the rest is the test.")
    max_history_months: int | None = Field(
        None,
        ge=3,
        description=(
            "A rolling window: only rows decided in so many months up to the newest are examples (histories stay "
            "whole); None takes all history, an expanding window."
        ),
    )
    embargo_days: float = Field(
        0.0,
        ge=0.0,
        allow_inf_nan=False,
        description="Days a label must be known before the next part starts.",
    )

    @model_validator(mode="after")
    def _leaves_a_test_part(self) -> Self:
        used = self.train_fraction + self.validation_fraction
        if used >= 1.0:
            raise ValueError(
                f"train_fraction {self.train_fraction} + validation_fraction {self.validation_fraction} = {used:g}"
                " leaves no test rows; keep the sum below 1"
            )
        return self
