"""The ensemble's hyperparameters, each with its default, its bounds and what it does."""

from pydantic import BaseModel, ConfigDict, Field


class BaseParams(BaseModel):
    """Hyperparameters of the base learners; the two boosters share theirs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_estimators: int = Field(100, ge=1, le=5000, description="boosting rounds of each booster")
    learning_rate: float = Field(0.04, gt=0, le=1, description="step of each boosting round")
    max_depth: int = Field(3, ge=1, le=16, description="depth of a boosted tree")
    min_leaf_rows: int = Field(40, ge=1, le=1_000_000, description="fewest rows in a leaf of a boosted tree")
    l2: float = Field(10.0, ge=0, le=1e6, description="L2 penalty on the leaves of the boosters")
    feature_fraction: float = Field(0.5, gt=0, le=1, description="features a boosted tree or split may look at")
    forest_trees: int = Field(100, ge=1, le=5000, description="trees of the forest")
    forest_leaf_rows: int = Field(20, ge=1, le=1_000_000, description="fewest rows in a leaf of the forest")
    forest_sample: float = Field(0.3, gt=0, le=1, description="share of the rows each tree of the forest sees")
    logistic_c: float = Field(0.005, gt=0, le=1e6, description="inverse penalty of the linear model")


class EnsembleParams(BaseParams):
    """Hyperparameters of the ensemble; the defaults come from forward folds on four years of real rows."""

    n_folds: int = Field(
        3,
        ge=1,
        le=20,
        description="forward folds of train that the meta-learner is fitted on, if time allows as many",
    )
    meta_penalty: float = Field(
        100.0,
        ge=0,
        le=1e9,
        description="pull of the meta-learner's weights toward a mean of the members",
    )
    edges_weight: float = Field(
        0.2,
        ge=0,
        le=1,
        description="weight of the member that reads strategies in that mean; that of any other by default",
    )
    edges_penalty: float = Field(
        10.0,
        ge=0,
        le=1e6,
        description="pull of that member toward what the process over strategies says without learning from labels",
    )
