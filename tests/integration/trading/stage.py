"""strategy-runner as real processes, killed and frozen, on a market that runs in real time."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.wire import CHANNEL, MARKETS_KEY, TIMEFRAMES, Bar, ClosedSecond, Market, encode
from services.core import names
from services.core.records import Fill, Signal
from services.market.symbols import pair_of, symbol_of
from tests.integration.servers import ROOT
from tests.unit.strategy import scenarios

SIGNAL_AT = scenarios.LEAD_S + 2777
"""Second of S2 and S5 in which the entry comes; 13 s less to 8 s more by where minutes begin."""

HISTORY_S = 17_400
BASES = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE")
SYMBOLS = tuple(symbol_of(base) for base in BASES)
SIDES: dict[str, Literal["spot", "perp"]] = {"SPOT": "spot", "BINANCE_FUTURES": "perp"}


def market_of(base: str, exchange: str) -> Market:
    """The only market of `base` on the exchange."""
    return Market(f"{exchange}:{base.lower()}usdt", exchange, base, "USDT", SIDES[exchange])


class Prices(NamedTuple):
    """One market's values of a second, in the order of a bar's fields."""

    open: float
    high: float
    low: float
    close: float
    vbuy: float
    vsell: float


@functools.cache
def prices_of(scenario: str) -> list[dict[str, Prices]]:
    """Per second of a scenario: exchange -> prices."""
    found = []
    for s in scenarios.generate(scenarios.SCENARIOS[scenario]).seconds():
        flows = {
            "SPOT": (s.spot_delta, s.spot_volume),
            "BINANCE_FUTURES": (s.perp_delta, s.perp_volume),
        }
        found.append(
            {
                exchange: Prices(
                    s.open, s.high, s.low, s.close, (volume + delta) / 2, (volume - delta) / 2
                )
                for exchange, (delta, volume) in flows.items()
            }
        )
    return found


class Tape:
    """A scenario whose signal comes in second `signal_t`, on one spot market and one perpetual."""

    def __init__(self, base: str, scenario: str, signal_t: int) -> None:
        self.base = base
        self.start = signal_t - SIGNAL_AT
        self._seconds = prices_of(scenario)

    def bars(self, t: int) -> list[Bar]:
        """Both markets' bars of second `t`, UTC."""
        return [
            Bar(t, market_of(self.base, exchange).market, *prices, 3, 3, 0.0, 0.0)
            for exchange, prices in self._seconds[t - self.start].items()
        ]

    def lines(self, first: int, stop: int) -> list[str]:
        """Line protocol of the seconds [first, stop)."""
        heads = {e: f"trades_1s,market={market_of(self.base, e).market}" for e in SIDES}
        return [
            f"{heads[e]} open={p.open!r},high={p.high!r},low={p.low!r},close={p.close!r},"
            f"vbuy={p.vbuy!r},vsell={p.vsell!r},lbuy=0.0,lsell=0.0,cbuy=3i,csell=3i {t}"
            for t in range(first, stop)
            for e, p in self._seconds[t - self.start].items()
        ]


class Replica:
    """One strategy-runner process."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self._env = {**os.environ, **env, "PYTHONPATH": f"{ROOT}:{ROOT / 'aggr-server'}"}
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.strategy_runner"],
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def tail(self) -> str:
        """The end of its log."""
        return f"--- {self.log.name}\n{self.log.read_text()[-6000:]}" if self.log.exists() else ""

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> int:
        """End it in good order; its exit status."""
        process, self._process = self._process, None
        assert process is not None
        process.terminate()
        return process.wait(30)

    def kill(self) -> None:
        """As `kill -9`."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


class Decision(NamedTuple):
    """A published signal but for what depends on when it was published."""

    symbol: str
    signal_id: str
    event: str
    setup_id: str
    action: str
    second: int
    exit_reason: str | None


