"""A fitted network: how features enter it, and its probabilities in exact arithmetic, by numpy alone.

Torch trains the network (`module.py`, `training.py`) but does not score with it: its matrix products round a row by
the rows beside it, and scoring would have to load torch. Here every number that is multiplied lies on a grid so coarse
that float64 holds all partial sums exactly, so no order of adding changes a bit. The grid costs about 1e-5 of log-odds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

from cleverbetter_dagster.learning.scaling import median_and_spread

OUTLIER_CLIP = 4.0
"""Interquartile ranges from the median at which a scaled feature is clipped."""

VARIANCE_FLOOR = 1e-5
"""Added to a batch-normalised variance; torch's default."""

LAYER_WEIGHTS = ("adapter", "weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
"""What a hidden layer of the module consists of, under torch's names."""

ACTIVATION_STEP = 2.0**-16
ACTIVATION_BOUND = 2.0**7
MANTISSA_BITS = 53
PRODUCT_BITS = MANTISSA_BITS - 1 - round(np.log2(ACTIVATION_BOUND / ACTIVATION_STEP))
"""Bits of a float64 left for a column of weights, once activations and one bit of rounding up have theirs."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows with labels: `values` float[n, columns], features or inputs of a network; `y` 0 or 1, [n]."""

    values: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, positions: np.ndarray) -> "Rows":
        """The rows at `positions`, in that order."""
        return Rows(self.values[positions], self.y[positions])

    def joined(self, other: "Rows") -> "Rows":
        """These rows and then the other ones."""
        return Rows(np.vstack([self.values, other.values]), np.concatenate([self.y, other.y]))

    def sample(self, rows: int, rng: np.random.Generator) -> "Rows":
        """At most so many of the rows, each as likely as any other, in their order."""
        return self.take(np.sort(rng.permutation(len(self))[:rows]))


@dataclass(frozen=True, eq=False)
class InputEncoder:
    """Features as the network takes them, scaled by the rows it was fitted on.

    A feature becomes its distance from the median in interquartile ranges, clipped, and its position within
    each bin between `edges`: 0 below, 1 above, a ramp within (piecewise-linear encoding; Gorishniy, Rubachev,
    Babenko, NeurIPS 2022). A missing value is encoded as the median and, if the fit saw one, flagged.

    Attributes:
        median: float[features].
        spread: float[features] > 0, interquartile ranges.
        edges: for every feature its float[>= 2] strictly ascending edges, or none if it does not vary.
        flagged: positions of the features with a flag for missing.
    """

    median: np.ndarray
    spread: np.ndarray
    edges: tuple[np.ndarray, ...]
    flagged: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, bins: int) -> Self:
        """Learn medians, spreads and edges.

        Args:
            values: float[n >= 1, features], NaN where missing.
            bins: quantile bins of a feature, 0 for none; ties leave fewer.
        """
        missing = np.isnan(values)
        median, spread = median_and_spread(values)
        shown = np.where(missing.all(axis=0), 0.0, values)
        shares = np.linspace(0.0, 1.0, bins + 1)
        edges = tuple(np.unique(column) for column in np.nanquantile(shown, shares, axis=0).T)
        edges = tuple(column if bins and len(column) > 2 else column[:0] for column in edges)
        return cls(median, np.where(spread > 0, spread, 1.0), edges, np.flatnonzero(missing.any(axis=0)))

    @property
    def feature_of(self) -> np.ndarray:
        """Which feature each input stems from, int[inputs]."""
        counts = [max(len(column) - 1, 0) for column in self.edges]
        own = np.arange(len(self.median))
        return np.concatenate([own, np.repeat(own, counts), self.flagged])

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Inputs of the network: float[n, inputs] within `OUTLIER_CLIP`, finite."""
        missing = np.isnan(values)
        filled = np.where(missing, self.median, values)
        parts = [np.clip((filled - self.median) / self.spread, -OUTLIER_CLIP, OUTLIER_CLIP)]
        for position, edges in enumerate(self.edges):
            if len(edges):
                ramp = (filled[:, position, None] - edges[:-1]) / np.diff(edges)
                parts.append(np.clip(ramp, 0.0, 1.0))
        return np.hstack([*parts, missing[:, self.flagged]])


@dataclass(frozen=True, eq=False)
class Network:
    """The weights of a trained `module.TabM`, and what it answers.

    Attributes:
        weights: the module's state as float64 arrays, under torch's names.
        prior_shift: subtracted from every log-odds, to undo the weight of the rarer class in the loss.
    """

    weights: Mapping[str, np.ndarray]
    prior_shift: float

    def head_probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """P(y = 1) by each of k heads, float[n, k], for inputs float[n, inputs]; a row's bits depend on it alone."""
        out_weight, out_bias = self.weights["out_weight"], self.weights["out_bias"]
        activation = np.broadcast_to(inputs, (len(out_bias), *inputs.shape))
        for weight, bias in self._hidden():
            activation = np.maximum(_exact_product(activation, weight) + bias[:, None, :], 0.0)
        margin = _exact_product(activation, out_weight[:, :, None])[:, :, 0] + out_bias[:, None]
        return expit(np.ascontiguousarray(margin.T) - self.prior_shift)

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """What each input adds to the heads' mean log-odds by its distance from its mean, to first order.

        Gradient times deviation, float[n, inputs], for inputs float[n, inputs].
        """
        layers, out_weight = list(self._hidden()), self.weights["out_weight"]
        activation, active = np.broadcast_to(inputs, (len(out_weight), *inputs.shape)), []
        for weight, bias in layers:
            activation = np.maximum(activation @ weight + bias[:, None, :], 0.0)
            active.append(activation > 0)
        gradient = np.broadcast_to(out_weight[:, None, :], activation.shape)
        for (weight, _), mask in zip(reversed(layers), reversed(active), strict=True):
            gradient = (gradient * mask) @ weight.swapaxes(1, 2)
        return gradient.mean(axis=0) * (inputs - inputs.mean(axis=0))

    def _hidden(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each hidden layer with its batch norm, as matrices float[k, inputs, width] and biases float[k, width]."""
        for number in range(sum(name.endswith(".adapter") for name in self.weights)):
            own = {name: self.weights[f"hidden.{number}.{name}"] for name in LAYER_WEIGHTS}
            adapter, weight = own["adapter"], own["weight"]
            gain, shift, mean, variance = (own[name].reshape(len(adapter), -1) for name in LAYER_WEIGHTS[2:])
            scale = gain / np.sqrt(variance + VARIANCE_FLOOR)
            yield adapter[:, :, None] * weight * scale[:, None, :], shift - mean * scale


def _exact_product(activation: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`activation @ weight` after rounding both to grids on which float64 adds without error.

    Activations are multiples of `ACTIVATION_STEP` within `ACTIVATION_BOUND`. Weights are multiples of a power
    of two, chosen so that no sum of absolute products exceeds 2^53 of the products' steps.
    """
    bounded = np.clip(activation, -ACTIVATION_BOUND, ACTIVATION_BOUND)
    on_grid = np.round(bounded / ACTIVATION_STEP) * ACTIVATION_STEP
    largest = max(float(np.abs(weight).sum(axis=-2).max()), 2.0**-16)
    step = 2.0 ** (np.ceil(np.log2(largest)) - PRODUCT_BITS)
    return on_grid @ (np.round(weight / step) * step)
