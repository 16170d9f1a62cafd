"""Who is let in at every door, asked of an application that answers everything, on a real server."""

import asyncio
import socket
import time
from contextlib import closing

import pytest
import requests
import websockets
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.web import guard, login
from cleverbetter_dagster.web.address import LOOPBACK, Address, check_host
from cleverbetter_dagster.web.login import COOKIE, LOGIN_PATH
from cleverbetter_dagster_tests.web.doors import BEARER, HTML, METHODS, TOKEN, asked, assert_refused, sent


@pytest.mark.parametrize("method", METHODS)
def test_a_program_on_this_machine_is_let_in(open_door: str, method: str) -> None:
    assert asked(f"{open_door}/runs", method).text == f"{method} /runs 0"


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:3000", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost.evil.example"),
        *(
            "[::2]",
            "[::ffff:10.0.0.1]",
            "[::ffff:7f00:1]:80",
            "0.0.0.0",
            "[::]",
            "2130706433",
            "127.1",
            "localhost.",
            "127.0.0.1.",
        ),
    ],
)
def test_without_a_token_foreign_names_are_refused(open_door: str, host: str) -> None:
    assert_refused(asked(open_door, headers={"Host": host}), 403)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:80", "[::1]:8000", "[::1]", "LocalHost:80", "[0:0:0:0:0:0:0:1]"]
)
def test_this_machines_names_are_served(open_door: str, host: str) -> None:
    assert asked(open_door, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        *("Forwarded", "X-Forwarded-For", "X-Forwarded-Prefix", "X-Forwarded", "X_Forwarded_For", "Via", "X-Real-IP"),
        *("X-Original-Forwarded-For", "X-Cluster-Client-IP", "Fly-Client-IP", "X-Envoy-External-Address", "CDN-Loop"),
    ],
)
def test_without_a_token_nothing_comes_through_a_proxy(open_door: str, closed_door: str, name: str) -> None:
    assert_refused(asked(open_door, headers={name: "203.0.113.5"}), 403)
    assert asked(closed_door, headers={name: "203.0.113.5"} | BEARER).status_code == 200


def test_no_answer_is_for_pages_of_other_sites(open_door: str) -> None:
    answer = asked(f"{open_door}/welcome")
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert (answer.headers["X-Frame-Options"], answer.headers["Cache-Control"]) == ("SAMEORIGIN", "no-store")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "http://[", "//a", "\xe9"])
@pytest.mark.parametrize("method", METHODS[1:])
def test_pages_of_other_sites_write_nothing(open_door: str, closed_door: str, method: str, origin: str) -> None:
    assert_refused(asked(open_door, method, headers={"Origin": origin}), 403)
    assert_refused(asked(closed_door, method, headers={"Origin": origin} | BEARER), 403)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
