"""Inputs, exact arithmetic and training of the network, on numbers small enough to check by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from cleverbetter_dagster.learning.classifier import training
from cleverbetter_dagster.learning.classifier.network import InputEncoder, Network, Rows
from cleverbetter_dagster.learning.classifier.params import NetworkParams
from cleverbetter_dagster.learning.classifier.training import (
    calibration_term,
    train_by_schedule,
    train_early_stopping,
)

MATRIX = "hidden.0.weight"
SMALL = NetworkParams(heads=3, width=8, depth=2, batch_rows=32, max_epochs=40, learning_rate=0.01, patience=3)


def network(
    weight: list[list[float]], out: list[float], bias: float = 0.0, shift: float = 0.0, mean: list[float] | None = None
) -> Network:
    """One head with one hidden layer and a batch norm that only subtracts `mean`."""
    inputs, width = np.shape(weight)
    weights = {
        "hidden.0.adapter": np.ones((1, inputs)),
        "hidden.0.weight": np.array(weight),
        "hidden.0.norm.weight": np.ones(width),
        "hidden.0.norm.bias": np.zeros(width),
        "hidden.0.norm.running_mean": np.zeros(width) if mean is None else np.array(mean),
        "hidden.0.norm.running_var": np.full(width, 1 - 1e-5),
        "out_weight": np.array([out]),
        "out_bias": np.array([bias]),
    }
    return Network(weights, prior_shift=shift)


def test_a_feature_is_encoded_by_median_spread_bins_and_flag():
    encoder = InputEncoder.fit(np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [np.nan]]), bins=2)
    # Median 2, quartiles 1 and 3, edges 0, 2, 4.
    encoded = encoder.encode(np.array([[3.0], [-1.0], [100.0], [np.nan]]))
    np.testing.assert_allclose(encoded, [[0.5, 1, 0.5, 0], [-1.5, 0, 0, 0], [4, 1, 1, 0], [0, 1, 0, 1]])
    np.testing.assert_array_equal(encoder.feature_of, [0, 0, 0, 0])


def test_constant_and_unmeasured_features_are_encoded_as_zero():
    encoder = InputEncoder.fit(np.array([[7.0, np.nan], [7.0, np.nan]]), bins=4)
    np.testing.assert_array_equal(encoder.encode(np.array([[7.0, np.nan]])), [[0, 0, 1]])
    assert np.isfinite(encoder.encode(np.array([[8.0, 3.0]]))).all()


def test_a_network_of_one_head_answers_as_worked_by_hand():
    # Hidden: relu(2*1 - 1*3) = 0 and relu(1*1 + 1*3 - 0.5) = 3.5; log-odds 0.2*3.5 + 0.1 - 0.3 = 0.5.
    one = network([[2.0, 1.0], [-1.0, 1.0]], out=[5.0, 0.2], bias=0.1, shift=0.3, mean=[0.0, 0.5])
    np.testing.assert_allclose(one.head_probabilities(np.array([[1.0, 3.0]])), [[expit(0.5)]], atol=1e-5)


def test_contributions_are_gradient_times_deviation():
    # One active unit: the log-odds are 0.5 * (2a - b) where positive.
    rows = np.array([[3.0, 1.0], [5.0, 3.0]])
    one = network([[2.0], [-1.0]], out=[0.5])
    np.testing.assert_allclose(one.contributions(rows), [[-1.0, 0.5], [1.0, -0.5]])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), scale=st.sampled_from([0.01, 1.0, 30.0]))
def test_no_order_of_adding_changes_a_bit(seed, scale):
    rng = np.random.default_rng(seed)
    inputs, width = 50, 12
    weight = rng.normal(0, scale, (inputs, width))
    rows = rng.uniform(-4, 4, (5, inputs))
    order = rng.permutation(inputs)
    answers = [
        network(w.tolist(), out=[0.03 / scale] * width).head_probabilities(x)
        for w, x in ((weight, rows), (weight[order], rows[:, order]))
    ]
    np.testing.assert_array_equal(*answers)


@pytest.fixture(scope="module")
def trained() -> tuple[Rows, Network]:
    rng = np.random.default_rng(0)
    rows = Rows(rng.normal(size=(200, 6)), rng.integers(0, 2, 200))
    return rows, train_by_schedule(rows, [0.01, 0.01], SMALL, 0)


def torch_probabilities(network: Network, inputs: np.ndarray) -> np.ndarray:
    """What the module of a network's weights answers, in torch's own float32 arithmetic."""
    import torch

    from cleverbetter_dagster.learning.classifier.module import TabM

    module = TabM(inputs.shape[1], SMALL, 0.0, seed=0).eval()
    module.load(network)
    with torch.no_grad():
        return torch.sigmoid(module(torch.from_numpy(inputs.astype(np.float32))) - module.prior_shift).numpy()


def test_torch_and_numpy_give_the_same_probabilities(trained):
    rows, network = trained
    ours = network.head_probabilities(rows.values)
    np.testing.assert_allclose(ours, torch_probabilities(network, rows.values), atol=1e-4)
    assert len(np.unique(ours[0])) == SMALL.heads


def test_torch_alone_rounds_a_row_by_its_company(trained):
    """Why numpy scores: a row scored alone has other bits in torch, and the same bits here."""
    rows, network = trained

    def alone(probabilities):
        return np.vstack([probabilities(network, rows.values[[n]]) for n in range(len(rows))])

    assert not np.array_equal(alone(torch_probabilities), torch_probabilities(network, rows.values))
    np.testing.assert_array_equal(alone(Network.head_probabilities), network.head_probabilities(rows.values))


def test_the_calibration_term_grows_with_the_gap():
    import torch

    y = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    calibrated, bold = torch.full((4, 1), 0.5), torch.full((4, 1), 0.9)
    assert float(calibration_term(calibrated, y)) == pytest.approx(0.0, abs=1e-7)
    # All rows share their bins, so each bin's gap is 0.9 - 0.5.
    assert float(calibration_term(bold, y)) == pytest.approx(0.4**2, rel=1e-4)


def signal(rows: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 4))
    return Rows(values, (rng.uniform(size=rows) < expit(2 * values[:, 0] - 2)).astype(np.int8))


def test_training_stops_and_keeps_the_best_epoch():
    rows, stopping = signal(300, 0), signal(300, 1)
    trained = train_early_stopping(rows, stopping, SMALL, 0)
    assert trained.epochs == len(trained.rates) + SMALL.patience < SMALL.max_epochs
    score = trained.network.head_probabilities(stopping.values).mean(axis=1)
    loss = -np.log(np.where(stopping.y == 1, score, 1 - score)).mean()
    assert loss == pytest.approx(trained.stopping_loss, abs=1e-4)


def test_the_learning_rate_falls_once_the_loss_stops_falling(monkeypatch):
    # Watched losses: at the start, then after epochs 1 to 4; the second stands still, so the third step is smaller.
    losses = iter([0.9, 0.8, 0.8, 0.7, 0.6])
    monkeypatch.setattr(training._Session, "log_loss", lambda session, rows: next(losses))
    params = SMALL.model_copy(update={"plateau": 0, "max_epochs": 4})
    trained = train_early_stopping(signal(100, 0), signal(100, 1), params, 0)
    assert trained.rates == pytest.approx((0.01, 0.01, 0.003, 0.003))


def test_a_repeated_schedule_gives_the_network_that_was_watched():
    rows = signal(300, 0)
    trained = train_early_stopping(rows, signal(300, 1), SMALL, 0)
    again = train_by_schedule(rows, trained.rates, SMALL, 0)
    np.testing.assert_array_equal(
        again.head_probabilities(rows.values), trained.network.head_probabilities(rows.values)
    )


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_weighing_the_rarer_class_keeps_the_mean_probability(balance):
    rows = signal(2000, 0)
    assert 0.1 < rows.y.mean() < 0.3
    params = SMALL.model_copy(update={"balance": balance, "dropout": 0.0, "batch_rows": 128})
    network = train_by_schedule(rows, [0.01] * 8, params, 0)
    assert network.head_probabilities(rows.values).mean() == pytest.approx(rows.y.mean(), abs=0.03)


def test_without_the_shift_back_the_weighted_loss_overstates():
    rows = signal(2000, 0)
    params = SMALL.model_copy(update={"balance": 1.0, "dropout": 0.0, "batch_rows": 128})
    network = train_by_schedule(rows, [0.01] * 8, params, 0)
    raw = Network(network.weights, prior_shift=0.0)
    assert raw.head_probabilities(rows.values).mean() > rows.y.mean() + 0.1


def test_weight_decay_shrinks_the_matrices():
    rows = signal(300, 0)
    sizes = [
        np.abs(
            train_by_schedule(rows, [0.01] * 5, SMALL.model_copy(update={"weight_decay": decay}), 0).weights[MATRIX]
        ).mean()
        for decay in (0.0, 5.0)
    ]
    assert sizes[1] < 0.8 * sizes[0]


def test_fine_tuning_keeps_the_batch_norms_statistics():
    rows = signal(300, 0)
    network = train_by_schedule(rows, [0.01] * 3, SMALL, 0)
    moved = Rows(rows.values + 1.0, rows.y)
    tuned = training.fine_tuned_network(network, moved, SMALL, 0)
    for depth in range(SMALL.depth):
        mean, weight = f"hidden.{depth}.norm.running_mean", f"hidden.{depth}.weight"
        np.testing.assert_array_equal(tuned.weights[mean], network.weights[mean])
        assert not np.array_equal(tuned.weights[weight], network.weights[weight])
