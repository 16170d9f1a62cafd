"""How a network's weights are found: the loss, one epoch, early stopping, repeating a schedule, fine-tuning.

Torch is imported inside the functions, on one thread, and every draw comes from a generator made of the seed:
no global state is read or left changed, except the number of threads, which is put back. One thread, because a
second one rounds differently; the networks are small enough not to miss it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.learning.classifier.network import VARIANCE_FLOOR, HiddenLayer, Network, Rows

if TYPE_CHECKING:
    import torch

CALIBRATION_BINS = 10
BIN_TEMPERATURE = 0.01
NORM_MOMENTUM = 0.1
LEAST_PROBABILITY = 1e-7
RATE_FACTOR = 0.3
"""What a plateau leaves of the learning rate."""

HEAD_WEIGHTS = ("adapter", "gain", "shift")
"""What each head has of its own in a hidden layer and learns without decay."""

FINE_TUNE_RATE = 0.1
FINE_TUNE_EPOCHS = 3


class NetworkParams(BaseModel):
    """Hyperparameters of the network and of its training.

    The defaults come from forward folds on four years of real rows. There, eight heads gained 0.003 of AUC and
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
    batch_rows: int = Field(256, ge=16, description="rows of a step")
    max_epochs: int = Field(60, ge=1, le=1000, description="most passes over the rows")
    patience: int = Field(8, ge=1, description="epochs without a better validation loss before stopping")
    plateau: int = Field(3, ge=0, description="epochs without a better validation loss before the rate falls")


@dataclass(frozen=True, eq=False)
class Trained:
    """A network and how it came to be.

    Attributes:
        network: the weights, at the best epoch where one was watched for.
        rates: learning rate of every epoch up to the best, [best_epoch].
        epochs: epochs run.
        watched_loss: log loss of the watched rows at the best epoch; NaN where none were watched.
    """

    network: Network
    rates: tuple[float, ...]
    epochs: int
    watched_loss: float


