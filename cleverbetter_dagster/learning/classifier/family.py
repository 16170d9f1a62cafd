"""The classifier family: a network with several heads, stopped in time and calibrated on later rows.

What each step sees. Validation is later than train and cut in two halves, `stopping` and `calibration`; every label
of a part is known before the next part begins:

    step                     fitted on                       stops by or is predicted by
    1 encoder                train                           -
    2 network                train                           stopping: the epoch to stop at, the learning rates
    3 calibrator             calibration                     predicted by step 2
    4 final encoder          all of train and validation     -
    5 final network          all of train and validation     nothing: repeats the epochs and rates of step 2

An update starts from these and adds new rows:

    step                     takes in                                    its rows were predicted by
    6 calibrator             unseen rows, for as many of its oldest      step 5, before the update
    7 network                all new rows, and a sample of past ones     -

A prediction takes steps 4, 5 and 3, in this order. Unseen rows were decided when every label the model knows was known.
The encoder and the batch norms' statistics stay. The calibrator's rows are later than all rows of the network that
predicted them, and no row is judged by weights that saw its label. The loss weighs the rarer class; log-odds are
shifted back by that weight, so that even the raw score is a probability.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.learning.calibration import CALIBRATOR_TYPES, Calibrator, calibration_facts, fit_calibrator
from cleverbetter_dagster.learning.classifier.network import InputEncoder, Network, Rows
from cleverbetter_dagster.learning.classifier.params import NetworkParams
from cleverbetter_dagster.learning.classifier.training import (
    fine_tuned_network,
    train_by_schedule,
    train_early_stopping,
)
from cleverbetter_dagster.learning.family import (
    Family,
    checked_params,
    latest_label,
    require_both_classes,
    require_order,
    require_update,
    unseen,
)
from cleverbetter_dagster.learning.model import FittedModel, Params, Report, feature_matrix, prediction_columns
from cleverbetter_dagster.learning.thread_limits import at_most

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

REPLAY_ROWS = 1500
"""Rows a fitted model remembers, drawn evenly from those it was fitted on, to rehearse when it is updated."""


@dataclass(frozen=True, eq=False)
class FittedClassifier(FittedModel):
    """A fitted classifier. `score` is the heads' mean probability before calibration.

    Attributes:
        memory: rows to rehearse, features not encoded: float[<= REPLAY_ROWS, features] and their labels.
        facts: the part of `report` that an update leaves as it is.
    """

    family = "classifier"

    feature_names: tuple[str, ...]
    params: NetworkParams
    encoder: InputEncoder
    network: Network
    calibrator: Calibrator
    memory: Rows
    facts: Report
    known_until: pd.Timestamp
    updated_rows: int = 0

    def _predict_frame(self, values: np.ndarray) -> dict[str, np.ndarray]:
        with at_most(1):
            opinions = self.network.head_probabilities(self.encoder.encode(values))
        score = opinions.mean(axis=1)
        return prediction_columns(self.calibrator.probability(score), score, opinions)

    def feature_importance(self) -> pd.Series:
        """Mean absolute effect of a feature's deviation from its mean on the log-odds, to first order.

        Gradient times deviation on the remembered rows, summed over the inputs that stem from the feature, so that
        opposite effects cancel.
        """
        belongs = self.encoder.feature_of[:, None] == np.arange(len(self.feature_names))
        with at_most(1):
            effects = self.network.contributions(self.encoder.encode(self.memory.values)) @ belongs
        shares = np.abs(effects).mean(axis=0)
        total = shares.sum()
        shares = shares / total if total > 0 else np.full(len(shares), 1 / len(shares))
        return pd.Series(shares, index=list(self.feature_names))

    def report(self) -> Report:
        return {**self.facts, **calibration_facts(self.calibrator, self.updated_rows)}


class Classifier(Family):
    """The family `classifier`; the module's table says what each part may see."""

    name = "classifier"
    title = "Calibrated network"
    description = (
        "A multilayer perceptron whose heads share most weights, trained with a calibration term, stopped on "
        "later rows and calibrated on rows later still."
    )

    params_model = NetworkParams
    stored_types = (FittedClassifier, NetworkParams, InputEncoder, Network, Rows, *CALIBRATOR_TYPES)

    def suggest(self, trial: "BaseTrial") -> dict[str, Any]:
        """What the guide tunes: learning rate, dropout, weight decay; and the network's width and depth."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.6),
            "weight_decay": trial.suggest_float("weight_decay", 1e-3, 1.0, log=True),
            "width": trial.suggest_int("width", 16, 128, log=True),
            "depth": trial.suggest_int("depth", 1, 3),
        }

    def fit(self, train: Examples, validation: Examples, params: Params, seed: int, threads: int) -> FittedClassifier:  # noqa: ARG002 - torch keeps to one
        """Fit the five steps of the module's table, on one thread whatever `threads` allows.

        Raises:
            LearningError: as `Family.fit`.
            NotEnoughRows: validation holds fewer than two distinct decision times.
        """
        chosen = checked_params(NetworkParams, params, self.name)
        require_order(train, validation)
        require_both_classes(train.y)
        names = tuple(train.X.columns)
        known = Rows(feature_matrix(train.X, names), train.y)
        later = Rows(feature_matrix(validation.X, names), validation.y)
        [(stopping, calibration)] = temporal_folds(validation.decision_time, validation.label_time, n_folds=1)

        encoder = InputEncoder.fit(known.values, chosen.bins)
        past = train_early_stopping(_encoded(encoder, known), _encoded(encoder, later.take(stopping)), chosen, seed)
        judged = _encoded(encoder, later.take(calibration))
        score = past.network.head_probabilities(judged.values).mean(axis=1)
        calibrator = fit_calibrator(score, judged.y)

        everything = known.joined(later)
        final = InputEncoder.fit(everything.values, chosen.bins)
        network = train_by_schedule(_encoded(final, everything), past.rates, chosen, seed)
        memory = everything.sample(REPLAY_ROWS, np.random.default_rng(seed))
        facts: Report = {
            "epochs": past.epochs,
            "best_epoch": len(past.rates),
            "last_learning_rate": past.rates[-1] if past.rates else 0.0,
            "stopping_log_loss": past.stopping_loss,
            "stopping_rows": len(stopping),
            "prior_shift": past.network.prior_shift,
        }
        known_until = latest_label(train, validation)
        return FittedClassifier(names, chosen, final, network, calibrator, memory, facts, known_until)

    def update(self, model: FittedModel, new: Examples, past: Examples, seed: int, threads: int) -> FittedClassifier:  # noqa: ARG002 - torch keeps to one
        """Take the last two steps of the module's table, at a fraction of the learning rate.

        It rehearses as many rows as the model remembers, drawn from `past`, or from its memory if `past` is empty.
        """
        before, rng = require_update(FittedClassifier, model, new, past), np.random.default_rng(seed)
        names, judging = before.feature_names, unseen(before, new)
        fresh = Rows(feature_matrix(new.X, names), new.y)
        learned = Rows(feature_matrix(past.X, names), past.y) if len(past) else before.memory
        scored = _encoded(before.encoder, fresh.take(judging))
        score = before.network.head_probabilities(scored.values).mean(axis=1)
        rehearsed = fresh.joined(learned.sample(REPLAY_ROWS, rng))
        network = fine_tuned_network(before.network, _encoded(before.encoder, rehearsed), before.params, seed)
        return replace(
            before,
            network=network,
            calibrator=before.calibrator.updated(score, scored.y),
            memory=fresh.joined(learned).sample(REPLAY_ROWS, rng),
            known_until=max(before.known_until, latest_label(new)),
            updated_rows=before.updated_rows + len(new),
        )


def _encoded(encoder: InputEncoder, rows: Rows) -> Rows:
    return Rows(encoder.encode(rows.values), rows.y)
