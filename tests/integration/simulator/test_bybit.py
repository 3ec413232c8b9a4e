from __future__ import annotations

import uuid

import pytest

from .conftest import Simulation

ROOT = "stream.bybit.com/v5/public"


def subscribe(*topics: str) -> dict[str, object]:
    return {"op": "subscribe", "args": list(topics), "req_id": "r1"}


@pytest.mark.parametrize(
    ("category", "market"), [("spot", "BYBIT:BTCUSDT-SPOT"), ("linear", "BYBIT:BTCUSDT")]
)
async def test_each_category_sends_its_own_trades(
    simulation: Simulation, category: str, market: str
) -> None:
    socket = await simulation.connect(f"{ROOT}/{category}")
    answer = await socket.ask(subscribe("publicTrade.BTCUSDT"))
    assert (answer["success"], answer["op"], answer["req_id"]) == (True, "subscribe", "r1")
    made = [t for t in await simulation.trade() if t.instrument.market == market]
    rows: list[dict[str, object]] = []
    while len(rows) < len(made):
        frame = await socket.receive()
        assert (frame["topic"], frame["type"]) == ("publicTrade.BTCUSDT", "snapshot")
        rows += frame["data"]
    assert [(r["T"], r["S"], r["v"], r["p"]) for r in rows] == [
        (t.ts_ms, "Buy" if t.buy else "Sell", t.size, t.price) for t in made
    ]
    assert len({r["i"] for r in rows}) == len(rows)
    for row in rows:
        assert str(row["i"]).isdecimal() if category == "spot" else uuid.UUID(str(row["i"]))


async def test_liquidations_carry_the_side_of_the_position(simulation: Simulation) -> None:
    socket = await simulation.connect(f"{ROOT}/linear")
    await socket.ask(subscribe("allLiquidation.BTCUSDT"))
    trade = await simulation.forced("BYBIT:BTCUSDT")
    frame = await socket.receive()
    assert frame["topic"] == "allLiquidation.BTCUSDT"
    assert frame["data"][0]["S"] == ("Sell" if trade.buy else "Buy")
    assert (frame["data"][0]["p"], frame["data"][0]["v"]) == (trade.price, trade.size)


async def test_an_unknown_symbol_spoils_the_request(simulation: Simulation) -> None:
    linear = await simulation.connect(f"{ROOT}/linear")
    refused = await linear.ask(subscribe("publicTrade.BTCUSDT", "publicTrade.NOPE"))
    assert refused["success"] is False
    assert refused["ret_msg"] == "error:handler not found,topic:publicTrade.NOPE"
    spot = await simulation.connect(f"{ROOT}/spot")
    refused = await spot.ask(subscribe("publicTrade.NOPE"))
    assert refused["ret_msg"] == "Invalid symbol :[publicTrade.NOPE]"
    await simulation.trade()
    assert (await linear.ask({"op": "ping"}))["ret_msg"] == "pong"


async def test_spot_takes_ten_topics_at_a_time(simulation: Simulation) -> None:
    socket = await simulation.connect(f"{ROOT}/spot")
    refused = await socket.ask(subscribe(*["publicTrade.BTCUSDT"] * 11))
    assert (refused["success"], refused["ret_msg"]) == (False, "args size >10")


async def test_only_recent_trades_can_be_had_newest_first(simulation: Simulation) -> None:
    made = await simulation.trade(25)
    for category, market, most in (
        ("spot", "BYBIT:BTCUSDT-SPOT", 60),
        ("linear", "BYBIT:BTCUSDT", 1000),
    ):
        wanted = [t for t in made if t.instrument.market == market][-most:]
        answer = await simulation.get(
            "api.bybit.com/v5/market/recent-trade", category=category, symbol="BTCUSDT", limit=1000
        )
        rows = answer["result"]["list"]
        assert [(r["time"], r["price"], r["size"]) for r in reversed(rows)] == [
            (str(t.ts_ms), t.price, t.size) for t in wanted
        ]


async def test_open_interest_is_told_for_both_sides_and_for_one(simulation: Simulation) -> None:
    path = "api.bybit.com/v5/market"
    answer = await simulation.get(
        f"{path}/open-interest", category="linear", symbol="BTCUSDT", intervalTime="5min", limit=2
    )
    newest, older = answer["result"]["list"]
    assert float(newest["openInterest"]) == pytest.approx(
        2 * float(newest["singleOpenInterest"]), abs=0.01
    )
    assert int(newest["timestamp"]) - int(older["timestamp"]) == 300_000
    ticker = (await simulation.get(f"{path}/tickers", category="linear", symbol="BTCUSDT"))[
        "result"
    ]["list"][0]
    assert float(ticker["singleOpenInterest"]) == pytest.approx(
        float(newest["singleOpenInterest"]), rel=0.02
    )
    refused = await simulation.get(f"{path}/tickers", category="linear", symbol="NOPE")
    assert refused["retCode"] == 10001
