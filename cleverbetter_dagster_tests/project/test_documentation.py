"""The documentation builds without a warning and without network, and its pages of reference are complete."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import mkdocs.commands.build
import pytest
import typer.main
from mkdocs.config import load_config
from PIL import Image

from cleverbetter_dagster.api.app import create_app
from cleverbetter_dagster.cli.main import app
from cleverbetter_dagster.cli.output import MEANINGS
from cleverbetter_dagster.cli.settings_table import rows
from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.requests import OPTIONS
from cleverbetter_dagster.settings import REPOSITORY, Settings
from cleverbetter_dagster_tests.project.test_ways_in import commands, routes

DOCS = REPOSITORY / "docs"
MOST_BYTES = 150_000
FETCHED = re.compile(r"""<(?:(?:script|img|iframe|source)[^>]*\ssrc|link[^>]*\shref)=["'](?:https?:)?//""")
"""What a browser would fetch from elsewhere to show a page."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built as `.ci/docs` builds it: each warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(REPOSITORY / ".ci" / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    mkdocs.commands.build.build(config)
    config.plugins.on_shutdown()
    return folder


def text_of(page: Path) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", page.read_text())).split())


def headings(page: Path) -> set[str]:
    found = re.findall(r"<h3[^>]*>(.*?)<a", page.read_text(), re.DOTALL)
    return {unescape(re.sub(r"<[^>]+>", "", heading)) for heading in found}


def pictures() -> Iterator[Path]:
    return (path for path in (DOCS / "pictures").glob("*") if path.suffix in (".png", ".svg"))


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    assert FETCHED.search('<script src="https://unpkg.com/mermaid"></script>')
    fetching = {page.name: found[0] for page in site.rglob("*.html") if (found := FETCHED.search(page.read_text()))}
    assert fetching == {}


def test_no_page_has_a_drawing_that_needs_network() -> None:
    assert [page.name for page in DOCS.rglob("*.md") if "```mermaid" in page.read_text()] == []


def test_every_command_has_its_part_of_the_page(site: Path) -> None:
    names = {f"cleverbetter {name}" for name in commands(typer.main.get_command(app))}
    assert headings(site / "reference" / "commands.html") == names


def test_every_exit_code_is_on_the_page_of_commands(site: Path) -> None:
    shown = text_of(site / "reference" / "commands.html")
    assert [code for code, text in MEANINGS.items() if f"{code.value} {text.replace('`', '')}" not in shown] == []


def test_every_endpoint_has_its_part_of_the_page(site: Path) -> None:
    description = create_app(Settings()).openapi()
    expected = routes(description) | set(description["components"]["schemas"])
    assert headings(site / "reference" / "rest-api.html") == expected


def test_every_setting_is_on_its_page(site: Path) -> None:
    shown = text_of(site / "reference" / "settings.html")
    assert [row.variable for row in rows() if f"{row.variable} {row.default}".replace("`", "") not in shown] == []


def test_every_option_of_a_training_is_on_its_page(site: Path) -> None:
    shown = set(re.findall(r"<td><code>(\w+)</code></td>", (site / "reference" / "run-options.html").read_text()))
    assert {*OPTIONS, "n_trials", "training", "min_months"} - shown == set()


def test_every_asset_and_check_is_on_its_page(site: Path) -> None:
    shown = set(re.findall(r"<code>(\w+)</code>", (site / "reference" / "assets.html").read_text()))
    graph = defs.resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()} | {key.name for key in graph.asset_check_keys}
    assert names - shown == set()


def test_the_picture_of_the_graph_names_every_asset(site: Path) -> None:
    drawn = set(re.findall(r">(\w+)</text>", (site / "reference" / "graph.svg").read_text()))
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} - drawn == set()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_link_of_a_document_leads_to_a_file(document: str) -> None:
    text = (REPOSITORY / document).read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    assert [link for link in links if not (REPOSITORY / link).is_file()] == []


def test_every_picture_is_small_and_shown() -> None:
    shown = {
        name for page in DOCS.rglob("*.md") for name in re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", page.read_text())
    }
    assert {path.name for path in pictures()} == shown
    assert {path.name: path.stat().st_size for path in pictures() if path.stat().st_size > MOST_BYTES} == {}
    for path in pictures():
        if path.suffix == ".png":
            Image.open(path).verify()
