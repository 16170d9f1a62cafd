"""Pages for people: `/` is the day, `/strategies/...` one strategy, `/reports/...` the reports. They run no script.

They are read, never written to, and pass the same guard as everything else.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cleverbetter_dagster.api.dagster_runs import DagsterRuns
from cleverbetter_dagster.api.failures import AWAY, PASSING, RETRY_SECONDS, status_of
from cleverbetter_dagster.api.health import states_of_parts
from cleverbetter_dagster.api.links import Links
from cleverbetter_dagster.api.messages import PAGE_REFUSALS
from cleverbetter_dagster.defs.automation.failed_checks import latest_failures
from cleverbetter_dagster.defs.automation.heartbeat import JUDGED
from cleverbetter_dagster.errors import CleverBetterError, DataError, UnknownFamily
from cleverbetter_dagster.evaluation.report import Notice, Report, render
from cleverbetter_dagster.redaction import message_of
from cleverbetter_dagster.services.ingest.change_detection import utc_now
from cleverbetter_dagster.services.overview.day_page import SHOWN_DECISIONS, Surroundings, day_page
from cleverbetter_dagster.services.overview.strategy import explain_strategy
from cleverbetter_dagster.services.overview.strategy_page import strategy_page
from cleverbetter_dagster.services.overview.today import today
from cleverbetter_dagster.services.reports.store import find_report, newest_reports
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.tracking.package import StrategyModel, load_model
from cleverbetter_dagster.store.unfinished_runs import UnfinishedRun, unfinished_runs
from cleverbetter_dagster.web.up_processes import states_of_services

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "same-origin",
}
LONGEST_NAME = 2000

Name = Annotated[str, Path(max_length=LONGEST_NAME, description="id or name of a strategy")]
Asked = Annotated[str, Query(max_length=LONGEST_NAME, description="id or name of a strategy")]
Kind = Annotated[str, Path(pattern=r"^[a-z0-9_]+$", max_length=100)]
ReportMonth = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]+$", max_length=100)]

log = logging.getLogger(__name__)

_drawing = Lock()
"""Charts are drawn under matplotlib's settings, which all threads share."""


def pages(settings: Settings, runs: DagsterRuns) -> APIRouter:
    """The routes of the pages."""
    routes = APIRouter(tags=["pages"], default_response_class=HTMLResponse)
    models = _Models()

    @routes.get("/", responses=PAGE_REFUSALS)
    def day(request: Request) -> Response:
        """The day: champion, stakes, what they would have earned, work, decisions, health."""
        links = Links(settings, request)

        def made() -> Report:
            notices: list[str] = []
            facts = today(settings, utc_now())
            unfinished, failed = _recorded(settings, runs, notices)
            around = Surroundings(
                decisions=ledger.history(settings, SHOWN_DECISIONS),
                runs=unfinished,
                failed_checks=failed,
                health=states_of_parts(settings) | states_of_services(settings),
                reports=newest_reports(settings),
                strategy_href=links.strategy,
                report_href=links.report,
                links=links.elsewhere,
                search=links.search,
                notices=(*links.notices, *notices),
            )
            return day_page(facts, around)

        return _answer(made, links)

    @routes.get("/strategies", responses=PAGE_REFUSALS)
    def found(request: Request, name: Asked = "") -> Response:
        """The strategy with this id or name; without one, the day."""
        return strategy(request, name) if name else RedirectResponse(Links(settings, request).home)

    @routes.get("/strategies/{name:path}", responses=PAGE_REFUSALS)
    def strategy(request: Request, name: Name) -> Response:
        """One strategy: why it has its stake, its past windows, and what came of past predictions."""
        links = Links(settings, request)
        return _answer(
            lambda: strategy_page(explain_strategy(settings, name, models.load), links.all, links.search), links
        )

    @routes.get("/reports/{kind}/{as_of}", responses=PAGE_REFUSALS)
    def report(request: Request, kind: Kind, as_of: ReportMonth) -> Response:
        """A stored report."""
        links = Links(settings, request)
        try:
            _, path = find_report(settings, kind, as_of)
            return HTMLResponse(ArtefactStore(settings.artefacts_base).read_text(path), headers=HEADERS)
        except CleverBetterError as error:
            return _trouble(error, links)

    return routes


class _Models:
    """Loads a version once: its files never change, and an explanation needs it every time."""

    def __init__(self) -> None:
        self._newest: tuple[str, StrategyModel] | None = None

    def load(self, settings: Settings, uri: str) -> StrategyModel:
        """The model at an address; the last one is kept."""
        newest = self._newest
        if newest is None or newest[0] != uri:
            newest = self._newest = (uri, load_model(settings, uri))
        return newest[1]


def _answer(make: Callable[[], Report], links: Links) -> Response:
    """The page, or one that says what is wrong. Charts are drawn one page at a time."""
    try:
        with _drawing:
            return HTMLResponse(render(make()), headers=HEADERS)
    except CleverBetterError as error:
        return _trouble(error, links)
    except PASSING as error:
        log.warning("%s: %s", links.home, type(error).__name__)
        return _page_of_trouble("Something does not answer", AWAY, HTTPStatus.SERVICE_UNAVAILABLE, links)


def _trouble(error: CleverBetterError, links: Links) -> Response:
    status = HTTPStatus.NOT_FOUND if isinstance(error, DataError | UnknownFamily) else HTTPStatus(status_of(error))
    message = message_of(error)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        message += " `cleverbetter status` says what is up and where."
        return _page_of_trouble("Something does not answer", message, status, links)
    return _page_of_trouble("Not found" if status is HTTPStatus.NOT_FOUND else "Not possible", message, status, links)


def _page_of_trouble(headline: str, message: str, status: HTTPStatus, links: Links) -> Response:
    view = Report(
        title="cleverbetter",
        subtitle=f"{utc_now():%Y-%m-%d %H:%M} UTC",
        headline=headline,
        tone="bad",
        summary="This page cannot be shown.",
        notices=(Notice(message),),
        links=links.all,
        search=links.search,
    )
    later = {"Retry-After": RETRY_SECONDS} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return HTMLResponse(render(view), status, HEADERS | later)


def _recorded(settings: Settings, runs: DagsterRuns, notices: list[str]) -> tuple[list[UnfinishedRun], dict[str, str]]:
    """What Dagster recorded: unfinished runs and failed checks; neither where its database is away."""
    try:
        return unfinished_runs(settings), latest_failures(runs.instance, JUDGED)
    except (CleverBetterError, *PASSING) as error:
        told = message_of(error) if isinstance(error, CleverBetterError) else AWAY
        notices.append(f"What Dagster recorded cannot be read, so runs and failed checks are missing: {told}")
        return [], {}
