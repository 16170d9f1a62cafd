"""The pages for people, over HTTP: what they show, that names do no harm, and where their links lead."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from urllib.parse import quote

import dagster as dg
import pytest
import requests
from pydantic import SecretStr

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.unfinished_runs import unfinished_runs
from cleverbetter_dagster.web.up_processes import ProcessRecord, UpRecord, record_path
from cleverbetter_dagster_tests.api.conftest import Api, served
from cleverbetter_dagster_tests.services.overview.advised import HOSTILE, MONTHS, advised

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a/b/c",
    "100%",
    "%2e%2e%2f",
    "{{ 7 * 7 }}",
    "' OR 1=1 --",
    "🐕 \u202e",
    "x" * 1500,
)
NOT_THERE = SecretStr("postgresql://ann:Tr0ub4dor@127.0.0.1:1/racing")


@pytest.fixture(scope="module")
def settings(deployment: Settings) -> Settings:
    """A deployment that has advised stakes; Dagster's web server is away."""
    advised(deployment)
    return deployment.model_copy(update={"dagster_url": "http://127.0.0.1:9"})


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Api]:
    with served(settings) as running:
        yield running


def hrefs(page: str) -> list[str]:
    return [unescape(href) for href in re.findall(r'href="(.*?)"', page)]


def is_page(answer: requests.Response) -> bool:
    return (
        answer.headers["Content-Type"].startswith("text/html")
        and answer.headers["Cache-Control"] == "no-store"
        and "default-src 'none'" in answer.headers["Content-Security-Policy"]
    )


def test_the_day_shows_champion_stakes_earnings_and_health(api: Api, settings: Settings) -> None:
    answer, champion = api.get("/"), ledger.champion(settings)
    assert (answer.status_code, is_page(answer)) == (200, True)
    current = read_predictions(settings)
    staked = current[current["recommended_stake"] > 0]
    for text in (
        f"Champion: {champion}",
        f"stakes on {len(staked):,} of {len(current):,} strategies",
        "2023-09-30 to 2023-10-30",
        "What they would have earned so far",
        "equal stakes",
        "Nothing is running or queued.",
        "does not answer",  # Dagster
        "The rows are stale",
        "`" not in answer.text and "<code>cleverbetter import --help</code>",
    ):
        assert text and text in answer.text
    plain = next(name for name in staked["strategy_id"] if name != HOSTILE)
    assert f"/strategies/{plain}" in hrefs(answer.text)
    assert "<script" not in answer.text


def test_a_strategy_shows_why_it_has_its_stake(api: Api, settings: Settings) -> None:
    plain = next(name for name in read_predictions(settings)["strategy_id"] if name != HOSTILE)
    answer = api.get(f"/strategies/{plain}")
    assert (answer.status_code, is_page(answer)) == (200, True)
    for text in (
        "cap on one strategy",
        "What moved the probability",
        "shrunk_return",
        "Past predictions",
        "Past windows",
    ):
        assert text in answer.text


def test_a_hostile_id_is_text_and_its_link_works(api: Api) -> None:
    answer = api.get("/strategies", params={"name": HOSTILE})
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; a/b%2F?c#d" in answer.text
    day = api.get("/").text
    assert "<script" not in day
    assert "\u202e" not in day + answer.text  # it would turn the direction of what follows
    linked = [href for href in hrefs(day) if quote("<script>", safe="") in href]
    assert linked
    for href in linked:
        assert "&lt;script&gt;" in api.get(href).text


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_not_found_and_shown_as_text(api: Api, name: str) -> None:
    for answer in (api.get(f"/strategies/{quote(name, safe='')}"), api.get("/strategies", params={"name": name})):
        assert (answer.status_code, is_page(answer)) == (404, True)
        assert "Nothing is known of a strategy" in answer.text
        assert "<script" not in answer.text and "<img" not in answer.text and ">49<" not in answer.text


@pytest.mark.parametrize("path", ["/strategies/..%2f..%2fetc", "/strategies//x", "/strategies/a%5Cb"])
def test_paths_that_readers_read_differently_are_refused(api: Api, path: str) -> None:
    request = requests.Request("GET", api.url).prepare()
    request.url = f"{api.url}{path}"
    with requests.Session() as session:
        assert session.send(request, timeout=60).status_code == 400


def test_a_name_that_is_too_long_is_refused(api: Api) -> None:
    answer = api.get("/strategies", params={"name": "x" * 2001})
    described = api.get("/openapi.json").json()["paths"]["/strategies"]["get"]["responses"]["422"]["content"]
    assert (answer.status_code, list(described)) == (422, [answer.headers["Content-Type"]])


