"""A model family for tests: it predicts at once, and its quality is a parameter."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.learning.model import FittedModel, Report


class Follower(FittedModel):
    """Predicts that a strategy goes on as in its shrunk history; `noise` makes the model worse, row by row."""

    family = "follower"
    feature_names = ("shrunk_profitable_share", "roi")

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        wobble = np.sin(1e4 * values[:, 1]) * self.noise
        probability = np.clip(values[:, 0] + wobble, 0.01, 0.99)
        return {"probability": probability, "score": probability, "confidence": np.ones(len(values))}

    def feature_importance(self) -> pd.Series:
        return pd.Series([0.7, 0.3], index=list(self.feature_names))

    def report(self) -> Report:
        return {}
