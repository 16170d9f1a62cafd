"""The web UI as a person uses it: `cleverbetter up`, a backfill, a run, and what a headless chromium then shows.

Run with `pytest -m browser`; needs Debian's chromium. With SCREENSHOTS set to a folder, the pictures are kept there.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec, simulate_rows
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"),
]

SIMULATION = SimulationSpec(n_strategies=100, first_month="2022-01", months=24)
AS_OF = "2023-12"
LOCATION = "cleverbetter_dagster.definitions"

BACKFILL = """mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL_STATUS = """query Status($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status error { message } } } }"""
LAUNCH = """mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } } } }"""
RUN_STATUS = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


ENDED = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "SUCCESS", "FAILED", "FAILURE", "CANCELED"}

# As little training as shows everything: two settings tried, so that there is a study to draw.
CONFIG = {
    "temporal_split": {"min_composite_score": None, "min_examples": 300},
    "ensemble_study": {"n_folds": 1, "n_trials": 2},
    "classifier_study": {"n_folds": 1, "n_trials": 0, "params": {"max_epochs": 3, "heads": 2, "width": 8}},
    "rl_agent_study": {
        "n_folds": 1,
        "n_trials": 0,
        "params": {"agents": 1, "total_steps": 1024, "checkpoints": 1, "rollout_steps": 16, "n_folds": 1},
    },
}
REPORTS = ("ensemble", "classifier", "rl_agent", "comparison", "split")


