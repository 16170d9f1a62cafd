"""The pages for people in a headless chromium, on a phone and on a desk: they fit, fetch nothing and lead on.

Run with `pytest -n 0 -m browser`; with SCREENSHOTS set to a folder, the pictures are kept there.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster_tests.api.conftest import Api, served
from cleverbetter_dagster_tests.services.overview.advised import HOSTILE, advised

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"),
]
WIDTHS = (390, 1200)
REPORT = "<h1>Comparison</h1><script>document.title = 'run'</script>"


@pytest.fixture(scope="module")
def _clean_environment() -> None:
    """The fixtures here set the variables themselves, once a module."""


@pytest.fixture(scope="module")
def settings(tracked: Settings) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(prepare_home(tracked)))
        assert tracked.database_url is not None
        patch.setenv("DATABASE_URL", tracked.database_url.get_secret_value())
        advised(tracked)
        ArtefactStore(tracked.artefacts_base).write_text("reports/comparison/2023-09.html", REPORT)
        yield tracked.model_copy(update={"dagster_url": "http://127.0.0.1:9"})


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Api]:
    with served(settings) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield opened
        opened.close()


@pytest.fixture(params=WIDTHS)
def reader(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.asked = []
    page.on("request", lambda asked: page.asked.append(asked.url))
    yield page
    page.close()


def check_fits(page: Any, address: str, name: str) -> None:
    """It fits the width, draws its charts, asks for nothing but itself, and breaks none of its own rules."""
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.evaluate("[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().width)")
    assert shown and all(250 < one <= width for one in shown)
    assert {url.partition("?")[0] for url in page.asked if not url.endswith("favicon.ico")} == {address}
    assert not [text for text in page.complaints if "favicon" not in text]
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}_{width}.png"), full_page=True)


def test_the_day_fits_and_fetches_nothing(api: Api, reader: Any) -> None:
    reader.goto(f"{api.url}/")
    reader.get_by_role("heading", name="Today").wait_for()
    assert reader.get_by_role("alert").count() >= 1  # rows of 2023 are stale
    check_fits(reader, f"{api.url}/", "day")


def test_a_strategy_is_one_click_away_and_fits(api: Api, reader: Any, settings: Settings) -> None:
    strategy = next(name for name in read_predictions(settings)["strategy_id"] if name != HOSTILE)
    reader.goto(f"{api.url}/")
    reader.asked.clear()
    reader.get_by_role("link", name=strategy).click()
    reader.get_by_role("heading", name="Step by step").wait_for()
    check_fits(reader, f"{api.url}/strategies/{strategy}", "strategy")


def test_the_form_finds_a_hostile_name_and_runs_nothing(api: Api, reader: Any) -> None:
    dialogs: list[str] = []
    reader.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    reader.goto(f"{api.url}/")
    reader.asked.clear()
    reader.get_by_role("searchbox").fill(HOSTILE)
    reader.get_by_role("button", name="Show").click()
    reader.get_by_role("heading", name="Step by step").wait_for()
    assert "<script>alert('x')</script>" in reader.locator("h1").inner_text()
    check_fits(reader, f"{api.url}/strategies", "hostile")
    assert dialogs == []


def test_a_report_is_read_here_without_its_scripts(api: Api, reader: Any) -> None:
    reader.goto(f"{api.url}/")
    reader.get_by_role("link", name="comparison").click()
    reader.get_by_role("heading", name="Comparison").wait_for()
    assert reader.title() != "run"
