import struct

import pytest

from cleverbetter_dagster.evaluation.plots import study

DRAWINGS = {
    "history": lambda: study.optimisation_history([0.7, None, 0.72, 0.71], 0.7, "auc"),
    "history of losses": lambda: study.optimisation_history([0.7, 0.5], 0.7, "log_loss", maximise=False),
    "history of one trial": lambda: study.optimisation_history([0.7], 0.7, "auc"),
    "history of pruned trials": lambda: study.optimisation_history([None, None], 0.7, "another"),
    "importances": lambda: study.parameter_importances({"depth": 0.8, "rate": 0.2}, "auc"),
    "importance of nothing": lambda: study.parameter_importances({"depth": 0.0}, "brier"),
}


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")
def test_every_drawing_is_a_png_770_pixels_wide(name):
    png = DRAWINGS[name]()

    assert png.startswith(b"\x89PNG\r\n")
    assert struct.unpack(">I", png[16:20])[0] == 770


def test_the_best_so_far_follows_the_direction_of_the_metric():
    up = study.optimisation_history([0.5, 0.7], 0.5, "x", maximise=True)
    assert up != study.optimisation_history([0.5, 0.7], 0.5, "x", maximise=False)
