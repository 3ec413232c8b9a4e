from __future__ import annotations

import pytest

from services.simulator.instruments import Trade

from .conftest import Simulation

SPOT = "stream.binance.com"
FUTURES = "fstream.binance.com"


def subscribe(*streams: str, number: int = 1) -> dict[str, object]:
    return {"method": "SUBSCRIBE", "params": list(streams), "id": number}


def of(trades: list[Trade], market: str) -> list[Trade]:
    return [t for t in trades if t.instrument.market == market]


async def test_spot_trades_arrive_as_they_were_made(simulation: Simulation) -> None:
    socket = await simulation.connect(f"{SPOT}/ws")
    assert await socket.ask(subscribe("btcusdt@trade", number=7)) == {"result": None, "id": 7}
    wanted = of(await simulation.trade(), "BINANCE:btcusdt")
    for trade, frame in zip(wanted, await socket.receive_all(len(wanted)), strict=True):
        assert (frame["e"], frame["s"], frame["t"]) == ("trade", "BTCUSDT", trade.id)
        assert (frame["p"], frame["q"], frame["T"]) == (trade.price, trade.size, trade.ts_ms)
        assert frame["m"] is not trade.buy


async def test_aggregate_trades_stand_for_one_trade_each(simulation: Simulation) -> None:
    socket = await simulation.connect(f"{FUTURES}/market/ws")
    await socket.ask(subscribe("ethusdt@aggTrade", "btcusdt@aggTrade"))
    made = await simulation.trade()
    wanted = of(made, "BINANCE_FUTURES:ethusdt") + of(made, "BINANCE_FUTURES:btcusdt")
    frames = await socket.receive_all(len(wanted))
    assert {(f["s"], f["a"], f["f"], f["l"], f["p"], f["q"]) for f in frames} == {
        (t.instrument.native, t.id, t.id, t.id, t.price, t.size) for t in wanted
    }


async def test_combined_streams_come_wrapped(simulation: Simulation) -> None:
    socket = await simulation.connect(f"{SPOT}/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade")
    await simulation.trade()
    frame = await socket.receive()
    assert frame["stream"] == f"{frame['data']['s'].lower()}@aggTrade"


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        (f"{FUTURES}/ws", "btcusdt@aggTrade"),
        (f"{FUTURES}/stream", "btcusdt@aggTrade"),
        (f"{FUTURES}/public/ws", "btcusdt@aggTrade"),
        (f"{FUTURES}/market/ws", "btcusdt@trade"),
        (f"{SPOT}/ws", "nosuchusdt@trade"),
    ],
)
async def test_a_wrong_path_or_stream_is_acknowledged_and_stays_mute(
    simulation: Simulation, path: str, stream: str
) -> None:
    socket = await simulation.connect(path)
    assert await socket.ask(subscribe(stream)) == {"result": None, "id": 1}
    await simulation.trade(3)
    # Whatever had been sent would be answered before this.
    answer = await socket.ask({"method": "NOPE", "id": 2})
    assert answer["error"]["code"] == 2


async def test_forced_orders_carry_the_side_of_the_order(simulation: Simulation) -> None:
    socket = await simulation.connect(f"{FUTURES}/market/ws")
    await socket.ask(subscribe("!forceOrder@arr"))
    trade = await simulation.forced("BINANCE_FUTURES:btcusdt")
    while (frame := await socket.receive())["o"]["T"] != trade.ts_ms:
        pass
    order = frame["o"]
    assert order["S"] == ("BUY" if trade.buy else "SELL")
    assert (order["ap"], order["z"], order["X"]) == (trade.price, trade.size, "FILLED")


async def test_unsubscribed_streams_stop(simulation: Simulation) -> None:
    socket = await simulation.connect(f"{SPOT}/ws/btcusdt@trade")
    listed = await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 3})
    assert listed == {"result": ["btcusdt@trade"], "id": 3}
    await socket.ask({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 4})
    await simulation.trade()
    assert (await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 5}))["result"] == []


async def test_malformed_requests_get_the_venues_errors(simulation: Simulation) -> None:
    socket = await simulation.connect(f"{SPOT}/ws")
    assert (await socket.ask("{"))["error"]["code"] == 3
    assert (await socket.ask({"params": []}))["error"]["code"] == 2
    refused = await simulation.get("api.binance.com/api/v3/aggTrades", symbol="NOPE")
    assert refused == {"code": -1121, "msg": "Invalid symbol."}


async def test_a_gap_is_filled_by_id_and_by_time(simulation: Simulation) -> None:
    wanted = of(await simulation.trade(20), "BINANCE_FUTURES:btcusdt")
    path = "fapi.binance.com/fapi/v1/aggTrades"
    by_id = await simulation.get(path, symbol="BTCUSDT", fromId=wanted[5].id, limit=40)
    assert [row["a"] for row in by_id] == [t.id for t in wanted[5:45]]
    start, end = wanted[30].ts_ms, wanted[200].ts_ms
    by_time = await simulation.get(path, symbol="BTCUSDT", startTime=start, endTime=end, limit=1000)
    assert [(r["a"], r["p"], r["q"], r["T"]) for r in by_time] == [
        (t.id, t.price, t.size, t.ts_ms) for t in wanted if start <= t.ts_ms <= end
    ]
    both = await simulation.get(path, symbol="BTCUSDT", startTime=1, fromId=1)
    assert both["code"] == -1128


async def test_everything_freqtrade_asks_for_is_answered(simulation: Simulation) -> None:
    await simulation.trade()
    root = "fapi.binance.com/fapi/v1"
    assert (await simulation.get(f"{root}/time"))["serverTime"] > 0
    klines = await simulation.get(f"{root}/klines", symbol="BTCUSDT", interval="1m", limit=499)
    assert len(klines) == 499
    assert float(klines[-1][2]) >= float(klines[-1][3]) > 0
    book = await simulation.get(f"{root}/depth", symbol="BTCUSDT", limit=20)
    bids, asks = ([float(p) for p, _ in book[side]] for side in ("bids", "asks"))
    assert len(bids) == len(asks) == 20
    assert bids == sorted(bids, reverse=True)
    assert bids[0] < asks[0] == min(asks)
    funding = await simulation.get(f"{root}/fundingRate", symbol="BTCUSDT", startTime=1, limit=10)
    assert len(funding) == 10
    marks = await simulation.get(
        f"{root}/markPriceKlines", symbol="BTCUSDT", interval="1h", limit=499
    )
    assert len(marks) == 499
    assert {r["symbol"] for r in await simulation.get(f"{root}/ticker/24hr")} == {
        "BTCUSDT",
        "ETHUSDT",
    }
    for row in await simulation.get(f"{root}/ticker/bookTicker"):
        assert float(row["bidPrice"]) < float(row["askPrice"])
    premium = await simulation.get(f"{root}/premiumIndex", symbol="BTCUSDT")
    assert float(premium["markPrice"]) > 0


async def test_candles_from_a_time_on_are_the_oldest_of_them(simulation: Simulation) -> None:
    await simulation.trade()
    root = "fapi.binance.com/fapi/v1"
    newest = await simulation.get(f"{root}/klines", symbol="BTCUSDT", interval="1m", limit=400)
    start = newest[0][0]
    page = await simulation.get(
        f"{root}/klines", symbol="BTCUSDT", interval="1m", limit=100, startTime=start
    )
    assert page == newest[:100]
    last = await simulation.get(
        f"{root}/klines", symbol="BTCUSDT", interval="1m", limit=10, endTime=newest[99][0]
    )
    assert last == newest[90:100]
