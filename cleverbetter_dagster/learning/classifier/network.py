"""A fitted network: how features enter it, its weights, and its answers in exact arithmetic.

Only numpy lives here; how weights are found is in `network_training.py`, so that scoring needs no torch.

A matrix product of floats rounds a row differently by its position, by the library and by its threads. Here
every number that is multiplied lies on a grid so coarse that float64 holds all partial sums exactly: no order of
adding can change a bit. The grid costs about 1e-5 of log-odds.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

OUTLIER_CLIP = 4.0
"""Interquartile ranges from the median beyond which a scaled feature says no more."""

VARIANCE_FLOOR = 1e-5
"""Added to a batch-normalised variance; torch's default."""

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
        """At most so many of the rows, each as likely as any other, in the order they stand."""
        return self.take(np.sort(rng.permutation(len(self))[:rows]))


@dataclass(frozen=True, eq=False)
class InputEncoder:
    """Features as the network takes them, by numbers of the rows it was fitted on.

    A feature becomes its distance from the median in interquartile ranges, clipped, and its position within
    each bin between `edges`: 0 below, 1 above, a ramp within (piecewise-linear encoding; Gorishniy, Rubachev,
    Babenko, NeurIPS 2022). A missing value is encoded as the median and, where the fit saw such, flagged.

    Attributes:
        median: float[features].
        spread: float[features] > 0, interquartile ranges.
        edges: for every feature its float[>= 2] strictly ascending edges, or none where it does not vary.
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
        shown = np.where(missing.all(axis=0), 0.0, values)
        low, median, high = np.nanquantile(shown, [0.25, 0.5, 0.75], axis=0)
        spread = np.where(high > low, high - low, np.nanstd(shown, axis=0))
        spread = np.where(spread > 0, spread, 1.0)
        shares = np.linspace(0.0, 1.0, bins + 1)
        edges = tuple(np.unique(column) for column in np.nanquantile(shown, shares, axis=0).T)
        edges = tuple(column if bins and len(column) > 2 else column[:0] for column in edges)
        return cls(median, spread, edges, np.flatnonzero(missing.any(axis=0)))

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
class HiddenLayer:
    """One layer of all heads: a shared matrix between adapters of each head, then batch norm (TabM).

    With k heads: `adapter` float[k, inputs], `weight` float[inputs, width]; `gain`, `shift`, `mean` and
    `variance` of the batch norm, each float[k, width].
    """

    adapter: np.ndarray
    weight: np.ndarray
    gain: np.ndarray
    shift: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    def per_head(self) -> tuple[np.ndarray, np.ndarray]:
        """The same layer as plain matrices float[k, inputs, width] and biases float[k, width]."""
        scale = self.gain / np.sqrt(self.variance + VARIANCE_FLOOR)
        return self.adapter[:, :, None] * self.weight * scale[:, None, :], self.shift - self.mean * scale


@dataclass(frozen=True, eq=False)
class Network:
    """k networks that share most of their weights; each answers for itself.

    Parameter-efficient ensembling after Gorishniy, Kotelnikov, Babenko, "TabM" (ICLR 2025) and Wen, Tran, Ba,
    "BatchEnsemble" (ICLR 2020).

    Attributes:
        hidden: layers from the inputs on.
        out_weight: float[k, width].
        out_bias: float[k].
        prior_shift: taken from every log-odds, to undo the weight of the rarer class in the loss.
    """

    hidden: tuple[HiddenLayer, ...]
    out_weight: np.ndarray
    out_bias: np.ndarray
    prior_shift: float

    def head_probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """P(y = 1) by each head, float[n, k], for inputs float[n, inputs]; a row's bits depend on it alone."""
        activation = np.broadcast_to(inputs, (len(self.out_bias), *inputs.shape))
        for layer in self.hidden:
            weight, bias = layer.per_head()
            activation = np.maximum(_exact_product(activation, weight) + bias[:, None, :], 0.0)
        margin = _exact_product(activation, self.out_weight[:, :, None])[:, :, 0] + self.out_bias[:, None]
        return expit(np.ascontiguousarray(margin.T) - self.prior_shift)

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """What each input adds to the heads' mean log-odds by its distance from its mean, to first order.

        Gradient times deviation, float[n, inputs], for inputs float[n, inputs].
        """
        layers = [layer.per_head() for layer in self.hidden]
        activation, active = np.broadcast_to(inputs, (len(self.out_bias), *inputs.shape)), []
        for weight, bias in layers:
            activation = np.maximum(activation @ weight + bias[:, None, :], 0.0)
            active.append(activation > 0)
        gradient = np.broadcast_to(self.out_weight[:, None, :], activation.shape)
        for (weight, _), mask in zip(reversed(layers), reversed(active), strict=True):
            gradient = (gradient * mask) @ weight.swapaxes(1, 2)
        return gradient.mean(axis=0) * (inputs - inputs.mean(axis=0))


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