@pytest.mark.parametrize("method", METHODS)
def test_requests_that_a_foreign_page_caused_are_refused(open_door: str, method: str, site: str) -> None:
    assert_refused(asked(open_door, method, headers={"Sec-Fetch-Site": site}), 403)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_requests_of_our_own_pages_are_let_in(open_door: str, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Origin": open_door}
    assert asked(open_door, "POST", headers=headers).status_code == 200


def test_a_link_from_elsewhere_may_be_followed(open_door: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert asked(open_door, headers=headers).status_code == 200
    assert_refused(asked(open_door, headers=headers | {"Sec-Fetch-Dest": "iframe"}), 403)
    assert_refused(asked(open_door, "POST", headers=headers), 403)


@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ", "Bearer \xe9"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_with_a_token_everything_takes_it(closed_door: str, method: str, given: str | None) -> None:
    headers = {"Authorization": given.encode("latin-1")} if given is not None else {}
    response = asked(f"{closed_door}/runs", method, headers=headers)
    assert_refused(response, 401)
    assert TOKEN not in response.text


def test_whether_a_server_is_alive_takes_no_token(closed_door: str) -> None:
    assert asked(f"{closed_door}/health").status_code == 200


def test_with_a_token_any_name_may_be_used(closed_door: str) -> None:
    assert asked(closed_door, headers=BEARER | {"Host": "betting.example"}).status_code == 200


def test_a_person_without_a_token_is_led_to_the_login(closed_door: str) -> None:
    response = asked(f"{closed_door}/runs?x=1&y=2", headers=HTML)
    assert response.status_code == 303
    assert response.headers["Location"] == f"{LOGIN_PATH}?next=%2Fruns%3Fx%3D1%26y%3D2"
    page = asked(closed_door + response.headers["Location"], headers=HTML)
    assert 'value="/runs?x=1&amp;y=2"' in page.text


def logged_in(url: str, token: str = TOKEN, wanted: str = "/runs") -> requests.Response:
    form = {"token": token, "next": wanted}
    return asked(url + LOGIN_PATH, "POST", data=form, headers={"Origin": url, "Sec-Fetch-Site": "same-origin"})


def test_after_the_login_a_cookie_opens_the_door(closed_door: str) -> None:
    response = logged_in(closed_door)
    assert (response.status_code, response.headers["Location"]) == (303, "/runs")
    assert {"HttpOnly", "SameSite=lax"} <= set(response.headers["Set-Cookie"].split("; "))
    assert TOKEN not in response.headers["Set-Cookie"]
    assert asked(f"{closed_door}/runs", cookies={COOKIE: response.cookies[COOKIE]}).status_code == 200


def test_a_cookie_does_not_help_a_page_of_another_site(closed_door: str) -> None:
    cookies = {COOKIE: logged_in(closed_door).cookies[COOKIE]}
    assert_refused(asked(closed_door, "POST", cookies=cookies, headers={"Origin": "http://evil.example"}), 403)


@pytest.mark.parametrize("wanted", ["https://a.example", "//a.example", "/\\a.example", "javascript:1", "/\r\nX: 1"])
def test_the_login_leads_to_no_other_site(closed_door: str, wanted: str) -> None:
    assert logged_in(closed_door, wanted=wanted).headers["Location"] == "/"


def test_a_wrong_token_sets_no_cookie(closed_door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "WRONG_TOKEN_SECONDS", 0.0)
    response = logged_in(closed_door, "wrong")
    assert (response.status_code, "Set-Cookie" in response.headers) == (401, False)
    assert "This is not the token." in response.text


@pytest.mark.parametrize("change", [lambda ends: ends - login.VALID_SECONDS - 1, lambda ends: ends + 1])
def test_a_cookie_holds_until_its_end_and_cannot_be_prolonged(closed_door: str, change) -> None:
    ends, _, code = login._signed(TOKEN, int(time.time()) + login.VALID_SECONDS).partition(".")
    assert asked(closed_door, cookies={COOKIE: f"{ends}.{code}"}).status_code == 200
    assert_refused(asked(closed_door, cookies={COOKIE: f"{change(int(ends))}.{code}"}), 401)
    past = int(time.time()) - 1
    assert_refused(asked(closed_door, cookies={COOKIE: login._signed(TOKEN, past)}), 401)


@pytest.mark.parametrize("cookie", ["", ".", "1", "9" * 5000 + ".x", "\u0661.x", "-1.x"])
def test_a_made_up_cookie_opens_nothing(closed_door: str, cookie: str) -> None:
    assert_refused(asked(closed_door, headers={"Cookie": f"{COOKIE}={cookie}".encode()}), 401)


def test_what_is_read_only_is_not_written(closed_door: str) -> None:
    assert_refused(asked(f"{closed_door}/files/model.pkl", "PUT", data=b"x", headers=BEARER), 403)
    assert asked(f"{closed_door}/files/model.pkl", headers=BEARER).status_code == 200


@pytest.mark.parametrize("path", ["//files/x", "/x/../files/x", "/x/%2e%2e/files/x", "/%2ffiles/x", "/./x", "/x\\y"])
def test_a_path_that_could_be_read_differently_is_refused(closed_door: str, path: str) -> None:
    assert sent(closed_door, f"PUT {path} HTTP/1.1", f"Authorization: Bearer {TOKEN}").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("name", ["Host", "Origin", "Authorization", "Sec-Fetch-Site"])
def test_a_decisive_header_given_twice_is_refused(open_door: str, name: str) -> None:
    lines = [f"{name}: {open_door}", f"{name}: {open_door}"]
    assert sent(open_door, "GET / HTTP/1.1", *lines).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1/evil",
            "evil.example@127.0.0.1",
            "[::1]evil",
            "127.0.0.1:abc",
            "a b",
            "::1",
            "[::1",
            "[]",
            "[::1]:",
        ),
        *("[::1%25lo]", "127.0.0.1:", "127.0.0.1:123456", "127.0.0.1#", "localhost,evil.example"),
    ],
)
def test_a_host_that_is_no_name_and_port_is_refused(closed_door: str, host: str) -> None:
    assert_refused(asked(closed_door, headers={"Host": host} | BEARER), 400)


