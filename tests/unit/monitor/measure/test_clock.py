"""The clock's offset, against venues whose clocks are known."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from services.monitor.measure.board import Unreadable
from services.monitor.measure.clock import VENUES, Clock, Sample, nearest, of_venues


class Venues:
    """Every venue behind a gateway; each with a clock that is wrong by so many milliseconds."""

    def __init__(self) -> None:
        self.ahead_ms: dict[str, float] = {}
        self.delays_s: list[float] = []
        self.status = 200
        self.requests = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/{host}/{path:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        host = request.match_info["host"]
        if host not in self.ahead_ms:
            return web.Response(status=503)
        if self.status != 200:
            return web.Response(status=self.status)
        now_ms = time.time_ns() / 1e6 + self.ahead_ms[host]
        if self.delays_s:
            # All of the delay is on the way back, so such a sample is wrong by half of it.
            await asyncio.sleep(self.delays_s.pop(0))
        return web.json_response(self._document(host, now_ms))

    @staticmethod
    def _document(host: str, now_ms: float) -> object:
        if "binance" in host:
            return {"serverTime": int(now_ms)}
        if "bybit" in host:
            return {"retCode": 0, "result": {"timeNano": str(int(now_ms * 1e6))}}
        if "okx" in host:
            return {"code": "0", "data": [{"ts": str(int(now_ms))}]}
        return {"iso": "", "epoch": now_ms / 1000}


@pytest.fixture
async def venues() -> AsyncIterator[tuple[Venues, str]]:
    made = Venues()
    runner = web.AppRunner(made.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    yield made, f"http://127.0.0.1:{port}"
    await runner.cleanup()


HOSTS = ("api.binance.com", "fapi.binance.com", "api.bybit.com", "www.okx.com",
         "api.exchange.coinbase.com")  # fmt: skip


async def test_the_offset_is_the_median_of_what_every_venue_tells(
    venues: tuple[Venues, str],
) -> None:
    # Our clock is 700 ms behind what most say; one is far off.
    venues[0].ahead_ms = dict(zip(HOSTS, (700, 710, 690, 9_000, 700), strict=True))
    (reading,) = await Clock(venues[1]).readings()
    assert reading.name == "clock_offset_ms"
    assert reading.value == pytest.approx(-700, abs=60)
    assert all(venue.name in reading.detail for venue in VENUES)
    assert venues[0].requests == 5 * len(HOSTS)


async def test_the_sample_with_the_shortest_way_counts(venues: tuple[Venues, str]) -> None:
    venues[0].ahead_ms = {"api.bybit.com": 0.0}
    venues[0].delays_s = [0.4, 0.4, 0.0, 0.4, 0.4]
    bybit = [venue for venue in VENUES if venue.name == "BYBIT"]
    (reading,) = await Clock(venues[1], bybit).readings()
    # A slow one would say +200 ms.
    assert reading.value == pytest.approx(0, abs=60)


async def test_a_venue_is_taken_to_answer_half_way(venues: tuple[Venues, str]) -> None:
    venues[0].ahead_ms = {"api.bybit.com": 0.0}
    venues[0].delays_s = [0.4] * 5
    bybit = [venue for venue in VENUES if venue.name == "BYBIT"]
    (reading,) = await Clock(venues[1], bybit).readings()
    # It did so at once, so this is wrong, by as much as the detail admits.
    assert reading.value == pytest.approx(200, abs=60)
    exact_to = re.search(r"\(to (\d+)\)", reading.detail)
    assert exact_to is not None
    assert int(exact_to[1]) == pytest.approx(200, abs=60)


async def test_venues_that_do_not_answer_are_left_out(venues: tuple[Venues, str]) -> None:
    venues[0].ahead_ms = {"www.okx.com": 50.0}
    (reading,) = await Clock(venues[1]).readings()
    assert reading.value == pytest.approx(-50, abs=60)
    assert "OKX" in reading.detail
    assert "BYBIT" not in reading.detail


async def test_nothing_is_told_if_nobody_answers(closed_port: int) -> None:
    with pytest.raises(Unreadable, match="no venue"):
        await Clock(f"http://127.0.0.1:{closed_port}").readings()


async def test_a_venue_that_refuses_is_not_asked_again_and_again(
    venues: tuple[Venues, str],
) -> None:
    venues[0].ahead_ms = dict.fromkeys(HOSTS, 0.0)
    venues[0].status = 429
    clock = Clock(venues[1])
    for _ in range(3):
        with pytest.raises(Unreadable):
            await clock.readings()
    assert venues[0].requests == len(HOSTS)


async def test_a_venue_that_is_out_of_order_is_asked_again(venues: tuple[Venues, str]) -> None:
    venues[0].ahead_ms = dict.fromkeys(HOSTS, 0.0)
    venues[0].status = 502
    clock = Clock(venues[1])
    with pytest.raises(Unreadable):
        await clock.readings()
    venues[0].status = 200
    assert [r.name for r in await clock.readings()] == ["clock_offset_ms"]


def test_the_nearest_sample_is_the_one_with_the_shortest_round_trip() -> None:
    samples = [Sample(5.0, 80.0), Sample(1.0, 20.0), Sample(9.0, 300.0)]
    assert nearest(samples) == samples[1]
    assert nearest([]) is None


def test_of_an_even_number_of_venues_the_middle_two_count_half_each() -> None:
    found = of_venues({"A": Sample(10.0, 2.0), "B": Sample(20.0, 2.0)})
    assert found.value == 15.0
    assert found.detail == "A +10 ms (to 1), B +20 ms (to 1)"
