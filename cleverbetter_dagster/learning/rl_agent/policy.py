"""A trained agent without torch: the weights of its networks, and the steps it takes.

Rows are multiplied column by column: a matrix product, also torch's, rounds a row by the rows beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray

ACTOR = ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net")
"""The actor's layers, from observations to a preference for every step, with tanh between them."""


@dataclass(frozen=True, eq=False)
class AgentPolicy:
    """The state of a Stable-Baselines3 `MlpPolicy`.

    Attributes:
        weights: float32 arrays under torch's names; those of the critic are needed only to train on.
    """

    weights: Mapping[str, np.ndarray]

    def preferences(self, observations: np.ndarray) -> FloatArray:
        """Logits of the steps, float[n, steps], of observations [n, inputs]."""
        values = observations.astype(np.float64)
        for number, layer in enumerate(ACTOR):
            if number:
                values = np.tanh(values)
            total = np.tile(self.weights[f"{layer}.bias"].astype(np.float64), (len(values), 1))
            for column, row in zip(values.T, self.weights[f"{layer}.weight"].T, strict=True):
                total += column[:, None] * row
            values = total
        return values

    def steps(self, observations: np.ndarray) -> IntArray:
        """The preferred step of each observation, 0..10, int[n]; the smallest of equals."""
        return self.preferences(observations).argmax(axis=1)
