"""`cleverbetter report` writes a report, opens it, or says how to make it."""

import json
import webbrowser
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from cleverbetter_dagster.cli.main import app
from cleverbetter_dagster.cli.models import launch
from cleverbetter_dagster.defs.launches import Launch
from cleverbetter_dagster.errors import NotStored, UnknownFamily
from cleverbetter_dagster.services.reports.store import find_report, report_path
from cleverbetter_dagster.settings import Settings, load_settings
from cleverbetter_dagster.store.artefacts import ArtefactStore


@pytest.fixture(params=["folder", "fsspec"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    if request.param == "fsspec":
        monkeypatch.setenv("CLEVERBETTER_ARTEFACTS_URL", f"memory://{tmp_path.name}")
    settings = load_settings()
    store = ArtefactStore(settings.artefacts_base)
    for kind, month in (("ensemble", "2023-09"), ("ensemble", "2023-10"), ("comparison", "2023-10")):
        store.write_text(report_path(kind, month), f"<p>{kind} {month} é</p>")
    return settings


def cleverbetter(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_the_newest_is_exported_unless_a_month_is_named(kept: Settings, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "report.html"
    assert "as of 2023-10" in cleverbetter("--output", str(target))
    assert target.read_text(encoding="utf-8") == "<p>ensemble 2023-10 é</p>"
    cleverbetter("--as-of", "2023-09", "--output", str(target))
    assert target.read_text(encoding="utf-8") == "<p>ensemble 2023-09 é</p>"
    cleverbetter("--kind", "comparison", "--output", str(target))
    assert target.read_text(encoding="utf-8") == "<p>comparison 2023-10 é</p>"


def test_json_names_the_file_and_opens_no_browser(
    kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("opened"))
    report = json.loads(cleverbetter("--as-of", "2023-09", "--json"))
    assert (report["kind"], report["as_of"]) == ("ensemble", "2023-09")
    assert Path(report["file"]).read_text(encoding="utf-8") == "<p>ensemble 2023-09 é</p>"
    report = json.loads(cleverbetter("--output", str(tmp_path / "a.html"), "--json"))
    assert (report["as_of"], Path(report["file"]).read_text(encoding="utf-8")) == (
        "2023-10",
        "<p>ensemble 2023-10 é</p>",
    )


@pytest.mark.parametrize("has_browser", [True, False])
def test_it_opens_in_the_browser_or_says_where_it_is(
    kept: Settings, monkeypatch: pytest.MonkeyPatch, has_browser: bool
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or has_browser)
    output = cleverbetter()
    assert Path(opened[0].removeprefix("file://")).read_text(encoding="utf-8") == "<p>ensemble 2023-10 é</p>"
    assert opened[0].removeprefix("file://") in output
    assert ("opened" in output) == has_browser


def test_a_missing_report_is_named_with_the_command_for_it(kept: Settings) -> None:
    missing = r"there are reports of 2023-09, 2023-10\."
    with pytest.raises(NotStored, match=missing + "$"):
        find_report(kept, "ensemble", "2022-01")
    ArtefactStore(kept.artefacts_base).write_table("ensemble_evaluation/2022-01.parquet", pa.table({"x": [1]}))
    with pytest.raises(NotStored, match=missing + " `cleverbetter report --kind ensemble --as-of 2022-01` makes it"):
        find_report(kept, "ensemble", "2022-01")
    with pytest.raises(NotStored, match=r"no report on walk_forward\. `cleverbetter backfill --help` says how"):
        find_report(kept, "walk_forward")
    with pytest.raises(UnknownFamily, match="oracle"):
        find_report(kept, "oracle")


def test_a_report_is_made_from_a_stored_evaluation(kept: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtefactStore(kept.artefacts_base)
    store.write_table("ensemble_evaluation/2022-01.parquet", pa.table({"x": [1]}))

    def materialise(_: Settings, wanted: Launch, **__: object) -> None:
        assert (wanted.assets, wanted.months) == (("ensemble_report",), ("2022-01", "2022-01"))
        store.write_text("reports/ensemble/2022-01.html", "<p>made</p>")

    monkeypatch.setattr(launch, "run_job", materialise)
    monkeypatch.setattr(webbrowser, "open", lambda _: True)
    assert json.loads(cleverbetter("--as-of", "2022-01", "--json"))["as_of"] == "2022-01"
