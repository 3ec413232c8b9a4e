from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp import web

from aggr_server import clock, rest
from aggr_server.exchanges.base import Request
from aggr_server.rest import RestFailed, Turns, VenueRest

ASKED = Request("https://api.example.com/v1/trades?symbol=BTC")


class Api:
    """Answers what it is told to, behind a gateway."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str, str]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b"{}"
        self.hangs = False

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path_qs, await request.text()))
        if self.hangs:
            await asyncio.sleep(30)
        return web.Response(status=self.status, headers=self.headers, body=self.body)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}/gate"
    yield api
    await runner.cleanup()


@pytest.fixture
async def venue(api: Api) -> AsyncIterator[VenueRest]:
    async with aiohttp.ClientSession() as session:
        yield VenueRest("X", 0.0, session, api.url)


@pytest.fixture
def fast_clock() -> Iterator[None]:
    clock.adjust(f"{clock.now_ms()}*100")
    yield
    clock.adjust("")


async def test_requests_pass_the_gateway_with_their_body(api: Api, venue: VenueRest) -> None:
    api.body = b"[1]"
    assert await venue.ask(ASKED) == b"[1]"
    await venue.ask(Request("https://api.example.com/info", "POST", '{"a":1}'))
    assert api.requests == [
        ("GET", "/gate/api.example.com/v1/trades?symbol=BTC", ""),
        ("POST", "/gate/api.example.com/info", '{"a":1}'),
    ]


@pytest.mark.parametrize("status", [418, 429])
async def test_after_too_many_requests_nobody_asks_until_it_is_allowed(
    api: Api, venue: VenueRest, status: int, fast_clock: None
) -> None:
    api.status, api.headers = status, {"Retry-After": "30"}
    with pytest.raises(RestFailed) as caught:
        await venue.ask(ASKED)
    assert (caught.value.status, caught.value.retry_after_s) == (status, 30.0)
    with pytest.raises(RestFailed) as caught:
        await venue.ask(ASKED, probe=True)
    assert 0 < caught.value.retry_after_s <= 30
    assert len(api.requests) == 1
    await clock.sleep(31)
    api.status = 200
    assert await venue.ask(ASKED) == b"{}"


@pytest.mark.parametrize(
    ("status", "hint"), [(403, "this address is blocked"), (451, "does not serve your location")]
)
async def test_a_block_is_named_and_asked_again_rarely(
    api: Api, venue: VenueRest, status: int, hint: str
) -> None:
    api.status = status
    with pytest.raises(RestFailed, match=hint) as caught:
        await venue.ask(ASKED)
    assert caught.value.retry_after_s == rest.BLOCKED_S
    with pytest.raises(RestFailed, match=hint):
        await venue.ask(ASKED)
    assert len(api.requests) == 1


async def test_a_server_in_trouble_may_be_asked_again(api: Api, venue: VenueRest) -> None:
    api.status = 503
    for _ in range(2):
        with pytest.raises(RestFailed, match="answered 503"):
            await venue.ask(ASKED)
    assert (len(api.requests), venue.failures) == (2, 2)


async def test_a_venue_that_hangs_is_given_up(api: Api, venue: VenueRest, fast_clock: None) -> None:
    api.hangs = True
    with pytest.raises(RestFailed):
        await venue.ask(ASKED)


async def test_a_venue_that_is_not_there_is_named(venue: VenueRest) -> None:
    async with aiohttp.ClientSession() as session:
        alone = VenueRest("X", 0.0, session, "http://127.0.0.1:1")
        with pytest.raises(RestFailed, match=r"127\.0\.0\.1:1"):
            await alone.ask(ASKED)


async def test_an_endless_answer_is_cut_off(
    api: Api, venue: VenueRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "MAX_BYTES", 1000)
    api.body = b"x" * 1001
    with pytest.raises(RestFailed, match="longer than 1000 bytes"):
        await venue.ask(ASKED)
    api.body = b"x" * 1000
    assert len(await venue.ask(ASKED)) == 1000


async def test_lanes_take_turns_and_keep_their_order() -> None:
    turns, passed = Turns(0.005), list[str]()

    async def go(lane: int, name: str) -> None:
        await turns.turn(lane)
        passed.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(go(1, f"fetch{number}"))
        for number in range(2):
            group.create_task(go(0, f"probe{number}"))
    assert passed == ["fetch0", "probe0", "fetch1", "probe1", "fetch2", "fetch3"]


async def test_turns_are_apart_and_one_who_gives_up_blocks_nobody() -> None:
    turns = Turns(0.02)
    begun = clock.monotonic()
    await turns.turn(0)
    waiting = asyncio.create_task(turns.turn(0))
    await asyncio.sleep(0)
    waiting.cancel()
    for _ in range(3):
        await turns.turn(0)
    assert clock.monotonic() - begun >= 0.06