class Exchange:
    """What an executor does: fills each published signal once, at a time derived from it."""

    def __init__(self, redis: Redis, symbols: Sequence[str] = SYMBOLS) -> None:
        self._redis = redis
        self._symbols = symbols
        self._answered: set[str] = set()

    async def published(self) -> list[Signal]:
        """All signals of all symbols in the histories, oldest first per symbol."""
        found = []
        for symbol in self._symbols:
            raw = await self._redis.lrange(names.history(symbol), 0, -1)
            found += [msgspec.json.decode(data, type=Signal) for data in reversed(raw)]
        return found

    async def decisions(self) -> list[Decision]:
        return sorted(
            Decision(
                s.symbol, s.signal_id, s.event, s.setup_id, s.action,
                int(s.cvd["ts_ms"]) // 1000, s.exit_reason,
            )
            for s in await self.published()
        )  # fmt: skip

    async def answer(self) -> None:
        """Fill what was published since."""
        for s in await self.published():
            if s.signal_id in self._answered or s.event == "CANCEL":
                continue
            self._answered.add(s.signal_id)
            closing = s.event == "EXIT"
            origin = s.parent_signal_id if closing else s.signal_id
            assert origin is not None
            fill = Fill(
                event="closed" if closing else "opened",
                signal_id=origin,
                symbol=s.symbol,
                pair=pair_of(s.base_symbol),
                side="long",
                ts_ms=int(s.cvd["ts_ms"]) + 500,
                trade_id=int(origin[:7], 16),
                price=s.entry_price,
                reason="sf_exit" if closing else "",
            )
            await self._redis.xadd(names.FILLS_STREAM, {"data": msgspec.json.encode(fill)})


class Stage:
    """Feeds every given Redis, and InfluxDB, with the same seconds while they pass.

    `fills`: whether each published signal is filled, too.
    """

    def __init__(
        self, influx: InfluxClient, tapes: list[Tape], *redises: Redis, fills: bool = True
    ) -> None:
        self._influx = influx
        self._tapes = tapes
        self._redises = redises
        symbols = [symbol_of(tape.base) for tape in tapes]
        self.exchanges = [Exchange(redis, symbols) for redis in redises] if fills else []
        self._seq = 0
        self.started: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def last_signal(self) -> int:
        """The second in which the last of the tapes' entries comes."""
        return max(tape.start + SIGNAL_AT for tape in self._tapes)

    async def __aenter__(self) -> Stage:
        now = int(time.time())
        for tape in self._tapes:
            lines = tape.lines(now - HISTORY_S, now - 1)
            for at in range(0, len(lines), 4000):
                await self._write(lines[at : at + 4000])
        for redis in self._redises:
            for tape in self._tapes:
                for exchange in SIDES:
                    market = market_of(tape.base, exchange)
                    await redis.hset(MARKETS_KEY, market.market, msgspec.json.encode(market))
        self._tasks = [
            asyncio.create_task(self._feed(now - 1)),
            asyncio.create_task(self._listen(self._redises[0])),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _write(self, lines: list[str]) -> None:
        await self._influx.write(lines, retention_policy=TIMEFRAMES[0].retention_policy)

    async def _feed(self, first: int) -> None:
        t = first
        while True:
            await asyncio.sleep(max(0.0, t + 1.2 - time.time()))
            bars = [bar for tape in self._tapes for bar in tape.bars(t)]
            self._seq += 1
            now_ms = time.time_ns() // 1_000_000
            message = ClosedSecond("aggr-1", "e1", self._seq, t, now_ms, t * 1000 + 900, bars)
            for redis in self._redises:
                await redis.publish(CHANNEL, encode(message))
            await self._write([line for tape in self._tapes for line in tape.lines(t, t + 1)])
            for exchange in self.exchanges:
                await exchange.answer()
            t += 1

    async def _listen(self, redis: Redis) -> None:
        """Note when a symbol is first decided for by a new leader."""
        async with redis.pubsub(ignore_subscribe_messages=True) as listener:
            await listener.subscribe(names.STATUS)
            async for message in listener.listen():
                told: dict[str, Any] = msgspec.json.decode(message["data"])
                if told["reason"] == "start":
                    self.started[told["symbol"]] = time.monotonic()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def leaders(redis: Redis, symbols: Sequence[str] = SYMBOLS) -> dict[str, str]:
    """symbol -> name of the replica that leads it."""
    owners = await redis.mget(*(names.lease(symbol) for symbol in symbols))
    return {s: _text(owner) for s, owner in zip(symbols, owners, strict=True) if owner}


async def ready(redis: Redis) -> set[str]:
    """Replicas that could take over any symbol."""
    known = await redis.hgetall(names.REPLICAS)
    records = {_text(name): msgspec.json.decode(data) for name, data in known.items()}
    now_ms = time.time() * 1000
    return {name for name, r in records.items() if r["ready"] and r["till"] > now_ms}


def led_by(owners: dict[str, str], pid: int) -> set[str]:
    """Symbols of the replica with this process id."""
    return {symbol for symbol, owner in owners.items() if f"-{pid}-" in owner}
