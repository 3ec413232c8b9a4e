"""Signals and what became of them, one InfluxDB point each."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from logging import getLogger
from typing import Any, Literal

import msgspec

from aggr_server.influx import InfluxClient
from aggr_server.log import kv
from services.core.names import SIGNALS_MEASUREMENT
from services.core.points import Field, PointStore, line
from services.core.records import Signal
from services.signal_statistics import FIELDS, TAGS, analyse

Outcome = Literal["pending", "profitable", "unprofitable", "expired", "cancelled"]

QUEUE = 10_000
RETRY_S = 1.0
RETRY_CAP_S = 15.0
BREAKDOWN = (
    "cvd_reset_deceleration",
    "absorption_candle",
    "failed_breakdown",
    "directional_bias",
    "oi_confirmation",
)

_log = getLogger(__name__)

Written = Callable[[], None]


class PointKey(msgspec.Struct, frozen=True):
    """What makes a signal's point: its tags and its time in ms, UTC."""

    tags: dict[str, str]
    ts_ms: int


def score_tier(score: float) -> str:
    """high, medium, low or very_low."""
    return "high" if score >= 8 else "medium" if score >= 6 else "low" if score >= 4 else "very_low"


def confidence_tier(confidence: float) -> str:
    """high, medium, low or very_low."""
    tiers = ((0.8, "high"), (0.6, "medium"), (0.4, "low"))
    return next((name for least, name in tiers if confidence >= least), "very_low")


def point_key(signal: Signal) -> PointKey:
    """Where the signal's point is."""
    tags = {
        "symbol": signal.symbol,
        "action": signal.action,
        "strategy": signal.strategy,
        "service": signal.service,
        "score_tier": score_tier(signal.score),
        "confidence_tier": confidence_tier(signal.confidence),
    }
    return PointKey(tags, signal.ts_ms)


