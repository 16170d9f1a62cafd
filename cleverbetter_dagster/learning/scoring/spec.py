"""The options of a study: how hyperparameters are judged and searched for."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Metric = Literal["auc", "brier", "log_loss", "growth"]
"""What a study goes by. `growth`: log growth per decision time, of families that stake by themselves."""

PROBABILITY_METRICS: tuple[Metric, ...] = ("auc", "brier", "log_loss")
"""The metrics every family has, since it gives probabilities."""

HIGHER_IS_BETTER: tuple[Metric, ...] = ("auc", "growth")


class StudySpec(BaseModel):
    """How hyperparameters are judged and searched for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_trials: int = Field(
        100,
        ge=0,
        description="Hyperparameter settings to try, the family's defaults first; at least 0, default 100. 0 keeps "
        "the defaults.",
    )
    n_trials_warm: int = Field(
        10,
        ge=0,
        description="Settings to try if the study starts from the best of an earlier month; at least 0, default 10. "
        "0 never starts from an earlier month.",
    )
    timeout_seconds: float | None = Field(
        900, gt=0, description="Seconds after which no further trial starts; above 0, default 900. null: no limit."
    )
    metric: Metric = Field(
        "auc",
        description="Score of a trial: auc (default), brier, log_loss, or growth, the log growth of the model's own "
        "stakes, for families that stake by themselves.",
    )
    n_folds: int = Field(
        3, ge=1, le=20, description="Forward folds, all in the later half of the examples; 1 to 20, default 3."
    )
    embargo_days: float = Field(
        0.0,
        ge=0.0,
        allow_inf_nan=False,
        description="Days a label must be known before a fold starts; at least 0, default 0.",
    )
    prune: bool = Field(
        True, description="Stop a trial whose first folds score worse than the median trial; default true."
    )
    seed: int = Field(
        0,
        ge=0,
        description="Seed of the models and of the sampler; at least 0, default 0. Workers that share a study need "
        "different seeds.",
    )
    threads: int = Field(
        1, ge=1, description="Threads that a fit may use; at least 1, default 1, the fastest if cores are shared."
    )
    space: dict[str, list[float]] = Field(
        {}, description="Ranges to search, as {max_depth: [2, 5]}; default {}: the family's own."
    )
    params: dict[str, Any] = Field(
        {}, description="Hyperparameters to fix, as {max_depth: 3}, and not to search; default {}: none."
    )

    @model_validator(mode="after")
    def _ranges_have_two_ends(self) -> Self:
        for name, ends in self.space.items():
            if len(ends) != 2 or not ends[0] <= ends[1]:
                raise ValueError(f"space of {name} is {ends}: give [lowest, highest]")
            if name in self.params:
                raise ValueError(f"{name} is both fixed by params and searched in space: drop one of them")
        return self

    @property
    def maximises(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric in HIGHER_IS_BETTER

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """The metric's direction in Optuna's words."""
        return "maximize" if self.maximises else "minimize"
