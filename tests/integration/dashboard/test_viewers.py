"""Who looks: logins, other sites, too many, too slow, and the end."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.dashboard import audience as limits
from services.dashboard import live as module
from services.dashboard.audience import Audience
from services.dashboard.live import Live
from services.dashboard.protocol import Close, Hello, Trouble
from tests.integration.dashboard.rig import Browser, eventually, page
from tests.integration.monitor.support import service_env
from tests.integration.servers import free_port

PASSWORD = "k-0123456789"
LOGIN = {"PAGE_PUBLISHED_ON": "trader.example", "PAGE_PASSWORD": PASSWORD}


async def test_a_page_that_others_reach_is_seen_with_its_password_alone(
    connection_env: dict[str, str], tmp_path: Path
) -> None:
    async with page(connection_env, tmp_path, **LOGIN) as running:
        assert await running.status("/") == 303
        assert await running.status("/api/history") == 401
        assert await running.status("/metrics") == 401
        assert await running.status("/health") in (200, 503)  # whatever it finds
        assert await running.status("/login") == 200
        basic = aiohttp.encode_basic_auth("prometheus", PASSWORD)
        assert await running.status("/metrics", Authorization=basic) == 200
        async with running.browser("") as stranger:
            assert await stranger.closed() == Close.LOGIN

        data = {"password": PASSWORD}
        async with running.session.post(f"{running.url}/login", data=data) as answer:
            assert answer.status == 200
            assert "<title>SqueezeFlow" in await answer.text()
        async with running.browser() as browser:
            assert (await browser.next())["login"] is True
            await browser.block("board")
            await running.session.post(f"{running.url}/logout")
            assert await browser.closed() == Close.LOGIN
        assert await running.status("/api/history") == 401


async def test_other_sites_and_other_names_are_kept_out(
    connection_env: dict[str, str], tmp_path: Path
) -> None:
    async with page(connection_env, tmp_path) as running:
        assert await running.status("/") == 200
        assert await running.status("/", Host="evil.example") == 421
        for origin in ("http://evil.example", None):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await running.session.ws_connect(f"{running.url}/live", origin=origin)


def test_a_page_that_others_reach_does_not_start_without_a_password(
    connection_env: dict[str, str], tmp_path: Path
) -> None:
    environ = service_env(
        connection_env, tmp_path, HEALTH_PORT=str(free_port()), PAGE_PUBLISHED_ON="0.0.0.0"
    )
    done = subprocess.run(
        [sys.executable, "-m", "services.health_monitor"],
        env=environ, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    problems = [line for line in done.stderr.splitlines() if "level=INFO" not in line]
    assert len(problems) == 1
    assert re.search("PAGE_PASSWORD is not set.*0.0.0.0.*secrets/page_password", problems[0])


async def test_the_end_of_the_server_is_told_and_does_not_wait_for_viewers(
    connection_env: dict[str, str], tmp_path: Path
) -> None:
    async with page(connection_env, tmp_path) as running, running.browser() as browser:
        await browser.block("board")
        running.ended = True
        running.process.terminate()
        assert await browser.closed() == Close.GOING_AWAY
        async with asyncio.timeout(20):
            assert await running.process.wait() == 0


@asynccontextmanager
async def served(audience: Audience) -> AsyncIterator[TestServer]:
    live = Live(
        audience,
        ["BTCUSDT"],
        hello=lambda: Hello(
            version="", ts_ms=0, symbols=["BTCUSDT"], execution_exchange="", steps=[], mode="live",
            real_money=None,
        ),
        session=lambda request: "",
        logged_in=lambda session: True,
    )  # fmt: skip
    application = web.Application()
    application.router.add_get("/live", live.handle)
    server = TestServer(application)
    async with server:
        yield server


@asynccontextmanager
async def looking(server: TestServer) -> AsyncIterator[Browser]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.make_url("/live")) as websocket,
    ):
        yield Browser(websocket)


def trouble(number: int, size: int) -> Trouble:
    return Trouble(ts_ms=number, problems={"Redis": f"{number}" + "x" * size})


async def test_a_viewer_that_does_not_read_is_cut_off_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_WAITING", 20)
    monkeypatch.setattr(module, "SEND_S", 1.0)
    audience = Audience()
    async with served(audience) as server, looking(server) as quick:
        await quick.watch()
        with socket.create_connection(("127.0.0.1", server.port or 0)) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(_handshake(server.port or 0) + _frame(b'{"symbol":"BTCUSDT"}'))
            await eventually(lambda: sum(1 for v in audience._viewers if v.symbol) == 2)
            async with asyncio.timeout(30):
                for number in range(400):
                    audience.show(trouble(number, 200_000))
                    await quick.block("trouble", ts_ms=number)
                    if len(audience) == 1:
                        break
        assert len(audience) == 1
        audience.show(trouble(-1, 1))
        await quick.block("trouble", ts_ms=-1)


def _handshake(port: int) -> bytes:
    return (
        f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def _frame(payload: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def test_no_more_than_so_many_look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_VIEWERS", 2)
    audience = Audience()
    async with served(audience) as server, looking(server) as one, looking(server) as two:
        for browser in (one, two):
            assert (await browser.next())["type"] == "hello"
        async with looking(server) as third:
            assert await third.closed() == Close.TOO_MANY
        await two.socket.close()
        await eventually(lambda: len(audience) == 1)
        async with looking(server) as third:
            assert (await third.next())["type"] == "hello"


@pytest.mark.parametrize(
    "text", ['{"symbol": "DOGEUSDT"}', '{"symbol": 5}', "{", '{"symbol": "' + "x" * 2_000 + '"}']
)
async def test_who_asks_for_nonsense_is_closed(text: str) -> None:
    async with served(Audience()) as server, looking(server) as browser:
        await browser.next()
        await browser.socket.send_str(text)
        assert await browser.closed() in (Close.BAD_MESSAGE, 1009)


async def test_who_asks_for_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GUARD_EVERY_S", 0.05)
    async with served(Audience()) as server, looking(server) as browser:
        assert await browser.closed() == Close.BAD_MESSAGE