@pytest.mark.parametrize(
    "target", ["http://evil.example/runs", "http://localhost/runs", "http:/runs", "localhost:80", "*", "runs"]
)
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_a_target_that_is_no_path_is_refused(open_door: str, target: str, method: str) -> None:
    received = sent(open_door, f"{method} {target} HTTP/1.1")
    assert received.startswith(b"HTTP/1.1 400") and b'{"detail":' in received


def test_a_request_without_host_is_refused(open_door: str) -> None:
    with closing(socket.create_connection((LOOPBACK, int(open_door.rpartition(":")[2])), timeout=30)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 403")


def test_no_page_is_shown_within_one_of_another_site(open_door: str) -> None:
    assert asked(open_door).headers["X-Frame-Options"] == "SAMEORIGIN"


def test_a_large_body_of_no_announced_size_is_refused(open_door: str) -> None:
    assert_refused(asked(open_door, "POST", data=iter([b"x" * 600, b"x" * 600])), 413)


@pytest.mark.parametrize("length", ["1001", "9" * 4400])
def test_an_announced_large_body_is_refused_unread(open_door: str, length: str) -> None:
    with closing(socket.create_connection((LOOPBACK, int(open_door.rpartition(":")[2])), timeout=30)) as client:
        client.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        first = client.recv(4096).partition(b"\r\n")[0]
    assert first.split()[1] in (b"413", b"400")


def test_an_answer_that_has_begun_is_not_begun_again(open_door: str) -> None:
    response = asked(f"{open_door}/early/", "POST", data=iter([b"x" * 600, b"x" * 600]))
    assert (response.status_code, response.text) == (200, "begun")


def test_an_unfinished_body_is_dropped_after_a_while(open_door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_TIMEOUT_SECONDS", 0.2)
    with closing(socket.create_connection((LOOPBACK, int(open_door.rpartition(":")[2])), timeout=30)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")
        received = client.recv(4096)
    assert received.startswith(b"HTTP/1.1 408")
    assert b'{"detail":' in received


async def _answer_of_a_socket(url: str, headers: dict[str, str]) -> str | int:
    try:
        async with websockets.connect(
            url.replace("http", "ws") + "/socket", additional_headers=headers, proxy=None
        ) as client:
            await client.send("hello")
            return str(await client.recv())
    except InvalidStatus as error:
        return error.response.status_code


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "hello"),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-Forwarded-For": "203.0.113.5"}, 403),
    ],
)
def test_websockets_are_held_to_the_same_rules(open_door: str, headers: dict[str, str], expected: str | int) -> None:
    assert asyncio.run(_answer_of_a_socket(open_door, headers)) == expected


def test_websockets_take_the_token(closed_door: str) -> None:
    assert asyncio.run(_answer_of_a_socket(closed_door, {})) == 403
    assert asyncio.run(_answer_of_a_socket(closed_door, BEARER)) == "hello"
    cookie = logged_in(closed_door).cookies[COOKIE]
    assert asyncio.run(_answer_of_a_socket(closed_door, {"Cookie": f"{COOKIE}={cookie}"})) == "hello"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.5", "betting.example"])
def test_without_a_token_only_loopback_is_listened_at(host: str) -> None:
    with pytest.raises(SettingsError, match="CLEVERBETTER_API_TOKEN"):
        check_host(None, host)
    check_host(SecretStr(TOKEN), host)
    check_host(None, "127.0.0.1")


@pytest.mark.parametrize(
    "token", ["a-long-enough-t\xf6ken", "a long enough token\n", " a long enough token", "long\x01enough-token"]
)
def test_a_token_that_no_header_can_carry_is_refused(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_API_TOKEN", token)
    with pytest.raises(SettingsError, match="no header can carry it") as caught:
        load_settings()
    assert token not in str(caught.value)


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1")])
def test_a_server_at_every_address_is_asked_at_loopback(host: str, url: str) -> None:
    assert Address(host, 1).url == url
