"""A scenario as the services would have left it in InfluxDB: bars, markets, signals, outcomes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from aggr_server.influx import InfluxClient
from aggr_server.points import market_line
from services.core.records import Signal
from services.influx_signal_manager import (
    InfluxSignalManager,
    iso,
    line_of_fill,
    line_of_signal,
    point_key,
)
from services.market.aggregate import Aggregator
from services.market.bars import ClosedBars
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.types import Entry, Exit
from tests.integration.trading.harness import Tape, markets, store
from tests.signals import entry_fields

DELAY_S = 3


@dataclass(frozen=True)
class Recorded:
    """Ids of the signals and the seconds that decided on them."""

    entry_id: str
    exit_id: str
    entry_t: int
    exit_t: int


async def record(influx: InfluxClient, name: str, params: Params | None = None) -> Recorded:
    """Play a scenario with one trade, its fills some seconds after the decisions."""
    tape = Tape(name)
    await store(influx, tape, 0, len(tape))
    await influx.write([market_line(market, tape.start) for market in markets()])
    manager = InfluxSignalManager(influx)
    found = _play(tape, params or Params(), manager)
    await manager.drain()
    return found


def _play(tape: Tape, params: Params, manager: InfluxSignalManager) -> Recorded:
    aggregator = Aggregator(markets(), "BINANCE_FUTURES")
    engine = SymbolEngine("BTC", params)
    entry: Entry | None = None
    opened: Signal | None = None
    for i in range(len(tape)):
        t = tape.start + i
        bars = {bar.market: bar for bar in tape.bars(i)}
        second = aggregator.closed(ClosedBars(t, {"BTC": bars}), "BTC", {})
        assert second is not None
        for event in engine.step(second):
            if isinstance(event, Entry):
                entry, opened = event, _signal(event.t, _entered(event), event.setup_id)
                manager.store(line_of_signal(opened, event.record))
                engine.accept(opened.signal_id)
            elif isinstance(event, Exit) and opened is not None and entry is not None:
                exited = {"event": "EXIT", "action": "CLOSE", "exit_reason": event.reason,
                          "entry_price": event.price, "score": entry.score,
                          "parent_signal_id": opened.signal_id, "trade_id": 7}  # fmt: skip
                closing = _signal(event.t, exited, entry.setup_id)
                manager.store(line_of_signal(closing, event.record))
                manager.finish(
                    point_key(opened), "profitable", exit_price=event.price,
                    exit_time=iso((event.t + DELAY_S) * 1000), exit_reason=event.reason,
                )  # fmt: skip
                return Recorded(opened.signal_id, closing.signal_id, entry.t, event.t)
        if entry is not None and opened is not None and t == entry.t + DELAY_S:
            engine.filled(t, 7, second.close)
            manager.store(line_of_fill(point_key(opened), 7, second.close, t * 1000))
    raise AssertionError("the scenario has no whole trade")


def _entered(entry: Entry) -> dict[str, Any]:
    return {
        "event": "ENTRY",
        "action": "LONG" if entry.direction > 0 else "SHORT",
        "score": entry.score,
        "score_breakdown": dict(entry.breakdown),
        "entry_price": entry.entry_price,
        "invalidation_price": entry.invalidation_price,
    }


def _signal(t: int, values: dict[str, Any], setup_id: str) -> Signal:
    ts_ms = (t + 1) * 1000 + 350
    signal_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{setup_id}{values['action']}{t}"))
    common = entry_fields(
        ts_ms, signal_id=signal_id, setup_id=setup_id, invalidation_price=1.0, stop_price=None,
        mode="live",
    )  # fmt: skip
    return Signal(**common | values)
