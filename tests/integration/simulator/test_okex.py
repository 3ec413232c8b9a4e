from __future__ import annotations

from .conftest import Simulation

PATH = "ws.okx.com/ws/v5/public"


def subscribe(*args: dict[str, str]) -> dict[str, object]:
    return {"op": "subscribe", "args": list(args)}


def trades_of(name: str) -> dict[str, str]:
    return {"channel": "trades", "instId": name}


async def test_the_first_push_is_the_trade_before_the_subscription(simulation: Simulation) -> None:
    old = [t for t in await simulation.trade() if t.instrument.market == "OKEX:BTC-USDT"][-1]
    socket = await simulation.connect(PATH)
    acknowledged = await socket.ask(subscribe(trades_of("BTC-USDT")))
    assert (acknowledged["event"], acknowledged["arg"]) == ("subscribe", trades_of("BTC-USDT"))
    assert (await socket.receive())["data"][0]["tradeId"] == str(old.id)
    made = [t for t in await simulation.trade() if t.instrument.market == "OKEX:BTC-USDT"]
    frames = await socket.receive_all(len(made))
    assert [f["data"][0]["tradeId"] for f in frames] == [str(t.id) for t in made]
    first = frames[0]["data"][0]
    assert (first["px"], first["sz"], first["ts"]) == (
        made[0].price,
        made[0].size_base,
        str(made[0].ts_ms),
    )
    assert first["side"] == ("buy" if made[0].buy else "sell")


async def test_swaps_are_sized_in_contracts(simulation: Simulation) -> None:
    info = await simulation.get("www.okx.com/api/v5/public/instruments", instType="SWAP")
    value = {row["instId"]: float(row["ctVal"]) for row in info["data"]}
    assert value == {"BTC-USDT-SWAP": 0.01, "ETH-USDT-SWAP": 0.1}
    socket = await simulation.connect(PATH)
    await socket.ask(subscribe(trades_of("BTC-USDT-SWAP")))
    await socket.receive()
    made = [t for t in await simulation.trade() if t.instrument.market == "OKEX:BTC-USDT-SWAP"]
    contracts = (await socket.receive())["data"][0]["sz"]
    assert abs(float(contracts) * 0.01 - float(made[0].size_base)) < 1e-12


async def test_liquidations_of_all_swaps_come_on_one_subscription(simulation: Simulation) -> None:
    socket = await simulation.connect(PATH)
    arg = {"channel": "liquidation-orders", "instType": "SWAP"}
    assert (await socket.ask(subscribe(arg)))["arg"] == arg
    trade = await simulation.forced("OKEX:BTC-USDT-SWAP")
    while (frame := await socket.receive())["data"][0]["details"][0]["ts"] != str(trade.ts_ms):
        pass
    details = frame["data"][0]["details"][0]
    assert (details["side"], details["posSide"]) == (
        ("buy", "short") if trade.buy else ("sell", "long")
    )
    assert (details["bkPx"], details["sz"]) == (trade.price, trade.size)


async def test_an_unknown_instrument_is_refused_and_the_others_are_not(
    simulation: Simulation,
) -> None:
    socket = await simulation.connect(PATH)
    refused = await socket.ask(subscribe(trades_of("NOPE-USDT"), trades_of("ETH-USDT")))
    assert (refused["event"], refused["code"]) == ("error", "60018")
    assert "channel:trades,instId:NOPE-USDT doesn't exist" in refused["msg"]
    assert (await socket.receive())["event"] == "subscribe"


async def test_text_ping_is_answered_with_text_pong(simulation: Simulation) -> None:
    socket = await simulation.connect(PATH)
    await socket.send("ping")
    assert await socket.text() == "pong"
    assert (await socket.ask("nonsense"))["code"] == "60012"


async def test_history_is_paged_by_time_and_by_id(simulation: Simulation) -> None:
    made = [t for t in await simulation.trade(25) if t.instrument.market == "OKEX:BTC-USDT"]
    path = "www.okx.com/api/v5/market/history-trades"
    after = made[60].ts_ms
    page = await simulation.get(path, instId="BTC-USDT", type=2, after=after, limit=20)
    older = [t for t in made if t.ts_ms < after]
    assert [row["tradeId"] for row in reversed(page["data"])] == [str(t.id) for t in older[-20:]]
    page = await simulation.get(path, instId="BTC-USDT", type=1, after=made[60].id, limit=20)
    assert [row["tradeId"] for row in reversed(page["data"])] == [str(t.id) for t in made[40:60]]


async def test_open_interest_is_told_in_three_units(simulation: Simulation) -> None:
    answer = await simulation.get("www.okx.com/api/v5/public/open-interest", instType="SWAP")
    rows = {row["instId"]: row for row in answer["data"]}
    btc = rows["BTC-USDT-SWAP"]
    assert abs(float(btc["oi"]) * 0.01 - float(btc["oiCcy"])) < 0.01
    assert float(btc["oiUsd"]) > 10_000 * float(btc["oiCcy"])
