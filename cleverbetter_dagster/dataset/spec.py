"""The options that turn rows into examples, and the minimums of the training guide."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

GUIDE_MIN_COMPOSITE_SCORE = 0.3
"""The training guide calls rows that score below it low quality."""

GUIDE_MIN_EXAMPLES = 1000
"""Fewest backtest results that the training guide trains on."""


class DatasetSpec(BaseModel):
    """How rows become labelled, split examples. The defaults are those of the training guide if it names one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision_time: Literal["end_date", "run_date"] = Field(
        "end_date",
        description="Column with the time at which a row is known and the stake of the next window is decided: "
        "end_date (default) or run_date.",
    )
    return_threshold: float = Field(
        0.0,
        ge=-1.0,
        le=100.0,
        description="A label is 1 if the roi of the next window is above this fraction; -1 to 100, default 0.",
    )
    min_composite_score: float | None = Field(
        GUIDE_MIN_COMPOSITE_SCORE,
        ge=-1000.0,
        le=1000.0,
        description="Rows with a lower composite_score are no examples; -1000 to 1000, default "
        f"{GUIDE_MIN_COMPOSITE_SCORE}, null takes every row.",
    )
    min_examples: int = Field(
        GUIDE_MIN_EXAMPLES,
        ge=1,
        le=100_000_000,
        description="Fewest labelled examples, all parts together, to train on; 1 to 100000000, default "
        f"{GUIDE_MIN_EXAMPLES}.",
    )
    train_fraction: float = Field(
        0.6,
        gt=0.0,
        lt=1.0,
        description="Share of the examples, the earliest, to train on; between 0 and 1, default 0.6.",
    )
    validation_fraction: float = Field(
        0.2,
        gt=0.0,
        lt=1.0,
        description="Share of the examples that comes next, to validate on; between 0 and 1, default 0.2. The rest "
        "is the test.",
    )
    max_history_months: int | None = Field(
        None,
        ge=3,
        le=1200,
        description="Rolling window: only rows decided in this many months up to the newest are examples (strategy "
        "histories stay complete); 3 to 1200. Default null: all months, an expanding window.",
    )
    embargo_days: float = Field(
        0.0,
        ge=0.0,
        le=3650.0,
        description="Days a label must be known before the next part starts; 0 to 3650, default 0.",
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
