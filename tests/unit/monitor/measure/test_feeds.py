"""The collector's documents, and how old what it publishes is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.monitor.measure.board import Unreadable
from services.monitor.measure.feeds import FORGET_S, Collector, ages, of_feeds, of_gaps, of_spool

NOW_MS = 1_732_000_000_000
NOW_S = NOW_MS // 1000


def feed(name: str, state: str = "live", error: str = "") -> dict[str, Any]:
    return {"feed": name, "state": state, "markets": ["A:1", "A:2", "A:3", "A:4"],
            "reconnects": 0, "last_error": error}  # fmt: skip


def spool(**changes: Any) -> dict[str, Any]:
    figures = {"bytes": 9000, "max_bytes": 10_000, "waiting_bytes": 0, "waiting_s": 0,
               "given_up_s": 0, "trouble": ""}  # fmt: skip
    return {"spool": {**figures, **changes}}


def market(name: str, gaps: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {"market": name, "state": "connecting", "gap_open": True, "gaps_24h": gaps, **changes}


def gap(from_s: int, to_s: int, reason: str = "disconnect") -> dict[str, Any]:
    return {"from_s": from_s, "to_s": to_s, "reason": reason}


def test_every_feed_is_told_as_down_or_not() -> None:
    document = {"feeds": [feed("BYBIT/linear"), feed("OKEX/public", "connecting", "reset")]}
    up, down = of_feeds(document)
    assert (up.subject, up.value, up.detail) == ("BYBIT/linear", 0.0, "")
    assert (down.subject, down.value) == ("OKEX/public", 1.0)
    assert down.detail == "connecting: reset; carries A:1, A:2, A:3 ..."


def test_the_spool_is_as_full_as_what_waits_in_it_not_as_its_files_are_large() -> None:
    found = {r.name: r.value for r in of_spool(spool(waiting_bytes=2500, waiting_s=40))}
    assert found == {"spool_used_percent": 25.0, "spool_unwritable": 0.0}


def test_a_spool_that_cannot_be_written_says_why() -> None:
    unwritable = of_spool(spool(trouble="No space left on device"))[1]
    assert (unwritable.value, unwritable.detail) == (1.0, "No space left on device")


def test_an_open_gap_is_as_long_as_it_lasts() -> None:
    markets = [
        market("BYBIT:BTCUSDT", [gap(NOW_S - 900, NOW_S - 800), gap(NOW_S - 40, NOW_S - 1)]),
        market("OKEX:BTC-USDT", [gap(NOW_S - 40, NOW_S - 30)], gap_open=False),
    ]
    (found,) = of_gaps(markets, NOW_S)
    assert (found.subject, found.value) == ("BYBIT:BTCUSDT", 40.0)
    assert found.detail == "disconnect; the connection is connecting"


def test_missing_liquidations_are_no_gap_in_the_trades() -> None:
    only = market("A:1", [gap(NOW_S - 40, NOW_S, "liquidations")])
    assert list(of_gaps([only], NOW_S)) == []


def test_a_market_that_the_venue_refuses_has_no_gap_that_could_end() -> None:
    assert list(of_gaps([market("A:1", [gap(1, NOW_S)], state="refused")], NOW_S)) == []


def test_each_collector_has_an_age_of_its_own() -> None:
    found = ages({"aggr-1": NOW_MS - 400, "aggr-1-2": NOW_MS - 9000}, NOW_MS - 60_000, NOW_MS)
    assert {r.subject: r.value for r in found} == {"aggr-1": 0.4, "aggr-1-2": 9.0}


def test_silence_from_the_beginning_has_lasted_since_one_listens() -> None:
    (found,) = ages({}, NOW_MS - 12_000, NOW_MS)
    assert (found.subject, found.value) == ("aggr-server", 12.0)
    assert "none was heard" in found.detail


def test_a_collector_that_was_taken_away_is_forgotten_while_another_speaks() -> None:
    gone = NOW_MS - int(FORGET_S * 1000) - 1
    assert [r.subject for r in ages({"old": gone, "new": NOW_MS}, 1, NOW_MS)] == ["new"]
    # The only one is never forgotten.
    assert ages({"only": gone}, 1, NOW_MS)[0].value == pytest.approx(FORGET_S, abs=1)


class Pages:
    """aggr-server's two documents."""

    def __init__(self) -> None:
        self.health: Any = {"feeds": [feed("BYBIT/linear")], **spool()}
        self.status = 200

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/health", self._health)
        application.router.add_get("/markets", self._markets)
        return application

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response(self.health, status=self.status)

    async def _markets(self, _: web.Request) -> web.Response:
        return web.json_response([market("A:1", [gap(NOW_S - 40, NOW_S)])])


@pytest.fixture
async def pages() -> AsyncIterator[tuple[Pages, Collector]]:
    made = Pages()
    runner = web.AppRunner(made.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        yield made, Collector(f"http://127.0.0.1:{port}", lambda: session)
    await runner.cleanup()


async def test_a_collector_that_is_not_well_is_read_all_the_same(
    pages: tuple[Pages, Collector],
) -> None:
    pages[0].status = 503
    names = {reading.name for reading in await pages[1].readings()}
    assert names == {"feed_down", "spool_used_percent", "spool_unwritable", "market_gap_open_s"}


async def test_what_is_not_understood_is_unreadable(pages: tuple[Pages, Collector]) -> None:
    pages[0].health = {"feeds": None}
    with pytest.raises(Unreadable, match="not understood"):
        await pages[1].readings()


async def test_a_collector_that_is_away_is_unreadable(closed_port: int) -> None:
    async with aiohttp.ClientSession() as session:
        away = Collector(f"http://127.0.0.1:{closed_port}", lambda: session)
        with pytest.raises(Unreadable, match="/health"):
            await away.readings()
