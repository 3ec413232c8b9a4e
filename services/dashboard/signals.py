"""The last signals of all symbols, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable, Row
from aggr_server.log import kv
from services.core import names
from services.core.records import Signal
from services.dashboard.audience import Audience
from services.dashboard.protocol import SignalRow, Signals
from services.dashboard.trouble import Troubles
from services.influx_signal_manager import BREAKDOWN

MOST = 100
OUTCOMES_EVERY_S = 5.0
OUTCOMES_S = 2 * names.DAY_S
PENDING = "pending"
OPENED = "opened"

_FIELDS = (
    "signal_id", "score", "entry_price", "invalidation_price", "stop_price", "reasoning",
    "outcome", "trade_id",
)  # fmt: skip
_log = getLogger(__name__)


class SignalList:
    """The lists of Redis, with the outcomes that InfluxDB has."""

    every_s = 10.0

    def __init__(
        self,
        audience: Audience,
        redis: Redis,
        influx: InfluxClient,
        symbols: Collection[str],
        troubles: Troubles,
        now_ms: Callable[[], int],
    ) -> None:
        self._audience = audience
        self._redis = redis
        self._influx = influx
        self._symbols = symbols
        self._troubles = troubles
        self._now_ms = now_ms
        self._statuses: dict[str, str] = {}
        self._statuses_due = 0.0

    async def round(self) -> None:
        """Read and show once; what cannot be read leaves the page as it is."""
        try:
            signals = await self._read()
        except RedisError as error:
            self._troubles.note("Redis", "signals", error)
            return
        self._troubles.note("Redis", "signals", None)
        await self._refresh_statuses()
        rows = [row_of(signal, self._statuses.get(signal.signal_id, "")) for signal in signals]
        self._audience.show(Signals(ts_ms=self._now_ms(), rows=rows))

    async def stored(self, symbol: str, from_s: int, to_s: int) -> list[SignalRow]:
        """Signals of a symbol as InfluxDB has them, oldest first. Raises as InfluxDB does."""
        rows = await self._influx.query(
            f'SELECT {", ".join((*_FIELDS, *BREAKDOWN))} FROM "{names.SIGNALS_MEASUREMENT}" '
            f"WHERE \"symbol\" = '{symbol}' AND time >= {from_s}s AND time < {to_s}s "
            'GROUP BY "action"',
            epoch="ms",
        )
        found = [_stored_row(symbol, row) for row in rows if row["signal_id"]]
        return sorted(found, key=lambda row: row.ts_ms)

    async def _read(self) -> list[Signal]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for symbol in self._symbols:
                pipe.lrange(names.history(symbol), 0, MOST - 1)
            lists: list[list[bytes]] = await pipe.execute()
        found: dict[tuple[str, str], Signal] = {}
        for raw in (raw for each in lists for raw in each):
            try:
                signal = msgspec.json.decode(raw, type=Signal)
            except msgspec.MsgspecError as error:
                _log.debug("signal not readable %s", kv(error=error))
                continue
            found[signal.signal_id, signal.event] = signal
        return sorted(found.values(), key=lambda s: s.ts_ms, reverse=True)[:MOST]

    async def _refresh_statuses(self) -> None:
        if time.monotonic() < self._statuses_due:
            return
        try:
            rows = await self._influx.query(
                f'SELECT "signal_id", "outcome", "trade_id" FROM "{names.SIGNALS_MEASUREMENT}" '
                f"WHERE time > {self._now_ms() // 1000 - OUTCOMES_S}s"
            )
        except (InfluxError, InfluxUnavailable) as error:
            self._troubles.note("InfluxDB", "signals", error)
            self._statuses.clear()
            return
        self._troubles.note("InfluxDB", "signals", None)
        self._statuses_due = time.monotonic() + OUTCOMES_EVERY_S
        self._statuses = {row["signal_id"]: _status(row) for row in rows if row["signal_id"]}


def row_of(signal: Signal, status: str) -> SignalRow:
    """A signal as the page has it."""
    return SignalRow(
        signal_id=signal.signal_id,
        ts_ms=signal.ts_ms,
        symbol=signal.symbol,
        action=signal.action,
        event=signal.event,
        score=signal.score,
        entry_price=signal.entry_price,
        invalidation_price=signal.invalidation_price,
        stop_price=signal.stop_price,
        parts=signal.score_breakdown,
        status="" if signal.event == "EXIT" else status,
        reasoning=signal.reasoning,
    )


def _status(row: Row) -> str:
    """The outcome; before it, whether a trade was opened."""
    outcome = str(row["outcome"] or "")
    return OPENED if outcome == PENDING and row["trade_id"] is not None else outcome


def _stored_row(symbol: str, row: Row) -> SignalRow:
    action = str(row.get("action") or "")
    return SignalRow(
        signal_id=row["signal_id"],
        ts_ms=int(row["time"]),
        symbol=symbol,
        action=action,
        event="EXIT" if action == "CLOSE" else "ENTRY",
        score=float(row["score"] or 0.0),
        entry_price=float(row["entry_price"] or 0.0),
        invalidation_price=row["invalidation_price"],
        stop_price=row["stop_price"],
        parts={part: float(row[part]) for part in BREAKDOWN if row[part] is not None},
        status="" if action == "CLOSE" else _status(row),
        reasoning=str(row["reasoning"] or ""),
    )
