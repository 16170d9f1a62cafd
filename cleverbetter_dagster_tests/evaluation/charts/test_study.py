from cleverbetter_dagster.evaluation.charts.chart import svg
from cleverbetter_dagster.evaluation.charts.study import history_chart


def test_the_best_so_far_follows_the_direction_of_the_metric() -> None:
    assert ">best so far 0.7000</text>" in svg(history_chart([0.5, 0.7], 0.5, "x", maximise=True), "c")
    assert ">best so far 0.5000</text>" in svg(history_chart([0.5, 0.7], 0.5, "x", maximise=False), "c")


def test_pruned_trials_are_counted_and_marked() -> None:
    chart = history_chart([0.5, None], 0.5, "auc")
    assert chart.caption == "Mean AUC over the folds; 2 trials, 1 pruned."
    assert ">pruned</text>" in svg(chart, "c")
