"""The training guide's `ModelEvaluator`: arrays in, plain dictionaries of floats out."""

import numpy as np
from numpy.typing import ArrayLike

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.performance import betting_metrics, finite_vector
from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation.metrics.classification import classification_metrics


class ModelEvaluator:
    """Metrics of a model's predictions and of bets. A metric that is not defined is NaN."""

    def calculate_classification_metrics(
        self, y_test: ArrayLike, y_pred: ArrayLike, y_pred_proba: ArrayLike
    ) -> dict[str, float]:
        """Accuracy, precision, recall, F1, ROC AUC, average precision, Brier, log loss, calibration error.

        Args:
            y_test: 0 or 1, shape (n,), n >= 1.
            y_pred: 0 or 1, shape (n,).
            y_pred_proba: probability of 1, shape (n,), or of 0 and 1, shape (n, 2) as scikit-learn gives it.

        Returns:
            Values by name; `roc_auc` and `average_precision` are NaN if all labels are equal. `roc_auc` compares all
            rows with each other; the calibration error takes them as independent.

        Raises:
            InvalidInput: lengths differ, a value is missing, a label is not 0 or 1, or a probability is outside 0..1.
        """
        label, prediction = _binary(y_test, "y_test"), _binary(y_pred, "y_pred")
        probability = _probability_of_one(y_pred_proba)
        if not len(label) == len(prediction) == len(probability) or not len(label):
            raise InvalidInput(
                f"y_test has {len(label)} rows, y_pred {len(prediction)}, y_pred_proba {len(probability)}: "
                "give the same rows to all three, and at least one."
            )
        metrics = classification_metrics(label, probability, prediction)
        return _numbers(metrics.model_dump(exclude={"n_rows", "base_rate"}))

    def calculate_betting_metrics(
        self, stakes: ArrayLike, returns: ArrayLike, initial_bankroll: float | None = None
    ) -> dict[str, float]:
        """Total stake and return, ROI, Sharpe ratio, drawdown, profit factor, win rate and number of bets.

        Args:
            stakes: money put on each bet, >= 0, shape (n,), in order of settlement.
            returns: profit of each bet in the same money, negative if it lost, shape (n,).
            initial_bankroll: the drawdown is a fraction of it; by default the sum of the stakes.

        Returns:
            ROI is total_return / total_stake; the Sharpe ratio is per bet, not annualised. NaN if not defined: no bet,
            no losing bet (profit factor), no variation (Sharpe ratio).

        Raises:
            InvalidInput: lengths differ, a value is missing, or a stake is negative.
        """
        return _numbers(betting_metrics(stakes, returns, initial_bankroll).model_dump())


def _binary(values: ArrayLike, name: str) -> FloatArray:
    vector = finite_vector(values, name)
    wrong = vector[~np.isin(vector, (0.0, 1.0))]
    if len(wrong):
        raise InvalidInput(f"{name} holds {wrong[0]}, must be 0 or 1.")
    return vector


def _probability_of_one(values: ArrayLike) -> FloatArray:
    table = np.asarray(values)
    if table.ndim == 2 and table.shape[1] != 2:
        raise InvalidInput(f"y_pred_proba has shape {table.shape}, must be (n,) or (n, 2).")
    vector = finite_vector(table[:, 1] if table.ndim == 2 else table, "y_pred_proba")
    wrong = vector[(vector < 0) | (vector > 1)]
    if len(wrong):
        raise InvalidInput(f"y_pred_proba holds {wrong[0]}, must be within 0..1: calibrate scores first.")
    return vector


def _numbers(metrics: dict[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else float(value) for name, value in metrics.items()}
