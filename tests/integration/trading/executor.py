"""The executor as far as signals concern it: its own rules, its claims, a trade for each entry."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.core import names
from services.core.records import Fill, Signal
from services.market.symbols import base_of_symbol, pair_of
from squeezeflow import desk, rules

POLL_S = 0.02


class Executor:
    """Reads the signals' keys as freqtrade does. `ordered`: how often each id was ordered.

    `fill`: whether an order becomes a trade at once, which is reported.
    """

    def __init__(
        self, redis: Redis, symbols: Sequence[str], now_ms: Callable[[], int], *, fill: bool = True
    ) -> None:
        self._redis = redis
        self._symbols = {pair_of(base_of_symbol(symbol)): symbol for symbol in symbols}
        self._now_ms = now_ms
        self._fill = fill
        self._desk = desk.Desk(dry_run=True)
        self._trades: dict[str, str | None] = {}
        self.ordered: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.ages_ms: list[int] = []

    async def run(self) -> None:
        """Poll until cancelled; whatever Redis does, start anew."""
        while True:
            with contextlib.suppress(RedisError, OSError):
                await self.turn()
            await asyncio.sleep(POLL_S)

    async def turn(self) -> None:
        """One turn of the loop."""
        values: Any = await self._redis.mget([names.signal(s) for s in self._symbols.values()])
        now_ms = self._now_ms()
        self._desk.take(self._symbols, values, self._trades, now_ms)
        for pair, symbol in self._symbols.items():
            if (tag := self._trades.get(pair)) is not None:
                if signal := self._desk.exit(pair, tag):
                    await self._close(pair, signal)
            elif signal := self._desk.entry(pair, now_ms):
                await self._enter(pair, symbol, signal)

    async def _enter(self, pair: str, symbol: str, signal: Signal) -> None:
        side, now_ms = rules.side_of(signal), self._now_ms()
        problem = self._desk.gate(
            signal, symbol=symbol, pair=pair, side=side, rate=signal.entry_price, now_ms=now_ms
        )
        assert problem is None, problem
        key = names.executed(signal.signal_id)
        if not await self._redis.set(key, "1", nx=True, ex=names.DAY_S):
            self._desk.finish(signal.signal_id)
            return
        self._desk.claimed(signal, now_ms)
        self.ordered[signal.signal_id] += 1
        self.ages_ms.append(now_ms - signal.refreshed_ms)
        if self._fill:
            self._trades[pair] = "sf:" + signal.signal_id
            await self._report(signal, signal.signal_id, event="opened", trade_id=self._number)

    async def _close(self, pair: str, signal: Signal) -> None:
        parent = signal.parent_signal_id or ""
        self.closed[parent] += 1
        del self._trades[pair]
        await self._report(
            signal, parent, event="closed", trade_id=self._number, reason=f"sf_{signal.exit_reason}"
        )

    @property
    def _number(self) -> int:
        return sum(self.ordered.values())

    async def _report(self, signal: Signal, signal_id: str, **fields: object) -> None:
        data = {
            "signal_id": signal_id,
            "symbol": signal.symbol,
            "pair": signal.pair,
            "side": "short" if signal.action == "SHORT" else "long",
            "ts_ms": self._now_ms(),
            "price": signal.entry_price,
            **fields,
        }
        fill = msgspec.convert(data, Fill)
        await self._redis.xadd(names.FILLS_STREAM, {"data": msgspec.json.encode(fill)})
