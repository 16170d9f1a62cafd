"""The checks of an evaluation pass on a good model and fail on their planted faults."""

import numpy as np
import pytest

from cleverbetter_dagster.evaluation.checks import CheckOutcome
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.services.evaluation.checks import EVALUATION_CHECKS
from cleverbetter_dagster.services.evaluation.evaluate import Evaluation
from cleverbetter_dagster_tests.evaluation.scored import scored_rows, simulated_models

MODELS = simulated_models()
MOVED = CheckOutcome(passed=False, message="moved")


class Judged(Evaluation):
    """An evaluation made of scored rows, as far as the checks read it."""

    def __init__(self, rows: ScoredRows, drift: CheckOutcome | None = None) -> None:
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "score_drift", drift or CheckOutcome(passed=True, message="stays"))
        object.__setattr__(self, "model", type("Model", (), {"family": "good"}))

    @property
    def scored(self) -> dict[str, ScoredRows]:
        return {"good": self.rows, "blind": MODELS["blind"]}  # type: ignore[attr-defined]


def changed(probability: np.ndarray) -> ScoredRows:
    good = MODELS["good"]
    return scored_rows(np.clip(probability, 0, 1), good.label, good.next_roi, good.stake, good.decision_time)


FAULTS = {
    "is_calibrated": Judged(changed(MODELS["good"].probability + 0.08)),
    "beats_every_baseline": Judged(MODELS["blind"]),
    "score_has_not_drifted": Judged(MODELS["good"], MOVED),
}


def failing(judged: Judged) -> set[str]:
    return {check.name for check in EVALUATION_CHECKS if not check.run(judged).passed}


def test_a_model_that_knows_the_truth_passes() -> None:
    assert failing(Judged(MODELS["good"])) == set()


@pytest.mark.parametrize("name", [check.name for check in EVALUATION_CHECKS])
def test_a_fault_fails_its_check_only(name: str) -> None:
    assert failing(FAULTS[name]) == {name}
