from __future__ import annotations

from decimal import Decimal

from services.simulator.fault_plan import FaultPlan, Mute

from .conftest import Simulation


async def test_the_ledger_lists_exactly_what_was_traded(simulation: Simulation) -> None:
    made = await simulation.trade(20)
    start = simulation.market.live_from
    assert start is not None
    answer = await simulation.get("control/ledger", **{"from": start, "to": start + 20})
    assert answer["uncertain"] == []
    for market, rows in answer["markets"].items():
        mine = [t for t in made if t.instrument.market == market]
        trades = [row for row in rows if not row["liquidation"]]
        assert [(r["id"], r["ts_ms"], r["side"]) for r in trades] == [
            (t.id, t.ts_ms, "buy" if t.buy else "sell") for t in mine
        ]
        assert len(rows) - len(trades) == sum(t.liquidation for t in mine)
        for row in rows:
            assert Decimal(row["price"]) * Decimal(row["size_base"]) == Decimal(row["notional"])


async def test_seconds_that_have_not_ended_are_not_listed(simulation: Simulation) -> None:
    start = simulation.market.live_from
    assert start is not None
    answer = await simulation.get("control/ledger", **{"from": start, "to": start + 3000})
    assert answer["to"] <= simulation.market.clock() // 1000


async def test_bad_questions_are_told_the_remedy(simulation: Simulation) -> None:
    assert "from=..&to=.." in (await simulation.get("control/ledger"))["error"]
    backwards = await simulation.get("control/ledger", **{"from": 5, "to": 4})
    assert "after from" in backwards["error"]
    unknown = await simulation.get("nowhere.example.com/path")
    assert unknown == {"error": "/nowhere.example.com/path is not simulated"}


async def test_status_tells_the_scripted_phase(simulation: Simulation) -> None:
    status = await simulation.get("control/status")
    live_from = simulation.market.live_from
    assert (status["seed"], status["live_from"]) == (1, live_from)
    btc = status["symbols"]["BTC"]
    assert (btc["plot"], btc["direction"]) == ("squeeze", 1)
    assert status["subscribed"] == []
    assert len(status["markets"]) == 14


async def test_a_muted_market_trades_on_without_sending(simulation: Simulation) -> None:
    socket = await simulation.connect("stream.binance.com/ws/btcusdt@trade/ethusdt@trade")
    url = simulation.url("control/faults")
    async with simulation.session.post(url, json={"mute": ["BINANCE:btcusdt"]}) as response:
        assert response.status == 200
    [fault] = simulation.faults.plan.faults
    assert isinstance(fault, Mute)
    assert fault.markets == ("BINANCE:btcusdt",)
    made = await simulation.trade()
    wanted = [t for t in made if t.instrument.market == "BINANCE:ethusdt"]
    frames = await socket.receive_all(len(wanted))
    assert {frame["s"] for frame in frames} == {"ETHUSDT"}
    assert any(t.instrument.market == "BINANCE:btcusdt" for t in made)


async def test_a_fault_that_does_not_exist_is_refused(simulation: Simulation) -> None:
    url = simulation.url("control/faults")
    for body in ({"explode": True}, {"mute": ["NOPE:x"]}):
        async with simulation.session.post(url, json=body) as response:
            assert response.status == 400
    assert simulation.faults.plan == FaultPlan()
