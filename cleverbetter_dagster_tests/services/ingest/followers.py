"""A model family made up for the tests of this room: it answers at once and is as good as it is told to be."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.learning.family import FittedModel, Report


class Follower(FittedModel):
    """Says a strategy goes on as its shrunk history has it; `noise` is what a poor model adds, by row."""

    family = "follower"
    feature_names = ("shrunk_profitable_share", "roi")

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def _describe(self, values: np.ndarray) -> dict[str, np.ndarray]:
        wobble = np.sin(1e4 * values[:, 1]) * self.noise
        probability = np.clip(values[:, 0] + wobble, 0.01, 0.99)
        return {"probability": probability, "score": probability, "confidence": np.ones(len(values))}

    def feature_importance(self) -> pd.Series:
        return pd.Series([0.7, 0.3], index=list(self.feature_names))

    def report(self) -> Report:
        return {}
