"""Models of tests that can be stored, as those of the ensemble."""

from typing import TypeVar

from cleverbetter_dagster.learning.ensemble.family import Ensemble
from cleverbetter_dagster.learning.model import FittedModel

Model = TypeVar("Model", bound=type[FittedModel])


def storable(model: Model) -> Model:
    """Let a model of the family `ensemble` consist of the class it decorates."""
    Ensemble.stored_types = (*Ensemble.stored_types, model)
    return model