def test_no_name_leads_to_the_day(api: Api) -> None:
    answer = api.get("/strategies", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (307, "/")


def test_work_is_shown_as_it_runs_and_waits(api: Api, settings: Settings) -> None:
    instance = dg.DagsterInstance.get()
    statuses = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.SUCCESS)
    tags = {"dagster/partition": "2023-09", "cleverbetter/family": "ensemble"}
    runs = [dg.DagsterRun(job_name="retrain", status=status, tags=tags) for status in statuses]
    run_ids = [instance.add_run(run).run_id for run in runs]
    shown, found = api.get("/").text, unfinished_runs(settings)
    for run_id in run_ids:
        instance.delete_run(run_id)
    assert [(run.run_id, run.state, str(run)) for run in found] == [
        (run_ids[0], "running", "retrain ensemble as of 2023-09"),
        (run_ids[1], "queued", "retrain ensemble as of 2023-09"),
    ]
    assert shown.count("retrain ensemble as of 2023-09") == 2


def test_services_that_up_started_again_or_gave_up_are_shown(api: Api, settings: Settings) -> None:
    ours = ProcessRecord.of("cleverbetter up", os.getpid())
    services = (replace(ours, name="MLflow"), replace(ours, name="Dagster", restarts=2))
    given_up = replace(ours, name="Dagster daemon", restarts=5, given_up=True)
    path = record_path(settings)
    UpRecord(ours, "a token", True, (*services, given_up)).write(path)
    try:
        text = " ".join(re.sub(r"<[^>]*>", " ", api.get("/").text).split())
    finally:
        path.unlink()
    assert "process MLflow ok" in text
    assert "process Dagster up, started again 2 times" in text
    assert "process Dagster daemon given up, started again 5 times" in text


def test_reports_are_read_from_here(api: Api, settings: Settings) -> None:
    store = ArtefactStore(settings.artefacts_base)
    store.write_text("reports/comparison/2023-09.html", "<h1>Comparison</h1>")
    assert "/reports/comparison/2023-09" in hrefs(api.get("/").text)
    answer = api.get("/reports/comparison/2023-09")
    assert (answer.text, is_page(answer)) == ("<h1>Comparison</h1>", True)
    missing = api.get("/reports/comparison/2022-01")
    assert (missing.status_code, is_page(missing)) == (404, True)
    assert "there are reports of 2023-09" in missing.text
    assert api.get("/reports/..%2fx/2023-09").status_code == 400


def test_links_work_from_another_machine(settings: Settings) -> None:
    closed = settings.model_copy(update={"api_token": SecretStr(TOKEN), "dagster_url": "http://127.0.0.1:3456"})
    with served(closed) as running:
        far = hrefs(running.get("/", headers={**BEARER, "Host": "racing.example:8000"}).text)
        proxied = running.get("/", headers={**BEARER, "Host": "api.racing.example", "X-Forwarded-For": "10.0.0.9"}).text
    assert {"http://racing.example:3456/", f"http://racing.example:{settings.mlflow_port}/"} <= set(far)
    assert not any("127.0.0.1" in href or "localhost" in href for href in (*far, *hrefs(proxied)))
    assert "set <code>CLEVERBETTER_DAGSTER_LINK</code>" in proxied
    with served(closed.model_copy(update={"dagster_link": "https://dagster.racing.example/"})) as running:
        named = running.get("/", headers={**BEARER, "X-Forwarded-For": "10.0.0.9"}).text
    assert "https://dagster.racing.example/" in hrefs(named)
    assert "CLEVERBETTER_DAGSTER_LINK" not in named


def test_without_stakes_the_page_says_what_helps(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    places = settings.model_dump(include={"home", "database_url", "dagster_url"})
    empty = Settings(**places, artefacts_url="memory://nothing")
    with served(empty) as running:
        text = running.get("/").text
        assert "Which windows the stakes are for was not stored: <code>cleverbetter predict --renew</code>" in text
        assert "No rows are loaded yet: <code>cleverbetter import --help</code>" in text
        monkeypatch.setattr(ledger, "champion", lambda _: None)
        answer = running.get("/")
    assert (answer.status_code, "No champion" in answer.text) == (200, True)
    assert "<code>cleverbetter promote --help</code> says how to make one" in answer.text


def test_a_database_of_dagster_that_is_away_leaves_the_rest(settings: Settings) -> None:
    with served(settings.model_copy(update={"dagster_database_url": NOT_THERE})) as running:
        answer = running.get("/")
    assert answer.status_code == 200
    assert "What Dagster recorded cannot be read" in answer.text
    assert "Champion: ensemble v1" in answer.text
    assert "Tr0ub4dor" not in answer.text


def test_predictions_of_every_month_are_earned(api: Api) -> None:
    text = api.get("/").text
    closed = len(MONTHS) - 1
    assert re.search(r"against the same stake on each of the [\d,]+ strategies", text)
    assert text.count("as advised, 2023-") == closed + 1  # a point for each round, and the end