def calibration_term(probability: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
    """Squared calibration error over softly bounded bins, a scalar >= 0.

    Each row belongs to every bin, by softmax of its squared distance to the bin's centre; a bin counts with its
    share of the rows times the square of its mean residual (soft-binned calibration error; Karandikar et al.,
    NeurIPS 2021).

    Args:
        probability: [n, k] in (0, 1).
        y: [n, 1], 0 or 1.
    """
    import torch

    centres = (torch.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS
    membership = torch.softmax(-((probability[..., None] - centres) ** 2) / BIN_TEMPERATURE, dim=-1)
    residual = (membership * (probability - y)[..., None]).sum(dim=0)
    mass = membership.sum(dim=0).clamp_min(1e-6)
    return (residual**2 / mass).sum(dim=-1).mean() / len(y)


def train_watching(rows: Rows, watched: Rows, params: NetworkParams, seed: int) -> Trained:
    """Train until the log loss of later rows has not fallen for `params.patience` epochs; keep the best epoch.

    That may be none at all: where no epoch beats the share of positives, the network goes on answering that.
    """
    import torch

    with one_thread():
        session = _Session(rows, initial_network(rows, params, seed), params, seed)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            session.optimizer, factor=RATE_FACTOR, patience=params.plateau
        )
        best, best_loss, best_epoch = session.network(), session.log_loss(watched), 0
        rates: list[float] = []
        for epoch in range(1, params.max_epochs + 1):
            rates.append(session.rate)
            session.epoch()
            loss = session.log_loss(watched)
            if loss < best_loss:
                best, best_loss, best_epoch = session.network(), loss, epoch
            elif epoch - best_epoch >= params.patience:
                break
            schedule.step(loss)
    return Trained(best, tuple(rates[:best_epoch]), len(rates), best_loss)


def train_by_schedule(rows: Rows, rates: Sequence[float], params: NetworkParams, seed: int) -> Network:
    """Train one epoch at each of `rates`, such as `train_watching` found on fewer rows."""
    with one_thread():
        session = _Session(rows, initial_network(rows, params, seed), params, seed)
        return session.follow(rates)


def fine_tuned_network(network: Network, rows: Rows, params: NetworkParams, seed: int) -> Network:
    """Train a little further, at a tenth of the learning rate, with the batch norms' statistics as they are."""
    rates = [FINE_TUNE_RATE * params.learning_rate] * FINE_TUNE_EPOCHS
    with one_thread():
        return _Session(rows, network, params, seed, norms_follow=False).follow(rates)


def initial_network(rows: Rows, params: NetworkParams, seed: int) -> Network:
    """Weights to begin with, for these rows' inputs and share of positives.

    Every head answers with the share of positives. Matrices after He et al. (ICCV 2015); the first adapters are
    random signs, so that the heads come to differ.
    """
    rng = np.random.default_rng(seed)
    layers, heads, width = [], params.heads, params.width
    for depth in range(params.depth):
        size = width if depth else rows.values.shape[1]
        layers.append(
            HiddenLayer(
                adapter=np.ones((heads, size)) if depth else rng.choice([-1.0, 1.0], (heads, size)),
                weight=rng.normal(0.0, np.sqrt(2 / size), (size, width)),
                gain=np.ones((heads, width)),
                shift=np.zeros((heads, width)),
                mean=np.zeros((heads, width)),
                variance=np.ones((heads, width)),
            )
        )
    positives = float(rows.y.mean())
    rarity = float(np.log((1 - positives) / positives))
    return Network(
        hidden=tuple(layers),
        out_weight=np.zeros((heads, width)),
        out_bias=np.full(heads, (params.balance - 1) * rarity),
        prior_shift=params.balance * rarity,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread, and on as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Session:
    """Weights under training, with the rows, the optimiser and the generator of every draw."""

    def __init__(self, rows: Rows, start: Network, params: NetworkParams, seed: int, norms_follow: bool = True) -> None:
        import torch

        self.params = params
        self.norms_follow = norms_follow
        self.prior_shift = start.prior_shift
        self.generator = torch.Generator().manual_seed(seed)
        self.inputs, self.y = _tensor(rows.values), _tensor(rows.y)[:, None]
        self.layers = [{name: _tensor(value) for name, value in vars(layer).items()} for layer in start.hidden]
        self.out_weight, self.out_bias = _tensor(start.out_weight), _tensor(start.out_bias)
        decayed = [*(layer["weight"] for layer in self.layers), self.out_weight]
        free = [*(layer[name] for layer in self.layers for name in HEAD_WEIGHTS), self.out_bias]
        for tensor in decayed + free:
            tensor.requires_grad_()
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": params.weight_decay}, {"params": free, "weight_decay": 0.0}],
            lr=params.learning_rate,
        )

    @property
    def rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    @rate.setter
    def rate(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = value

    def follow(self, rates: Sequence[float]) -> Network:
        """One epoch at each of `rates`."""
        for rate in rates:
            self.rate = rate
            self.epoch()
        return self.network()

    def epoch(self) -> None:
        """One pass over the rows in batches of about equal size, in a fresh order."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        order = torch.randperm(len(self.y), generator=self.generator)
        weight = torch.tensor(np.exp(self.prior_shift), dtype=torch.float32)
        for batch in torch.tensor_split(order, max(len(order) // self.params.batch_rows, 1)):
            y = self.y[batch]
            margin = self.margins(self.inputs[batch], learning=True)
            loss = binary_cross_entropy_with_logits(margin, y.expand_as(margin), pos_weight=weight)
            if self.params.calibration_weight:
                probability = torch.sigmoid(margin - self.prior_shift)
                loss = loss + self.params.calibration_weight * calibration_term(probability, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def margins(self, inputs: "torch.Tensor", learning: bool) -> "torch.Tensor":
        """Log-odds of every head before the prior shift, [n, k]."""
        import torch
        from torch.nn.functional import batch_norm

        activation = inputs[:, None, :]
        for layer in self.layers:
            product = (activation * layer["adapter"]) @ layer["weight"]
            normed = batch_norm(
                product.flatten(1),
                layer["mean"].view(-1),
                layer["variance"].view(-1),
                layer["gain"].view(-1),
                layer["shift"].view(-1),
                training=learning and self.norms_follow,
                momentum=NORM_MOMENTUM,
                eps=VARIANCE_FLOOR,
            )
            activation = torch.relu(normed).view_as(product)
            if learning and self.params.dropout:
                keep = 1 - self.params.dropout
                mask = torch.empty_like(activation).bernoulli_(keep, generator=self.generator)
                activation = activation * mask / keep
        return (activation * self.out_weight).sum(dim=-1) + self.out_bias

    def log_loss(self, rows: Rows) -> float:
        """Log loss of the heads' mean probability."""
        import torch

        with torch.no_grad():
            margin = self.margins(_tensor(rows.values), learning=False)
            probability = torch.sigmoid(margin - self.prior_shift).double().mean(dim=1).numpy()
        right = np.where(rows.y == 1, probability, 1 - probability)
        return float(-np.log(np.maximum(right, LEAST_PROBABILITY)).mean())

    def network(self) -> Network:
        """A copy of the weights as they are."""
        hidden = tuple(HiddenLayer(**{name: _array(value) for name, value in layer.items()}) for layer in self.layers)
        return Network(hidden, _array(self.out_weight), _array(self.out_bias), self.prior_shift)


def _tensor(values: np.ndarray) -> "torch.Tensor":
    """A float32 copy as a tensor."""
    import torch

    return torch.from_numpy(values.astype(np.float32))


def _array(tensor: "torch.Tensor") -> np.ndarray:
    """A float64 copy as an array."""
    return tensor.detach().numpy().astype(np.float64)
