"""How well probabilities tell profitable next windows from the others."""

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.evaluation.metrics.calibration_error import calibration_error

DECISION_THRESHOLD = 0.5


class ClassificationMetrics(BaseModel):
    """Metrics of one set of probabilities; `None` where not defined: ranking metrics if all labels are equal."""

    model_config = ConfigDict(frozen=True)

    n_rows: int = Field(ge=1)
    base_rate: float = Field(description="share of labels that are 1")
    accuracy: float
    precision: float = Field(description="0 if nothing is predicted to be 1")
    recall: float = Field(description="0 if no label is 1")
    f1: float
    roc_auc: float | None
    average_precision: float | None
    brier: float = Field(description="mean squared error of the probability; lower is better")
    log_loss: float = Field(description="in nats; lower is better")
    calibration_error: float | None = Field(description="root mean square without chance; None if no bin has two rows")


def classification_metrics(
    label: ArrayLike, probability: ArrayLike, prediction: ArrayLike | None = None
) -> ClassificationMetrics:
    """Metrics of `probability` (and of the hard `prediction`) against `label`.

    Args:
        label: 0 or 1, shape (n,), n >= 1.
        probability: of label 1, shape (n,), within 0..1, no NaN.
        prediction: 0 or 1, shape (n,). By default 1 if the probability is at least one half.

    A probability of exactly 0 or 1 that turns out wrong costs the log loss of 1e-15, not infinity.
    """
    from sklearn import metrics  # slow to import

    y, p = np.asarray(label, dtype=np.int8), np.asarray(probability, dtype=np.float64)
    predicted = p >= DECISION_THRESHOLD if prediction is None else np.asarray(prediction)
    both_classes = 0 < y.mean() < 1
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        y, predicted.astype(np.int8), average="binary", zero_division=0
    )
    return ClassificationMetrics(
        n_rows=len(y),
        base_rate=float(y.mean()),
        accuracy=float(metrics.accuracy_score(y, predicted.astype(np.int8))),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        roc_auc=float(metrics.roc_auc_score(y, p)) if both_classes else None,
        average_precision=float(metrics.average_precision_score(y, p)) if both_classes else None,
        brier=float(brier_terms(y, p).mean()),
        log_loss=float(log_loss_terms(y, p).mean()),
        calibration_error=calibration_error(y, p),
    )


def brier_terms(label: ArrayLike, probability: ArrayLike) -> np.ndarray:
    """Each row's squared error, 0..1. Source: Brier (1950), in the form for two classes."""
    return (np.asarray(probability, dtype=np.float64) - np.asarray(label, dtype=np.float64)) ** 2


def log_loss_terms(label: ArrayLike, probability: ArrayLike) -> np.ndarray:
    """Each row's negative log likelihood in nats, >= 0, probabilities clipped to 1e-15..1 - 1e-15."""
    y = np.asarray(label, dtype=np.float64)
    p = np.clip(np.asarray(probability, dtype=np.float64), 1e-15, 1.0 - 1e-15)
    return -(y * np.log(p) + (1.0 - y) * np.log1p(-p))
