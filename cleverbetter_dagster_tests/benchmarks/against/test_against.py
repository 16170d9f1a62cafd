"""Two builds are compared by their medians, and their models by name."""

import json
from pathlib import Path

import pytest

from cleverbetter_dagster_tests.benchmarks.against.builds import Build, Cost
from cleverbetter_dagster_tests.benchmarks.bench_against import NOW, Comparison, main

COMPARISON = Comparison(
    {"old": [Cost(9.0, 4.0, 100.0), Cost(8.0, 4.0, 100.0), Cost(20.0, 4.0, 100.0)], NOW: [Cost(3.0, 1.0, 50.0)]},
    {
        "old": {"2023-12 ensemble": {"roc_auc": 0.70, "brier": 0.20}, "2023-12 gone": {"brier": 0.9}},
        NOW: {"2023-12 ensemble": {"roc_auc": 0.75, "brier": 0.20}},
    },
)


def test_a_ratio_is_of_medians() -> None:
    assert COMPARISON.ratio("wall") == pytest.approx(3.0 / 9.0)
    assert COMPARISON.ratio("cpu") == pytest.approx(0.25)


def test_figures_are_compared_by_model_and_name() -> None:
    assert COMPARISON.furthest() == pytest.approx({"roc_auc": 0.05, "brier": 0.0})


@pytest.mark.slow
def test_a_build_costs_what_its_own_commit_costs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--commit", "HEAD", "--only", "ensemble_fit", "--strategies", "50", "--repeats", "1", "--json"])
    ratios = json.loads(capsys.readouterr().out)["ensemble_fit"]
    assert 0.3 < ratios["cpu"] < 3
    assert ratios["apart"] == {"roc_auc": 0.0, "brier": 0.0}


def test_variables_of_the_caller_do_not_reach_a_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "CLEVERBETTER_THREADS", "DAGSTER_SOMETHING"):
        monkeypatch.setenv(name, "mine")
    variables = Build("old", tmp_path).environment(tmp_path, CLEVERBETTER_API_PORT="1")
    ours = {name: value for name, value in variables.items() if name.startswith(("CLEVERBETTER", "DA", "PYTHONPATH"))}
    assert ours == {"CLEVERBETTER_API_PORT": "1", "DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
