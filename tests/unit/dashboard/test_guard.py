"""Who is let in, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.dashboard.assets import Assets
from services.dashboard.guard import COOKIE, HEADERS, Guard, is_loopback
from services.dashboard.login import ATTEMPTS, Login

PASSWORD = "k0123"
FOREIGN = {"Host": "evil.example"}
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}
Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def guarded(login: Login | None) -> AsyncIterator[Client]:
    application = web.Application()
    guard = Guard(login, Assets())
    guard.add_to(application)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="content")

    async def log_out(request: web.Request) -> web.Response:
        return guard.log_out(request)

    for path in ("/", "/health", "/health/redis", "/metrics", "/api/history", "/live"):
        application.router.add_get(path, answer)
    application.router.add_get("/assets/{name}", answer)
    application.router.add_post("/logout", log_out)
    async with TestClient(TestServer(application), cookie_jar=aiohttp.CookieJar(unsafe=True)) as c:
        yield c


async def status(client: Client, path: str, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get(path, headers=named, allow_redirects=False) as answer:
        return answer.status


def origin(client: Client) -> str:
    return str(client.make_url("/")).rstrip("/")


async def log_in(
    client: Client, password: str = PASSWORD, **headers: str
) -> aiohttp.ClientResponse:
    return await client.post(
        "/login", data={"password": password}, headers=headers, allow_redirects=False
    )


async def test_on_loopback_there_is_no_login() -> None:
    async with guarded(None) as client:
        assert await status(client, "/") == 200
        assert await status(client, "/api/history") == 200
        assert await status(client, "/login") == 404


@pytest.mark.parametrize("path", ["/", "/api/history", "/assets/page.js", "/live"])
async def test_on_loopback_no_foreign_name_leads_here(path: str) -> None:
    async with guarded(None) as client:
        assert await status(client, path, **FOREIGN) == 421


@pytest.mark.parametrize("path", ["/health", "/health/redis", "/metrics"])
async def test_probes_may_know_this_machine_by_any_name(path: str) -> None:
    async with guarded(None) as client:
        assert await status(client, path, **FOREIGN) == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", 303),
        ("/api/history", 401),
        ("/nowhere", 401),
        ("/metrics", 401),
        ("/health", 200),
        ("/health/redis", 200),
        ("/login", 200),
        ("/assets/login.js", 200),
    ],
)
async def test_without_a_login_there_is_nothing_to_see(path: str, expected: int) -> None:
    async with guarded(Login(PASSWORD)) as client:
        assert await status(client, path) == expected


@pytest.mark.parametrize("path", ["/", "/api/history", "/nowhere"])
async def test_a_page_asked_for_as_a_websocket_needs_a_login_too(path: str) -> None:
    async with guarded(Login(PASSWORD)) as client:
        headers = {**UPGRADE, "Origin": origin(client)}
        assert await status(client, path, **headers) in (303, 401)


async def test_the_password_opens_everything_until_logout() -> None:
    async with guarded(Login(PASSWORD)) as client:
        answer = await log_in(client, Origin=origin(client))
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(COOKIE + "=")
        for flag in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="):
            assert flag in cookie
        assert await status(client, "/") == 200
        assert await status(client, "/login") == 303

        await client.post("/logout", allow_redirects=False)
        assert await status(client, "/api/history") == 401


async def test_a_wrong_password_opens_nothing_and_says_so() -> None:
    async with guarded(Login(PASSWORD)) as client:
        answer = await log_in(client, "wrong")
        assert (answer.status, answer.headers["Location"]) == (303, "/login?wrong=1")
        assert "Set-Cookie" not in answer.headers
        assert await status(client, "/api/history") == 401


async def test_who_guesses_is_told_how_long_to_wait() -> None:
    async with guarded(Login(PASSWORD)) as client:
        for _ in range(ATTEMPTS - 1):
            await log_in(client, "wrong")
        answer = await log_in(client, "wrong")
        assert answer.headers["Location"] == "/login?wait=60"
        answer = await log_in(client)
        assert answer.headers["Location"].startswith("/login?wait=")
        assert await status(client, "/metrics", Authorization=basic(PASSWORD)) == 429


async def test_a_made_up_session_is_none() -> None:
    async with guarded(Login(PASSWORD)) as client:
        assert await status(client, "/api/history", Cookie=f"{COOKIE}=made-up") == 401
        assert await status(client, "/api/history", Cookie=f"{COOKIE}=") == 401


async def test_prometheus_logs_in_by_http_basic_and_sees_its_figures_alone() -> None:
    async with guarded(Login(PASSWORD)) as client:
        right, wrong = basic(PASSWORD), basic("wrong")
        assert await status(client, "/metrics", Authorization=right) == 200
        assert await status(client, "/metrics", Authorization=wrong) == 401
        assert await status(client, "/api/history", Authorization=right) == 401


def basic(password: str) -> str:
    return aiohttp.encode_basic_auth("prometheus", password)


@pytest.mark.parametrize("login", [None, Login(PASSWORD)])
async def test_a_websocket_is_opened_by_this_page_alone(login: Login | None) -> None:
    async with guarded(login) as client:
        here = origin(client)
        assert await status(client, "/live", **UPGRADE, Origin=here) == 200
        for foreign in ("http://evil.example", "null", "http://localhost:1", here + "0"):
            assert await status(client, "/live", **UPGRADE, Origin=foreign) == 403
        assert await status(client, "/live", **UPGRADE) == 403


async def test_no_other_sites_page_logs_in_or_out() -> None:
    async with guarded(Login(PASSWORD)) as client:
        assert (await log_in(client, Origin="http://evil.example")).status == 403
        assert (await log_in(client)).status == 303
        async with client.post("/logout", headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
        assert await status(client, "/api/history") == 200


@pytest.mark.parametrize("path", ["/", "/nowhere", "/health", "/login"])
async def test_every_answer_tells_the_browser_what_is_allowed(path: str) -> None:
    async with guarded(None) as client, client.get(path) as answer:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:8090", True),
        ("127.0.0.1", True),
        ("127.0.0.19:8090", True),
        ("[::1]:8090", True),
        ("::1", True),
        ("", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1:8090", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("[", False),
    ],
)
def test_names_of_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
