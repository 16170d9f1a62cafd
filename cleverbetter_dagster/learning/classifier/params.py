"""Hyperparameters of the network and of its training, each with its default, its bounds and what it does."""

from pydantic import BaseModel, ConfigDict, Field


class NetworkParams(BaseModel):
    """The defaults come from forward folds on four years of real rows. There, eight heads gained 0.003 of AUC and
    0.002 of log loss over one; piecewise-linear bins, the calibration term and the balance changed no more than
    noise does, and a patience of 6 stopped too soon.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: int = Field(8, ge=1, le=64, description="networks that share their matrices (TabM)")
    width: int = Field(64, ge=4, le=1024, description="units of a hidden layer")
    depth: int = Field(2, ge=1, le=6, description="hidden layers")
    bins: int = Field(0, ge=0, le=64, description="quantile bins of the piecewise-linear encoding; 0 leaves it out")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of hidden units silenced in a step")
    learning_rate: float = Field(0.002, gt=0, le=0.1, description="first step size of AdamW")
    weight_decay: float = Field(0.01, ge=0, le=10, description="L2 decay of the matrices (AdamW)")
    calibration_weight: float = Field(0.1, ge=0, le=100, description="weight of the calibration term in the loss")
    balance: float = Field(0.5, ge=0, le=1, description="weight of the rarer class: 0 as it comes, 1 fully balanced")
    batch_rows: int = Field(256, ge=16, le=1_000_000, description="rows of a step")
    max_epochs: int = Field(60, ge=1, le=1000, description="most passes over the rows")
    patience: int = Field(8, ge=1, le=1000, description="epochs without a better validation loss before stopping")
    plateau: int = Field(3, ge=0, le=1000, description="epochs without a better validation loss before the rate falls")
