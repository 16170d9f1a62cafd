"""How a network's weights are found: the loss, one epoch, early stopping, repeating a schedule, fine-tuning.

Torch is imported inside the functions, on one thread, and every draw comes from a generator made of the seed: no
global state is read or left changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cleverbetter_dagster.learning.classifier.network import Network, Rows
from cleverbetter_dagster.learning.classifier.params import NetworkParams
from cleverbetter_dagster.learning.torch_threads import one_torch_thread

if TYPE_CHECKING:
    import torch

    from cleverbetter_dagster.learning.classifier.module import TabM

CALIBRATION_BINS = 10
BIN_TEMPERATURE = 0.01
LEAST_PROBABILITY = 1e-7
RATE_FACTOR = 0.3
"""What a plateau leaves of the learning rate."""

FINE_TUNE_RATE = 0.1
FINE_TUNE_EPOCHS = 3


@dataclass(frozen=True, eq=False)
class Trained:
    """A network and how it came to be.

    Attributes:
        network: the weights at the best epoch.
        rates: learning rate of every epoch up to the best, [best_epoch].
        epochs: epochs run.
        stopping_loss: log loss of the stopping rows at the best epoch.
    """

    network: Network
    rates: tuple[float, ...]
    epochs: int
    stopping_loss: float


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


def train_early_stopping(rows: Rows, stopping: Rows, params: NetworkParams, seed: int) -> Trained:
    """Train until the log loss of later rows has not fallen for `params.patience` epochs; keep the best epoch.

    The best epoch may be none at all: if no epoch beats the share of positives, the network goes on answering that.
    """
    import torch

    with one_torch_thread():
        model = _new_module(rows, params, seed)
        session = _Session(model, rows, params, seed)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            session.optimizer, factor=RATE_FACTOR, patience=params.plateau
        )
        best, best_loss, best_epoch = model.network(), session.log_loss(stopping), 0
        rates: list[float] = []
        for epoch in range(1, params.max_epochs + 1):
            rates.append(session.optimizer.param_groups[0]["lr"])
            session.epoch()
            loss = session.log_loss(stopping)
            if loss < best_loss:
                best, best_loss, best_epoch = model.network(), loss, epoch
            elif epoch - best_epoch >= params.patience:
                break
            schedule.step(loss)
    return Trained(best, tuple(rates[:best_epoch]), len(rates), best_loss)


def train_by_schedule(rows: Rows, rates: Sequence[float], params: NetworkParams, seed: int) -> Network:
    """Train one epoch at each of `rates`, such as `train_early_stopping` found on fewer rows."""
    with one_torch_thread():
        return _Session(_new_module(rows, params, seed), rows, params, seed).follow(rates)


def fine_tuned_network(network: Network, rows: Rows, params: NetworkParams, seed: int) -> Network:
    """Train a little further, at a tenth of the learning rate, with the batch norms' statistics as they are."""
    from cleverbetter_dagster.learning.classifier.module import TabM

    rates = [FINE_TUNE_RATE * params.learning_rate] * FINE_TUNE_EPOCHS
    with one_torch_thread():
        model = TabM(rows.values.shape[1], params, 0.0, seed)
        model.load(network)
        return _Session(model, rows, params, seed, norms_follow=False).follow(rates)


def _new_module(rows: Rows, params: NetworkParams, seed: int) -> "TabM":
    """The module to begin with, for these rows' inputs and share of positives."""
    from cleverbetter_dagster.learning.classifier.module import TabM

    positives = float(rows.y.mean())
    return TabM(rows.values.shape[1], params, float(np.log((1 - positives) / positives)), seed)


class _Session:
    """A module under training, with the rows, the optimiser and the generator of every draw."""

    def __init__(self, model: "TabM", rows: Rows, params: NetworkParams, seed: int, norms_follow: bool = True) -> None:
        import torch

        self.model, self.params, self.norms_follow = model, params, norms_follow
        self.generator = torch.Generator().manual_seed(seed)
        self.inputs, self.y = _tensor(rows.values), _tensor(rows.y)[:, None]
        matrices = {name for name, _ in model.named_parameters() if name.endswith("weight") and "norm" not in name}
        decayed, free = (
            [value for name, value in model.named_parameters() if (name in matrices) == decays]
            for decays in (True, False)
        )
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": params.weight_decay}, {"params": free, "weight_decay": 0.0}],
            lr=params.learning_rate,
        )

    def follow(self, rates: Sequence[float]) -> Network:
        """One epoch at each of `rates`."""
        for rate in rates:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.epoch()
        return self.model.network()

    def epoch(self) -> None:
        """One pass over the rows in batches of about equal size, in a fresh order."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        self.model.train()
        self.model.train_norms(self.norms_follow)
        order = torch.randperm(len(self.y), generator=self.generator)
        weight = torch.tensor(np.exp(self.model.prior_shift), dtype=torch.float32)
        for batch in torch.tensor_split(order, max(len(order) // self.params.batch_rows, 1)):
            y = self.y[batch]
            margin = self.model(self.inputs[batch], self.generator)
            loss = binary_cross_entropy_with_logits(margin, y.expand_as(margin), pos_weight=weight)
            if self.params.calibration_weight:
                probability = torch.sigmoid(margin - self.model.prior_shift)
                loss = loss + self.params.calibration_weight * calibration_term(probability, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def log_loss(self, rows: Rows) -> float:
        """Log loss of the heads' mean probability."""
        import torch

        self.model.eval()
        with torch.no_grad():
            margin = self.model(_tensor(rows.values))
            probability = torch.sigmoid(margin - self.model.prior_shift).double().mean(dim=1).numpy()
        right = np.where(rows.y == 1, probability, 1 - probability)
        return float(-np.log(np.maximum(right, LEAST_PROBABILITY)).mean())


def _tensor(values: np.ndarray) -> "torch.Tensor":
    """A float32 copy as a tensor."""
    import torch

    return torch.from_numpy(values.astype(np.float32))