class Dagster:
    """The GraphQL the UI itself speaks, and the home of what serves it."""

    def __init__(self, address: str, home: Path) -> None:
        self.address, self.home = address, home

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = requests.post(f"{self.address}/graphql", json={"query": query, "variables": variables}, timeout=60)
        return next(iter(answer.json()["data"].values()))

    def wait(self, query: str, name: str, seconds: float = 500) -> str:
        """The status in which it ended, or the one it is still in."""
        until = time.monotonic() + seconds
        while (status := self.ask(query, id=name)["status"]) not in ENDED and time.monotonic() < until:
            time.sleep(0.5)
        return str(status)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """Everything a person starts, on embedded PostgreSQL in a folder of its own, with simulated rows in it."""
    home = tmp_path_factory.mktemp("up")
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {
        "DAGSTER_HOME": str(home),
        "CLEVERBETTER_AUTOMATION": "0",  # or the sensor sees the rows first, and trains with studies of full length
    }
    files = home / "results.parquet", home / "features.parquet"
    for frame, file in zip(simulate_rows(SIMULATION), files, strict=True):
        frame.to_parquet(file)
    import_files(Settings(home=home, database_url=None), *files)
    port, mlflow_port, api_port = free_port(), free_port(), free_port()
    command = [sys.executable, "-m", "cleverbetter_dagster.cli.main"]
    process = subprocess.Popen(
        [*command, "up", "--port", str(port), "--mlflow-port", str(mlflow_port), "--api-port", str(api_port)],
        env=environment,
        cwd=home,
        stdout=(home / "up.log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_until_up(f"http://127.0.0.1:{port}", process, home)
        yield Dagster(f"http://127.0.0.1:{port}", home)
    finally:
        process.send_signal(signal.SIGINT)
        ended = process.wait(timeout=90)
        subprocess.run([*command, "down"], env=environment, check=True, timeout=90)
    assert ended in (0, 130)


def _wait_until_up(address: str, process: subprocess.Popen[bytes], home: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, (home / "up.log").read_text()
        if "Ctrl-C" in (home / "up.log").read_text():
            return
        time.sleep(0.5)
    raise AssertionError(f"{address} never came up:\n" + (home / "up.log").read_text())


@pytest.fixture(scope="module")
def trained(up: Dagster) -> Dagster:
    """All months backfilled from the UI's own mutation, then the job `retrain` launched as of the last."""
    months = [f"{year}-{month:02d}" for year in (2022, 2023) for month in range(1, 13)]
    launched = up.ask(BACKFILL, params={"assetSelection": [{"path": ["training_rows"]}], "partitionNames": months})
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    assert up.wait(BACKFILL_STATUS, launched["backfillId"]) == "COMPLETED_SUCCESS"
    config = {"ops": {name: {"config": values} for name, values in CONFIG.items()}}
    selector = {
        "repositoryLocationName": LOCATION,
        "repositoryName": "__repository__",
        "jobName": "retrain",
    }
    tags = [{"key": "dagster/partition", "value": AS_OF}]
    launch = up.ask(
        LAUNCH,
        params={"selector": selector, "runConfigData": config, "mode": "default", "executionMetadata": {"tags": tags}},
    )
    assert launch["__typename"] == "LaunchRunSuccess", launch
    assert up.wait(RUN_STATUS, launch["run"]["runId"]) == "SUCCESS"
    return up


@pytest.fixture(scope="module")
def page(trained: Dagster) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*quiet, "--disable-component-update"])
        yield browser.new_context(viewport={"width": 1700, "height": 1100}).new_page()
        browser.close()


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_the_lineage_page_shows_rows_families_and_comparison(trained: Dagster, page: Any) -> None:
    page.goto(f"{trained.address}/assets/strategy_predictions?view=lineage&lineageScope=upstream&lineageDepth=7")
    for name in ("backtest_results", "training_rows", "temporal_split", "ensemble_model", "classifier_model"):
        page.get_by_text(name, exact=True).first.wait_for(timeout=30_000)
    page.get_by_text("model_comparison", exact=True).first.wait_for(timeout=30_000)
    keep(page, "graph")


def test_an_evaluation_shows_its_leaderboard_and_pictures(trained: Dagster, page: Any) -> None:
    page.goto(f"{trained.address}/assets/ensemble_evaluation?view=partitions&partition={AS_OF}")
    page.get_by_text("auc_within_months_95%").first.wait_for(timeout=30_000)
    keep(page, "evaluation")
    page.get_by_text("[Show Markdown]").first.click()
    page.get_by_role("dialog").get_by_text("shrunk_return").first.wait_for(timeout=10_000)
    pictures = page.get_by_role("dialog").locator("img")
    assert pictures.count() == 6
    assert all(pictures.nth(n).evaluate("picture => picture.naturalWidth") > 700 for n in range(6))
    keep(page, "evaluation_report")


def test_the_ui_shows_the_checks_of_the_split(trained: Dagster, page: Any) -> None:
    page.goto(f"{trained.address}/assets/temporal_split?view=checks")
    for check in ("enough_examples", "no_label_after_split", "decision_times_agree"):
        page.get_by_text(check).first.wait_for(timeout=30_000)
    keep(page, "checks")


def test_a_report_is_one_click_away_from_its_asset(trained: Dagster, page: Any) -> None:
    page.goto(f"{trained.address}/assets/ensemble_report?view=partitions&partition={AS_OF}")
    link = page.locator("a[href$='reports/ensemble.html']").first
    link.wait_for(timeout=30_000)
    keep(page, "report_link")
    page.goto(link.get_attribute("href"))
    frame = page.frame_locator("iframe").first
    frame.get_by_text("Which features count").first.wait_for(timeout=30_000)
    keep(page, "report_in_mlflow")


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("width", [390, 1200])
def test_a_report_fits_phone_and_desktop_without_a_network(trained: Dagster, page: Any, kind: str, width: int) -> None:
    requested: list[str] = []
    reader = page.context.new_page()
    reader.on("request", lambda request: requested.append(request.url))
    reader.set_viewport_size({"width": width, "height": 900})
    address = (trained.home / ".cleverbetter" / "artefacts" / "reports" / kind / f"{AS_OF}.html").as_uri()
    reader.goto(address)
    assert requested == [address]
    assert reader.evaluate("document.documentElement.scrollWidth") <= width
    shown = reader.evaluate("[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().width)")
    assert all(250 < one <= width for one in shown)
    if folder := os.environ.get("SCREENSHOTS"):
        reader.screenshot(path=str(Path(folder) / f"{kind}_{width}.png"), full_page=True)
        reader.pdf(path=str(Path(folder) / f"{kind}.pdf"), prefer_css_page_size=True)
    reader.close()


def test_the_champion_shows_the_reasons_of_its_decision(trained: Dagster, page: Any) -> None:
    page.goto(f"{trained.address}/assets/champion?view=partitions&partition={AS_OF}")
    page.get_by_text("decision", exact=True).first.wait_for(timeout=30_000)
    page.get_by_text("Brier score").first.wait_for(timeout=10_000)
    keep(page, "champion")


def test_a_study_shows_its_pictures(trained: Dagster, page: Any) -> None:
    page.goto(f"{trained.address}/assets/ensemble_study?view=partitions&partition={AS_OF}")
    page.get_by_text("[Show Markdown]").first.wait_for(timeout=30_000)
    keep(page, "study")
    page.get_by_text("[Show Markdown]").first.click()
    page.get_by_role("dialog").locator("img").first.wait_for(timeout=10_000)
    keep(page, "study_report")
