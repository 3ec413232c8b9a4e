"""Live = backtest: an hour through the services as processes, then its stored bars once more.

Equal are all fields of the signals, their ids among them, and every value of every phase that the
strategy recorded with a decision, to the last bit. Left out, because a backtest has no such thing:
when the service was at it (`CLOCK`), who decided and for which purpose (`PLACE`), the executor's
number of the trade and the name of the CVD's origin. Fills are the same by construction: live and
in the backtest, orders are filled in the second that was decided on, at the price seen in it.

Bars that come late make a difference: live their volume counts in the second in which they came,
stored they stand in their own. On a machine that is too busy for the speed of this test there are
some; then sums may differ as they do in another order of additions, all else must be equal still.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services.backtest.result import Costs
from services.backtest.run import Plan, Run
from services.backtest.sources.material import Wanted
from services.backtest.sources.stored import from_influx
from services.core import names
from services.core.records import Heartbeat, Signal
from services.explain.store import find
from services.market.symbols import base_of_symbol
from services.strategy.params import Params
from tests.integration.children import bare
from tests.integration.servers import ROOT
from tests.integration.trading.livestack import BEHIND_S, LiveStack, PriceSeen, trade
from tests.integration.trading.test_parity import CLOCK, PLACE

SYMBOLS = ("BTCUSDT", "ETHUSDT")
HOUR_S = 3600
SPEED = 12.0
SEED = 447
"""BTC is squeezed upwards at once and after 3700 s, ETH downwards after 420 s and 4100 s."""

BEGIN_S, FIRST_ENTRY_S, END_S = 260, 400, 4500
"""Since the market opened: between these two, strategy-runner must have come up."""

Decided = list[tuple[Signal, dict[str, Any]]]
"""Signals in the order of their announcement, and what the strategy saw."""


async def lived(stack: LiveStack) -> dict[str, Decided]:
    """What was decided live, symbol by symbol."""
    found: dict[str, Decided] = {}
    async with Redis(port=stack.redis.port) as redis, InfluxClient(stack.connections) as influx:
        for symbol in SYMBOLS:
            history: Any = await redis.lrange(names.history(symbol), 0, -1)
            signals = [msgspec.json.decode(raw, type=Signal) for raw in reversed(history)]
            found[symbol] = [(s, (await find(influx, s.signal_id)).decision) for s in signals]
    return found


async def backtested(stack: LiveStack, symbol: str, from_s: int, to_s: int) -> Decided:
    """What is decided on the stored bars of [from_s, to_s)."""
    wanted = Wanted((base_of_symbol(symbol),), from_s, to_s, "BINANCE_FUTURES")
    async with InfluxClient(stack.connections) as influx:
        material = await from_influx(influx, wanted, Params(), stack.folder)
    assert (material.from_s, material.to_s) == (from_s, to_s), material.notes
    costs = Costs(slippage_bp=0.0, fill_delay_s=0)
    run = Run(Plan(material.tapes, material.execution, from_s, to_s, costs=costs))
    announced: list[Signal] = []
    decisions: dict[str, dict[str, Any]] = {}
    announce, record = run.ledger.announce, run.ledger.record

    def heard(signal: Signal) -> None:
        announced.append(signal)
        announce(signal)

    def recorded(signal: Signal, decision: Mapping[str, Any]) -> None:
        decisions[signal.signal_id] = json.loads(msgspec.json.encode(decision))
        record(signal, decision)

    run.ledger.announce, run.ledger.record = heard, recorded  # type: ignore[method-assign]
    run.go()
    return [(signal, decisions[signal.signal_id]) for signal in announced]


def compared(signal: Signal, decision: dict[str, Any]) -> dict[str, Any]:
    """All that must be equal, one value a path."""
    values: dict[str, Any] = msgspec.to_builtins(signal)
    for name in (*CLOCK, *PLACE, "trade_id"):
        del values[name]
    del values["cvd"]["epoch_id"]
    flat = dict(_flat({**values, "decision": decision}))
    flat.pop("decision.exit.trade_id", None)
    return flat


def differing(one: Mapping[str, Any], other: Mapping[str, Any], *, exactly: bool) -> list[str]:
    """Paths of the values that are not equal; not `exactly`: floats but for rounding errors."""

    def same(a: Any, b: Any) -> bool:
        if exactly or not (isinstance(a, float) and isinstance(b, float)):
            return bool(a == b)
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)

    missing = one.keys() ^ other.keys()
    changed = [path for path in one.keys() & other.keys() if not same(one[path], other[path])]
    return sorted([*missing, *changed])


def _flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    inner = [_flat(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()]
    return [pair for pairs in inner for pair in pairs]


def explained(stack: LiveStack, signal: Signal) -> dict[str, Any]:
    """What `scripts/explain.py` says about a signal."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "explain.py"), "--environment", "--json",
         signal.signal_id],
        env={**bare(), "INFLUX_PORT": str(stack.influx.port)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


async def details(stack: LiveStack) -> dict[str, Any]:
    """What strategy-runner says of itself."""
    async with Redis(port=stack.redis.port) as redis:
        raw = await redis.get(names.heartbeat("strategy-runner"))
    assert raw is not None, stack.runner.log_end()
    return msgspec.json.decode(raw, type=Heartbeat).details


def figures(
    recorded: Mapping[str, Decided],
    again: Mapping[str, Decided],
    said: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """What the run has shown, for whoever looks into its folder."""
    pairs = [
        (compared(*one), compared(*other))
        for symbol in recorded
        for one, other in zip(recorded[symbol], again[symbol], strict=False)
    ]
    return {
        "late_bars": about["late_bars"],
        "live": sum(map(len, recorded.values())),
        "backtest": sum(map(len, again.values())),
        "values": sum(len(one) for one, _ in pairs),
        "not_equal": [differing(one, other, exactly=True) for one, other in pairs],
        "explained": [one["sentence"] for one in said],
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_an_hour_of_the_services_gives_the_same_signals_in_a_backtest(
    tmp_path: Path,
) -> None:
    duration_s = END_S + 2 * HOUR_S
    with LiveStack(tmp_path, SPEED, duration_s, SEED) as stack:
        opened_s = stack.opened_s
        end_s = opened_s + END_S
        stack.timeline.sleep_until((opened_s + BEGIN_S) * 1000)
        begun, live = stack.start_runner(SYMBOLS)
        assert max(live.values()) < opened_s + FIRST_ENTRY_S, "too slow a machine for this speed"
        async with Redis(port=stack.redis.port) as redis:
            executor = PriceSeen(redis, SYMBOLS, stack.decided_at.now_ms)
            await trade(executor, stack.real_s(end_s + BEHIND_S))
        about = await details(stack)
        assert about["lost_bars"] == 0, about
        recorded = await lived(stack)
        again = {s: await backtested(stack, s, begun[s], end_s) for s in SYMBOLS}
        said = [
            await asyncio.to_thread(explained, stack, signal)
            for symbol in SYMBOLS
            for signal, _ in recorded[symbol]
        ]
    assert end_s - max(live.values()) >= HOUR_S
    (tmp_path / "figures.json").write_text(json.dumps(figures(recorded, again, said, about)))
    for symbol in SYMBOLS:
        events = [signal.event for signal, _ in recorded[symbol]]
        assert events == ["ENTRY", "EXIT"] * (len(events) // 2), symbol
        assert [s.signal_id for s, _ in again[symbol]] == [s.signal_id for s, _ in recorded[symbol]]
        for offline, seen in zip(again[symbol], recorded[symbol], strict=True):
            one, other = compared(*offline), compared(*seen)
            assert differing(one, other, exactly=not about["late_bars"]) == []
    actions = {s.action for decided in recorded.values() for s, _ in decided}
    assert actions == {"LONG", "SHORT", "CLOSE"}
    for one in said:
        assert one["verdict"] == "same", one["sentence"]
        assert {row["equality"] for row in one["values"]} <= {"same", "not compared"}
