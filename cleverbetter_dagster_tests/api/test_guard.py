"""Who is let in: the token, this machine's names, pages of other sites, and bodies."""

import json
from collections.abc import Iterator

import psycopg
import pytest
import requests
from pydantic import SecretStr

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster_tests.api.conftest import Api, served

TOKEN = "correct horse battery staple"
WRITING = [
    "/api/v1/models/train",
    "/api/v1/models/training/x/cancel",
    "/api/v1/models/ensemble/versions/1/promote",
    "/api/v1/models/rollback",
]
PAGES = ["/", "/strategies/back_7", "/strategies?name=back_7", "/reports/ensemble/2023-12"]
ASKS_FOR_TOKEN = "Give the token of CLEVERBETTER_API_TOKEN, in the header Authorization: Bearer <token>."
AWAY = SecretStr("postgresql://ann:Tr0ub4dor@127.0.0.1:1/racing")


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A deployment, also in the environment, whose database is away."""
    settings = Settings(home=tmp_path_factory.mktemp("away"), database_url=AWAY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(prepare_home(settings)))
        patch.setenv("DATABASE_URL", AWAY.get_secret_value())
        yield settings


@pytest.fixture(scope="module")
def open_api(away: Settings) -> Iterator[Api]:
    """Its API without a token."""
    with served(away) as running:
        yield running


@pytest.fixture(scope="module")
def closed_api(away: Settings) -> Iterator[Api]:
    """Its API with a token."""
    with served(away.model_copy(update={"api_token": SecretStr(TOKEN)})) as running:
        yield running


@pytest.mark.parametrize("path", WRITING)
def test_writing_takes_the_token(closed_api: Api, path: str) -> None:
    answer = closed_api.post(path, {"reason": "r", "model_type": "ensemble"})
    assert (answer.status_code, list(answer.json())) == (401, ["detail"])


@pytest.mark.parametrize("path", ["models", "models/champion", "models/training", "predictions", "ready"])
def test_reading_takes_the_token_too(closed_api: Api, path: str) -> None:
    assert closed_api.get(f"/api/v1/{path}").status_code == 401
    assert closed_api.get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 503


@pytest.mark.parametrize("path", PAGES)
def test_pages_take_the_token_or_lead_to_the_login(closed_api: Api, path: str) -> None:
    assert closed_api.get(path).json() == {"detail": ASKS_FOR_TOKEN}
    led = closed_api.get(path, headers={"Accept": "text/html"}, allow_redirects=False)
    assert (led.status_code, led.headers["Location"].startswith("/cleverbetter-login?next=")) == (303, True)
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "iframe"}
    assert closed_api.get(path, headers={"Authorization": f"Bearer {TOKEN}", **foreign}).status_code == 403


@pytest.mark.parametrize("path", [page for page in PAGES if page != "/reports/ensemble/2023-12"])
def test_a_page_without_its_database_says_so(open_api: Api, path: str) -> None:
    answer = open_api.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<code>cleverbetter status</code>" in answer.text
    assert "Tr0ub4dor" not in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_written_to_a_page(open_api: Api, path: str) -> None:
    assert open_api.post(path, {}).status_code == 405


@pytest.mark.parametrize("path", WRITING)
def test_with_the_token_the_call_goes_on(closed_api: Api, path: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = closed_api.post(path, {"reason": "r", "model_type": "ensemble"}, headers=headers)
    assert answer.status_code not in (401, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
@pytest.mark.parametrize("path", WRITING)
def test_a_page_of_another_site_can_write_nothing(open_api: Api, path: str, origin: str) -> None:
    assert open_api.post(path, headers={"Origin": origin}).status_code == 403


def test_a_page_of_this_api_may_write(open_api: Api) -> None:
    body = {"model_type": "oracle"}
    assert open_api.post("/api/v1/models/train", body, headers={"Origin": open_api.url}).status_code == 422


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_a_form_could_send_is_refused(open_api: Api, kind: str) -> None:
    body = json.dumps({"model_type": "ensemble"})
    answer = requests.post(f"{open_api.url}/api/v1/models/train", data=body, headers={"Content-Type": kind}, timeout=30)
    assert answer.status_code == 415


def test_a_large_body_is_refused_announced_or_not(open_api: Api) -> None:
    large = b'{"model_type": "' + b"x" * 70_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    for body in (large, iter([large])):
        answer = requests.post(f"{open_api.url}/api/v1/models/train", data=body, headers=headers, timeout=30)
        assert answer.status_code == 413
        assert "detail" in answer.json()


@pytest.mark.parametrize(
    "body",
    [
        r'{"model_type": "\ud83d"}',
        r'{"model_type": "ensemble", "\ud83d": 1}',
        r'{"model_type": "ensemble", "config": {"\ud83d": 1, "params": {"max_depth": "\ud83d"}}}',
        r'{"model_type": "ensemble", "config": {"params": {"max_depth": "\u0000"}}}',
        "{",
        "[" * 60_000,
        "[]",
        "null",
        '{"model_type": "ensemble", "n_trials": NaN}',
        "\ud83d",
        '{"n_trials": ' + "9" * 4400 + "}",
    ],
)
def test_what_is_no_request_is_refused_as_json(open_api: Api, body: str) -> None:
    answer = requests.post(
        f"{open_api.url}/api/v1/models/train",
        data=body.encode("utf-8", "surrogatepass"),
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 422
    assert next(list(problem) for problem in answer.json()["detail"]) == ["field", "message", "remedy"]


@pytest.mark.parametrize("path", ["models", "models/champion", "models/training", "predictions", "models/training/x"])
def test_a_database_away_is_503_without_its_password(open_api: Api, path: str) -> None:
    answer = open_api.get(f"/api/v1/{path}")
    assert answer.status_code == 503
    assert "Tr0ub4dor" not in answer.text
    assert "Traceback" not in answer.text


def test_a_librarys_message_about_the_database_is_not_shown(open_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise psycopg.OperationalError("connection to postgresql://ann:Tr0ub4dor@db/racing failed")

    monkeypatch.setattr(ledger, "champion", away)
    answer = open_api.get("/api/v1/models/champion")
    assert (answer.status_code, "does not answer" in answer.json()["detail"]) == (503, True)
    assert "Tr0ub4dor" not in answer.text


def test_without_a_database_the_api_lives_but_is_not_ready(open_api: Api) -> None:
    assert open_api.get("/api/v1/health").json()["status"] == "ok"
    ready = open_api.get("/api/v1/ready")
    assert ready.status_code == 503
    assert "Cannot use the database" in ready.json()["parts"]["database"]
    assert "Tr0ub4dor" not in ready.text
