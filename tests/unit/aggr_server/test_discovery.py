from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggr_server import clock, exchanges
from aggr_server.discovery import (
    EVERY_S,
    Incomplete,
    Listing,
    Selection,
    canonical,
    chosen_adapters,
    discover,
    listings,
)
from aggr_server.exchanges.base import Instrument, Request
from aggr_server.instruments import InstrumentCache
from aggr_server.rest import RestFailed
from aggr_server.settings import CollectorSettings
from aggr_server.wire import Kind

BINANCE = exchanges.get("BINANCE")
ANSWER = msgspec.json.encode(
    {
        "symbols": [
            {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
        ]
    }
)


class FakeRest:
    """Answers in turn; the last one for ever."""

    def __init__(self, *answers: bytes | RestFailed | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def ask(self, request: Request, *, probe: bool = False) -> bytes:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.Event().wait()
        if not isinstance(answer, bytes):
            assert answer
            raise answer
        return answer


def _instrument(
    symbol: str, base: str, quote: str, kind: Kind = "spot", size: float | None = 1.0
) -> Instrument:
    return Instrument(
        symbol=symbol,
        wire=symbol,
        base=base,
        quote=quote,
        kind=kind,
        channel="spot",
        contract_size=size,
    )


FOUND = [
    _instrument("btcusdt", "BTC", "USDT"),
    _instrument("btcfdusd", "BTC", "FDUSD"),
    _instrument("btceur", "BTC", "EUR"),
    _instrument("btcusdt_261225", "BTC", "USDT", "future"),
    _instrument("ethusdt", "ETH", "USDT", "perp"),
    _instrument("solusdt", "SOL", "USDT"),
]


def chosen(found: list[Instrument], **settings: Any) -> list[str]:
    selection = Selection(CollectorSettings(**settings))
    return [i.symbol for i in selection.of(BINANCE, found)]


@pytest.fixture
def fast_clock() -> object:
    """A day passes in a blink."""
    clock.adjust(f"{clock.now_ms()}*1000000")
    yield
    clock.adjust("")


async def first(source: AsyncIterator[Listing]) -> list[str]:
    async with asyncio.timeout(10):
        return [i.symbol for i in (await anext(source)).instruments]


def test_coins_against_any_dollar_spot_and_perpetual() -> None:
    assert chosen(FOUND, aggr_symbols=("btc", "ETH")) == ["btcusdt", "btcfdusd", "ethusdt"]


def test_markets_by_name_may_be_dated_but_not_in_other_currencies() -> None:
    names = ("BINANCE:btcusdt_261225", "BINANCE:btceur", "OKX:btcusdt")
    assert chosen(FOUND, aggr_markets=names) == ["btcusdt_261225"]


def test_a_market_of_unknown_contract_size_is_left_out_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unknown = _instrument("btcusd", "BTC", "USD", "perp", None)
    assert chosen([unknown, *FOUND], aggr_symbols=("BTC",)) == ["btcusdt", "btcfdusd"]
    assert "BINANCE:btcusd" in caplog.text


def test_what_does_not_exist_is_named_with_the_remedy() -> None:
    found = {"BINANCE:btcusdt": FOUND[0]}
    by_symbol = Selection(CollectorSettings(aggr_symbols=("btc", "XYZ")))
    assert by_symbol.missing(found, ["BINANCE"]) == (
        "no dollar market for AGGR_SYMBOLS=XYZ at BINANCE; use base coins such as BTC"
    )
    by_name = Selection(CollectorSettings(aggr_markets=("BINANCE:btcusdt", "BINANCE:no")))
    assert "AGGR_MARKETS=BINANCE:no" in by_name.missing(found, ["BINANCE"])
    assert Selection(CollectorSettings(aggr_symbols=("BTC",))).missing(found, []) == ""


async def test_an_answer_that_is_not_understood_fails_by_name() -> None:
    with pytest.raises(RestFailed, match=r"exchangeInfo.*not understood"):
        await discover(BINANCE, FakeRest(b"<html>"))


OTHER = ANSWER.replace(b"BTC", b"ETH")


async def test_one_list_that_fails_does_not_hide_the_others(
    tmp_path: Path, fast_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(BINANCE), "discovery", (Request("a"), Request("b")))
    with pytest.raises(Incomplete) as failed:
        await discover(BINANCE, FakeRest(RestFailed("503"), ANSWER))
    assert [i.symbol for i in failed.value.found] == ["btcusdt"]

    problems: list[str] = []
    down = RestFailed("503")
    rest = FakeRest(down, ANSWER, OTHER, ANSWER, OTHER, down)
    source = listings(BINANCE, rest, InstrumentCache(tmp_path), problems.append)
    listing = await anext(source)
    assert ([i.symbol for i in listing.instruments], listing.whole) == (["btcusdt"], False)
    assert sorted(await first(source)) == ["btcusdt", "ethusdt"]
    assert problems == ["503"]
    # What is known stands in for the list that fails a day later.
    listing = await anext(source)
    assert (sorted(i.symbol for i in listing.instruments), listing.whole) == (
        ["btcusdt", "ethusdt"],
        True,
    )


async def test_the_venue_is_asked_again_until_it_answers_and_then_each_day(
    tmp_path: Path, fast_clock: None
) -> None:
    rest = FakeRest(RestFailed("503"), RestFailed("503"), ANSWER)
    cache, problems = InstrumentCache(tmp_path), list[str]()
    source = listings(BINANCE, rest, cache, problems.append)
    assert await first(source) == ["btcusdt"]
    assert problems == ["503", "503"]
    listed = cache.load("BINANCE")
    assert listed
    assert [i.symbol for i in listed.instruments] == ["btcusdt"]
    begun = clock.monotonic()
    assert await first(source) == ["btcusdt"]
    assert clock.monotonic() - begun >= 0.9 * EVERY_S


@pytest.mark.parametrize("answer", [RestFailed("503"), None])
async def test_what_the_disk_remembers_serves_while_the_venue_fails_or_hangs(
    tmp_path: Path, answer: RestFailed | None, fast_clock: None
) -> None:
    cache = InstrumentCache(tmp_path)
    cache.save("BINANCE", [FOUND[4]], clock.now_ms())
    rest, problems = FakeRest(answer, ANSWER), list[str]()
    source = listings(BINANCE, rest, cache, problems.append)
    assert await first(source) == ["ethusdt"]
    assert await first(source) == ["btcusdt"], "asked again at once"
    assert len(problems) == 1


def test_every_venue_is_collected_unless_some_are_named() -> None:
    everything = [a.name for a in chosen_adapters(CollectorSettings())]
    assert everything == list(exchanges.known())
    some = chosen_adapters(CollectorSettings(aggr_exchanges=("okx", "BINANCE")))
    assert [a.name for a in some] == ["BINANCE", "OKEX"]


def test_markets_by_name_bring_their_venues() -> None:
    settings = CollectorSettings(aggr_markets=("OKX:BTC-USDT", "OKEX:ETH-USDT"))
    assert [a.name for a in chosen_adapters(settings)] == ["OKEX"]
    assert canonical(["OKX:BTC-USDT"]) == ["OKEX:BTC-USDT"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"aggr_exchanges": ("NOPE",)}, "AGGR_EXCHANGES: exchange 'NOPE' is not known"),
        ({"aggr_exchanges": ("FTX",)}, "AGGR_EXCHANGES: FTX closed on 2022-11-11"),
        ({"aggr_markets": ("BTCUSDT",)}, "AGGR_MARKETS: 'BTCUSDT' is no market"),
        ({"aggr_markets": ("NOPE:x",)}, "AGGR_MARKETS: exchange 'NOPE' is not known"),
    ],
)
def test_a_wrong_name_tells_its_setting(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        chosen_adapters(CollectorSettings(**settings))
