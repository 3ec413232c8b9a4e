from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from aiohttp import WSMsgType

from services.simulator.venues import coinbase

from .conftest import Simulation

PATH = "ws-feed.exchange.coinbase.com"


def subscribe(*products: str) -> dict[str, object]:
    return {
        "type": "subscribe",
        "channels": [{"name": "matches", "product_ids": list(products)}],
    }


async def test_matches_carry_the_makers_side(simulation: Simulation) -> None:
    socket = await simulation.connect(PATH)
    answer = await socket.ask(subscribe("BTC-USD"))
    assert answer == {
        "type": "subscriptions",
        "channels": [{"name": "matches", "product_ids": ["BTC-USD"]}],
    }
    made = [t for t in await simulation.trade() if t.instrument.market == "COINBASE:BTC-USD"]
    for trade, frame in zip(made, await socket.receive_all(len(made)), strict=True):
        assert (frame["type"], frame["trade_id"]) == ("match", trade.id)
        assert (frame["price"], frame["size"]) == (trade.price, trade.size)
        assert frame["side"] == ("sell" if trade.buy else "buy")
        moment = datetime.fromisoformat(frame["time"])
        assert int(moment.timestamp()) * 1000 + moment.microsecond // 1000 == trade.ts_ms


async def test_the_last_match_comes_before_the_acknowledgement(simulation: Simulation) -> None:
    made = [t for t in await simulation.trade() if t.instrument.market == "COINBASE:ETH-USD"]
    socket = await simulation.connect(PATH)
    first = await socket.ask(subscribe("ETH-USD"))
    assert (first["type"], first["trade_id"]) == ("last_match", made[-1].id)
    assert (await socket.receive())["type"] == "subscriptions"


async def test_an_unknown_product_is_refused(simulation: Simulation) -> None:
    socket = await simulation.connect(PATH)
    assert await socket.ask(subscribe("BTC-USD", "NOPE-USD")) == {
        "type": "error",
        "message": "Failed to subscribe",
        "reason": "NOPE-USD is not a valid product",
    }


async def test_whoever_does_not_subscribe_is_disconnected(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coinbase, "_SUBSCRIBE_WITHIN_S", 0.05)
    socket = await simulation.connect(PATH)
    async with asyncio.timeout(5):
        message = await socket.socket.receive()
    assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED)


async def test_trades_are_paged_backwards_by_id(simulation: Simulation) -> None:
    made = [t for t in await simulation.trade(20) if t.instrument.market == "COINBASE:BTC-USD"]
    path = "api.exchange.coinbase.com/products/BTC-USD/trades"
    page = await simulation.get(path, after=made[50].id, limit=30)
    assert [row["trade_id"] for row in reversed(page)] == [t.id for t in made[20:50]]
    assert page[0]["side"] == ("sell" if made[49].buy else "buy")
    missing = await simulation.get("api.exchange.coinbase.com/products/NOPE/trades")
    assert missing == {"message": "NotFound"}
