from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Liquidation, Reply

from .conftest import Simulation, Socket, running

PATH = "www.deribit.com/ws/api/v2"
REST = "www.deribit.com/api/v2/public"
DERIBIT = exchanges.get("DERIBIT")


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Simulation]:
    async for simulation in running(tmp_path, ("DERIBIT",)):
        yield simulation


async def _ask(socket: Socket, method: str, **parameters: object) -> Any:
    request = {"jsonrpc": "2.0", "id": "7", "method": f"public/{method}", "params": parameters}
    answer = await socket.ask(request)
    assert answer["id"] == "7"
    return answer


async def test_a_channel_that_does_not_exist_is_left_out(venue: Simulation) -> None:
    socket = await venue.connect(PATH)
    wanted = ["trades.BTC-PERPETUAL.100ms", "trades.NO-PERPETUAL.100ms"]
    assert (await _ask(socket, "subscribe", channels=wanted))["result"] == wanted[:1]


async def test_what_is_not_for_strangers_is_refused(venue: Simulation) -> None:
    socket = await venue.connect(PATH)
    answer = await _ask(socket, "subscribe", channels=["trades.BTC-PERPETUAL.raw"])
    assert answer["error"]["code"] == 13778
    assert (await _ask(socket, "buy"))["error"]["code"] == -32601


async def test_the_reply_to_a_heartbeat_is_what_the_venue_asks_for(venue: Simulation) -> None:
    (deribit,) = venue.venues
    socket = await venue.connect(PATH)
    (client,) = venue.hub.clients
    client.unanswered = 1
    (reply,) = DERIBIT.parse(deribit.beat(client).encode())
    assert isinstance(reply, Reply)
    assert (await socket.ask(reply.text))["result"] == {"version": "1.2.26"}
    assert client.unanswered == 0


async def test_trades_are_numbered_without_gaps_and_liquidations_are_marked(
    venue: Simulation,
) -> None:
    socket = await venue.connect(PATH)
    await _ask(socket, "subscribe", channels=["trades.BTC-PERPETUAL.100ms"])
    forced = await venue.forced("DERIBIT:BTC-PERPETUAL")
    numbers: list[int] = []
    while not numbers or numbers[-1] < forced.id:
        frame = await socket.text()
        events = DERIBIT.parse(frame.encode())
        found = [e for e in events if isinstance(e, Liquidation) and e.ts_ms == forced.ts_ms]
        numbers += [e.order for e in events if not isinstance(e, Liquidation)]  # type: ignore[union-attr]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [(e.is_buy, e.price) for e in found] == [(forced.buy, float(forced.price))]
    assert found[0].size == float(forced.notional)


async def test_the_past_is_told_page_by_page(venue: Simulation) -> None:
    made = [t for t in await venue.trade(30) if t.instrument.native == "BTC-PERPETUAL"]
    query = {
        "instrument_name": "BTC-PERPETUAL", "start_timestamp": made[0].ts_ms,
        "end_timestamp": made[-1].ts_ms, "count": 5, "sorting": "asc",
    }  # fmt: skip
    path = f"{REST}/get_last_trades_by_instrument_and_time"
    answer = (await venue.get(path, **query))["result"]
    assert answer["has_more"] is True
    assert [row["trade_seq"] for row in answer["trades"]] == [t.id for t in made[:5]]
    newest = (await venue.get(path, **query | {"sorting": "desc"}))["result"]["trades"]
    assert [row["trade_seq"] for row in newest] == [t.id for t in made[:-6:-1]]
    everything = (await venue.get(path, **query | {"count": 1000}))["result"]
    assert everything["has_more"] is False
    assert "error" in await venue.get(path, instrument_name="NO")
