"""Takes the pictures of the documentation anew, from a deployment that `cleverbetter up` serves on this machine.

    cleverbetter demo && cleverbetter backfill --from 2023-04 --to 2023-11 --family ensemble --trials 1
    cleverbetter up --detach && python .ci/pictures.py && cleverbetter down

`python .ci/pictures.py day strategy` takes those alone. The demo's rows end years ago, and the page of the day says so;
its picture is of rows that end in the month before. It needs Debian's chromium. No test compares pictures.
"""

import io
import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

from cleverbetter_dagster.services.reports.store import newest_reports
from cleverbetter_dagster.settings import REPOSITORY, load_settings
from cleverbetter_dagster.store.predictions import read_predictions

FOLDER = REPOSITORY / "docs" / "pictures"
COLOURS = 256
"""So few make a PNG small, and lines and letters still look smooth."""

DESK, PHONE = {"width": 1000, "height": 700}, {"width": 390, "height": 760}
TALL = {"width": 1000, "height": 1000}
REPORTS = ("split", "ensemble", "comparison", "walk_forward")
LINEAGE = "assets/strategy_predictions?view=lineage&lineageScope=upstream&lineageDepth=7"
PATIENCE_MILLISECONDS = 60_000


def main() -> None:
    """Take the pictures named, by default all."""
    settings = load_settings()
    api, dagster = (f"http://127.0.0.1:{port}" for port in (settings.api_port, settings.dagster_port))
    months = newest_reports(settings)
    best = read_predictions(settings, None).iloc[0]["strategy_id"]
    report = {kind: f"{api}/reports/{kind}/{months.get(kind)}" for kind in REPORTS}
    pictures: dict[str, tuple[str, dict[str, int], Callable[[Page], bytes]]] = {
        "day": (f"{api}/", TALL, window),
        "day-phone": (f"{api}/", PHONE, window),
        "strategy": (f"{api}/strategies/{best}", TALL, window),
        "asset-graph": (f"{dagster}/{LINEAGE}", {"width": 1000, "height": 620}, graph),
        "split": (report["split"], DESK, window),
        "decision": (report["ensemble"], DESK, partial(part, name="The figures", above=True)),
        "baselines": (report["ensemble"], DESK, partial(part, name="Beside the baselines")),
        "probabilities": (report["ensemble"], DESK, partial(part, name="Probabilities")),
        "money": (report["ensemble"], DESK, partial(part, name="Money")),
        "features": (report["ensemble"], DESK, partial(part, name="Which features count")),
        "next-window": (report["ensemble"], DESK, partial(part, name="The next window")),
        "comparison": (report["comparison"], DESK, partial(part, name="Money")),
        "walk-forward": (report["walk_forward"], DESK, partial(part, name="The figures")),
        "walk-forward-money": (report["walk_forward"], DESK, partial(part, name="Money")),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in sys.argv[1:] or pictures:
            address, size, taken = pictures[name]
            page = browser.new_page(viewport=size)
            page.set_default_timeout(PATIENCE_MILLISECONDS)
            answer = page.goto(address)
            if answer is None or not answer.ok:
                sys.exit(
                    f"{name}: {address} answers {answer and answer.status}; the commands above make what it shows."
                )
            save(name, taken(page))
            page.close()
        browser.close()


def window(page: Page) -> bytes:
    """What fits the window."""
    return page.screenshot()


def part(page: Page, name: str, *, above: bool = False) -> bytes:
    """The section of a report with this heading; with `above`, together with all that is above it."""
    section: Locator = page.locator("section").filter(has=page.get_by_role("heading", name=name, level=2, exact=True))
    if not above:
        return section.screenshot()
    box: Any = section.bounding_box()
    return page.screenshot(
        full_page=True, clip={"x": 0, "y": 0, "width": DESK["width"], "height": box["y"] + box["height"]}
    )


def graph(page: Page) -> bytes:
    """Dagster's lineage of an asset, once it is drawn, without the menu."""
    page.get_by_text("Hide navigation").click()
    page.get_by_text("training_rows").first.wait_for()
    page.wait_for_load_state("networkidle")
    return page.screenshot()


def save(name: str, picture: bytes) -> None:
    """Store a picture with few colours."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.png"
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(REPOSITORY)}  {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
