"""A trained agent without torch: the weights of its networks, and the steps it takes.

A policy answers each row by itself with the same bits wherever it stands, so it multiplies column by column instead
of calling a matrix product, whose rounding depends on the position.
"""

from dataclasses import dataclass

import numpy as np

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray

Layer = tuple[np.ndarray, np.ndarray]
"""Weights float32[inputs, outputs] and biases float32[outputs]."""


@dataclass(frozen=True, eq=False)
class AgentPolicy:
    """Two multilayer perceptrons with tanh between their layers.

    Attributes:
        actor: from observations to a preference for every step.
        critic: from observations to what is still to be earned; only training asks it.
    """

    actor: tuple[Layer, ...]
    critic: tuple[Layer, ...] = ()

    def preferences(self, observations: np.ndarray) -> FloatArray:
        """Logits of the steps, float[n, steps], of observations [n, inputs]."""
        values = observations.astype(np.float64)
        for number, (weights, biases) in enumerate(self.actor):
            if number:
                values = np.tanh(values)
            total = np.tile(biases.astype(np.float64), (len(values), 1))
            for column, row in zip(values.T, weights, strict=True):
                total += column[:, None] * row
            values = total
        return values

    def steps(self, observations: np.ndarray) -> IntArray:
        """The preferred step of each observation, 0..10, int[n]; the smallest of equals."""
        return self.preferences(observations).argmax(axis=1)