def iso(ts_ms: int) -> str:
    """ISO-8601 UTC with milliseconds and `Z`."""
    moment = datetime.fromtimestamp(ts_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def outcome_of(pnl: float) -> Outcome:
    """How a closed trade went: net profit in quote above 0, or not."""
    return "profitable" if pnl > 0 else "unprofitable"


async def read_entries(influx: InfluxClient, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """Entries decided in [from_ms, to_ms) and what became of them, oldest first.

    `ts_ms` is the time of the decision. Raises `InfluxError`, `InfluxUnavailable`.
    """
    fields = ", ".join(f'"{name}"' for name in FIELDS)
    tags = ", ".join(f'"{name}"' for name in TAGS)
    rows = await influx.query(
        f"SELECT {fields} FROM \"{SIGNALS_MEASUREMENT}\" WHERE action != 'CLOSE' "
        f"AND time >= {from_ms}ms AND time < {to_ms}ms GROUP BY {tags}",
        epoch="ms",
    )
    found = [{**row, "ts_ms": int(row["time"])} for row in rows if row["outcome"] is not None]
    return sorted(found, key=lambda row: row["ts_ms"])


def line_of_signal(signal: Signal, decision: Mapping[str, Any]) -> str:
    """The point of a published signal. `decision`: every value of the five phases at its second."""
    fields: dict[str, Field | None] = {
        "signal_id": signal.signal_id,
        "setup_id": signal.setup_id,
        "tracking_id": signal.signal_id[:8],
        "score": signal.score,
        **{name: float(signal.score_breakdown.get(name, 0.0)) for name in BREAKDOWN},
        "confidence": signal.confidence,
        "position_size_factor": signal.position_size_factor,
        "leverage": signal.leverage,
        "entry_price": signal.entry_price,
        "stop_price": signal.stop_price,
        "invalidation_price": signal.invalidation_price,
        "max_deviation": signal.max_deviation,
        "reset_type": signal.reset_type,
        "env": str(signal.context.get("env", "")),
        "context_k": float(signal.context.get("k", 0.0)),
        "oi_state": str(signal.oi.get("state", "")),
        "oi_z": signal.oi.get("z"),
        "coverage": signal.coverage,
        "spot_cvd": float(signal.cvd.get("spot", 0.0)),
        "futures_cvd": float(signal.cvd.get("perp", 0.0)),
        "ttl_seconds": signal.ttl,
        "reasoning": signal.reasoning,
        "mode": signal.mode,
        "created_at": signal.timestamp,
        "parent_signal_id": signal.parent_signal_id,
        "trade_id": signal.trade_id,
        "exit_reason": signal.exit_reason,
        "decision": msgspec.json.encode(decision).decode(),
        "outcome": "pending",
    }
    return _line(point_key(signal), fields)


def line_of_fill(key: PointKey, trade_id: int, price: float, ts_ms: int) -> str:
    """The signal led to a trade, at `price` in quote per base."""
    fields: dict[str, Field | None] = {
        "trade_id": trade_id,
        "fill_price": price,
        "fill_time": iso(ts_ms),
        "updated_at": _now(),
    }
    return _line(key, fields)


def line_of_outcome(key: PointKey, outcome: Outcome, **fields: Field | None) -> str:
    """The signal's outcome, with further fields such as `exit_price`, `exit_reason`, `pnl`."""
    return _line(key, {**fields, "outcome": outcome, "updated_at": _now()})


def _line(key: PointKey, fields: Mapping[str, Field | None]) -> str:
    return line(SIGNALS_MEASUREMENT, key.tags, fields, key.ts_ms)


def _now() -> str:
    return iso(time.time_ns() // 1_000_000)


class InfluxSignalManager:
    """Takes signals and outcomes without waiting; `run` writes them and tries again for ever.

    The outcome goes into the signal's own point, so that a signal never counts twice.
    """

    def __init__(self, influx: InfluxClient) -> None:
        self._influx = influx
        self._store = PointStore(influx, capacity=QUEUE)
        self._queue: asyncio.Queue[tuple[str, Written]] = asyncio.Queue(QUEUE)
        self._told: deque[Written] = deque(maxlen=QUEUE)

    def store(self, text: str, written: Written = lambda: None) -> None:
        """Take a point; `written` is called when InfluxDB has it."""
        if self._queue.full():
            _log.error("signal record lost, InfluxDB has been away too long %s", kv(queue=QUEUE))
            self._queue.get_nowait()
        self._queue.put_nowait((text, written))

    def finish(self, key: PointKey, outcome: Outcome, **fields: Field | None) -> None:
        """See `line_of_outcome`."""
        self.store(line_of_outcome(key, outcome, **fields))

    async def find(self, signal_id: str) -> PointKey | None:
        """Where a signal is stored. Raises `InfluxError`, `InfluxUnavailable`."""
        if not signal_id.replace("-", "").isalnum():
            return None
        return next((key for key, _ in await self._select(f"signal_id = '{signal_id}'")), None)

    async def pending(self, before_ms: int) -> list[tuple[PointKey, str]]:
        """Key and id of entries of the last week without an outcome, older than `before_ms`.

        Raises `InfluxError`, `InfluxUnavailable`.
        """
        found = await self._select(
            f"outcome = 'pending' AND action != 'CLOSE' AND time < {before_ms}ms "
            f"AND time > {before_ms - 7 * 86_400_000}ms"
        )
        return [(key, row["signal_id"]) for key, row in found]

    async def analytics(self, from_ms: int, to_ms: int) -> dict[str, Any]:
        """Figures of the entries of [from_ms, to_ms), see `signal_statistics.analyse`.

        Raises `InfluxError`, `InfluxUnavailable`.
        """
        return analyse(await read_entries(self._influx, from_ms, to_ms))

    async def run(self) -> None:
        """Write until cancelled."""
        delay_s = RETRY_S
        while True:
            if not len(self._store):
                waiting = [await self._queue.get()]
            else:
                await asyncio.sleep(delay_s)
                waiting = []
            written = await self._write(waiting)
            delay_s = RETRY_S if written else min(RETRY_CAP_S, delay_s * 2)

    async def drain(self) -> None:
        """Write what waits, once; for a clean end."""
        await self._write([])

    async def _write(self, waiting: list[tuple[str, Written]]) -> bool:
        while not self._queue.empty():
            waiting.append(self._queue.get_nowait())
        self._told.extend(written for _, written in waiting)
        if not await self._store.write([text for text, _ in waiting]):
            return False
        while self._told:
            self._told.popleft()()
        return True

    async def _select(self, where: str) -> list[tuple[PointKey, dict[str, Any]]]:
        tags = ("symbol", "action", "strategy", "service", "score_tier", "confidence_tier")
        grouped = ", ".join(f'"{tag}"' for tag in tags)
        rows = await self._influx.query(
            f'SELECT "signal_id", "outcome" FROM "{SIGNALS_MEASUREMENT}" '
            f"WHERE {where} GROUP BY {grouped}",
            epoch="ms",
        )
        return [
            (PointKey({tag: row[tag] for tag in tags if row.get(tag)}, int(row["time"])), row)
            for row in rows
        ]
