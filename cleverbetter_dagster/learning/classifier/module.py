"""The network as a torch module, for training. Importing this imports torch, which takes seconds: import it late."""

import numpy as np
import torch
from torch import nn

from cleverbetter_dagster.learning.classifier.network import VARIANCE_FLOOR, Network
from cleverbetter_dagster.learning.classifier.params import NetworkParams


class TabMLayer(nn.Module):
    """One layer of all heads: a shared matrix behind an adapter of each head, then batch norm.

    Weights after He et al. (ICCV 2015).
    """

    def __init__(self, adapter: np.ndarray, width: int, rng: np.random.Generator) -> None:
        super().__init__()
        heads, inputs = adapter.shape
        self.adapter = _parameter(adapter)
        self.weight = _parameter(rng.normal(0.0, np.sqrt(2 / inputs), (inputs, width)))
        self.norm = nn.BatchNorm1d(heads * width, eps=VARIANCE_FLOOR)

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        """[n, heads or 1, inputs] to [n, heads, width]."""
        product = (activation * self.adapter) @ self.weight
        return torch.relu(self.norm(product.flatten(1))).view_as(product)


class TabM(nn.Module):
    """k networks that share most of their weights; each answers for itself.

    Parameter-efficient ensembling after Gorishniy, Kotelnikov, Babenko, "TabM" (ICLR 2025) and Wen, Tran, Ba,
    "BatchEnsemble" (ICLR 2020). The first adapters are random signs, so that the heads come to differ. At the start
    every head answers with the share of positives.
    """

    def __init__(self, inputs: int, params: NetworkParams, rarity: float, seed: int) -> None:
        """`rarity`: log-odds of the share of negatives."""
        super().__init__()
        rng, heads, width = np.random.default_rng(seed), params.heads, params.width
        signs = rng.choice([-1.0, 1.0], (heads, inputs))
        adapters = [signs, *(np.ones((heads, width)) for _ in range(params.depth - 1))]
        self.hidden = nn.ModuleList(TabMLayer(adapter, width, rng) for adapter in adapters)
        self.out_weight = _parameter(np.zeros((heads, width)))
        self.out_bias = _parameter(np.full(heads, (params.balance - 1) * rarity))
        self.prior_shift = params.balance * rarity
        self.dropout = params.dropout

    def forward(self, inputs: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Log-odds of every head before the prior shift, [n, k], for inputs [n, inputs].

        Training draws dropout from `generator`; `nn.Dropout` would draw from torch's global one.
        """
        activation = inputs[:, None, :]
        for layer in self.hidden:
            activation = layer(activation)
            if self.training and self.dropout:
                keep = 1 - self.dropout
                mask = torch.empty_like(activation).bernoulli_(keep, generator=generator)
                activation = activation * mask / keep
        return (activation * self.out_weight).sum(dim=-1) + self.out_bias

    def train_norms(self, follow: bool) -> None:
        """Whether the batch norms' statistics follow the rows while training."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.train(follow)

    def network(self) -> Network:
        """A copy of the weights as they are."""
        return Network({name: value.double().numpy() for name, value in self.state_dict().items()}, self.prior_shift)

    def load(self, network: Network) -> None:
        """Take over a network's weights."""
        self.load_state_dict({name: torch.from_numpy(value) for name, value in network.weights.items()})
        self.prior_shift = network.prior_shift


def _parameter(values: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(values.astype(np.float32)))
