"""The page's files as they are sent."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.dashboard.assets import Assets

SERVICES = Path(__file__).resolve().parents[3] / "services"
LIBRARY = "lightweight-charts.standalone.production.js"
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    assets = Assets()

    async def index(request: web.Request) -> web.Response:
        return assets.page("index.html", request)

    application = web.Application()
    application.router.add_get("/", index)
    application.router.add_get("/assets/{name}", assets.handle)
    async with TestClient(TestServer(application), auto_decompress=False) as client:
        yield client


async def test_every_file_of_the_page_is_served_and_the_library_beside_them(client: Client) -> None:
    folders = (SERVICES / "dashboard/assets", SERVICES / "web/assets")
    for path in (path for folder in folders for path in folder.iterdir()):
        if path.suffix == ".html":
            continue
        async with client.get(f"/assets/{path.name}") as answer:
            assert answer.status == 200, path
            data = await answer.read()
            if answer.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
        own = folders[0] / path.name
        assert data == (own if own.exists() else path).read_bytes()


async def test_a_browser_that_has_a_file_is_not_sent_it_again(client: Client) -> None:
    async with client.get(f"/assets/{LIBRARY}") as answer:
        etag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "no-cache"
    async with client.get(f"/assets/{LIBRARY}", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304
        assert await answer.read() == b""
    async with client.get(f"/assets/{LIBRARY}", headers={"If-None-Match": '"old"'}) as answer:
        assert answer.status == 200


async def test_who_cannot_unpack_is_sent_the_file_as_it_is(client: Client) -> None:
    async with client.get(f"/assets/{LIBRARY}", headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers
        assert await answer.read() == (SERVICES / "web/assets" / LIBRARY).read_bytes()


async def test_the_page_itself_is_never_kept(client: Client) -> None:
    async with client.get("/") as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "name", ["nothing.js", "index.html", "..%2fpage.py", "page.py", "login.html"]
)
async def test_nothing_else_is_served(client: Client, name: str) -> None:
    async with client.get(f"/assets/{name}") as answer:
        assert answer.status == 404
