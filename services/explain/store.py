"""Finds recorded signals in InfluxDB."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from aggr_server.influx import InfluxClient, Row
from services.core.names import SIGNALS_MEASUREMENT
from services.influx_signal_manager import iso

SHORTEST_ID = 4
_ID = re.compile(r"[0-9a-f-]+")
_SELECT = (
    'SELECT "signal_id", "setup_id", "score", "outcome", "decision", "trade_id", "fill_price", '
    '"fill_time", "exit_time", "exit_reason", "parent_signal_id", "invalidation_price", '
    f'"entry_price" FROM "{SIGNALS_MEASUREMENT}"'
)
_TAGS = 'GROUP BY "symbol", "action"'


class ExplainError(Exception):
    """A decision cannot be explained; the text names the cause and the remedy."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded signal. `t`: the second that decided; `fill_s`, `exit_s`: UTC seconds.

    `decision`: what the strategy saw, empty if it was not recorded.
    """

    signal_id: str
    symbol: str
    action: str
    ts_ms: int
    t: int
    setup_id: str = ""
    score: float = 0.0
    outcome: str = ""
    decision: dict[str, Any] = {}
    trade_id: int | None = None
    entry_price: float = 0.0
    invalidation_price: float | None = None
    fill_price: float | None = None
    fill_s: int | None = None
    exit_s: int | None = None
    exit_reason: str | None = None
    parent_signal_id: str | None = None


async def find(influx: InfluxClient, wanted: str) -> Stored:
    """The signal of this id, of which the first characters suffice.

    Raises `ExplainError` if there is none or more than one, `InfluxError`, `InfluxUnavailable`.
    """
    text = wanted.strip().lower()
    if len(text) < SHORTEST_ID or not _ID.fullmatch(text):
        raise ExplainError(
            f"{wanted!r} is no signal id: give {SHORTEST_ID} or more of its first characters, "
            f"0 to 9, a to f and hyphens.{await _help(influx)}"
        )
    rows = await influx.query(f'{_SELECT} WHERE "signal_id" =~ /^{text}/ {_TAGS}', epoch="ms")
    found = _of(rows)
    if not found:
        raise ExplainError(f"No signal's id begins with {text}.{await _help(influx)}")
    if len({signal.signal_id for signal in found}) > 1:
        raise ExplainError(
            f"{len(found)} signals' ids begin with {text}; give more characters:{_listed(found)}"
        )
    return found[0]


async def around(influx: InfluxClient, symbol: str, from_s: int, to_s: int) -> list[Stored]:
    """The symbol's signals of [from_s, to_s), oldest first. Raises as `find`."""
    return _of(
        await influx.query(
            f"{_SELECT} WHERE \"symbol\" = '{symbol}' AND time >= {from_s}s AND time < {to_s}s "
            f"{_TAGS}",
            epoch="ms",
        )
    )


async def newest(influx: InfluxClient, count: int) -> str:
    """The last `count` signals, a line each. Raises as `find`."""
    found = _of(
        await influx.query(f"{_SELECT} {_TAGS} ORDER BY time DESC LIMIT {count}", epoch="ms")
    )
    if not found:
        return "No signal is recorded in this database."
    return f"The newest are:{_listed(found[-count:])}"


async def _help(influx: InfluxClient) -> str:
    return f" {await newest(influx, 5)}"


def _listed(found: Iterable[Stored]) -> str:
    return "".join(
        f"\n  {s.signal_id}  {iso(s.ts_ms)}  {s.symbol} {s.action} score {s.score:.2f} {s.outcome}"
        for s in found
    )


def _of(rows: Iterable[Row]) -> list[Stored]:
    return sorted((_stored(row) for row in rows if row.get("signal_id")), key=lambda s: s.ts_ms)


def _stored(row: Row) -> Stored:
    try:
        decision = msgspec.json.decode(row.get("decision") or "{}", type=dict[str, Any])
    except msgspec.MsgspecError:
        decision = {}
    ts_ms = int(row["time"])
    trade_id = row.get("trade_id")
    return Stored(
        signal_id=row["signal_id"],
        symbol=row["symbol"],
        action=row["action"],
        ts_ms=ts_ms,
        # Without a record: a second is decided upon as soon as it is over.
        t=int(decision.get("t") or ts_ms // 1000 - 1),
        setup_id=row.get("setup_id") or "",
        score=float(row.get("score") or 0.0),
        outcome=row.get("outcome") or "",
        decision=decision,
        trade_id=None if trade_id is None else int(trade_id),
        entry_price=float(row.get("entry_price") or 0.0),
        invalidation_price=row.get("invalidation_price"),
        fill_price=row.get("fill_price"),
        fill_s=_second(row.get("fill_time")),
        exit_s=_second(row.get("exit_time")),
        exit_reason=row.get("exit_reason"),
        parent_signal_id=row.get("parent_signal_id"),
    )


def _second(text: str | None) -> int | None:
    return None if not text else int(datetime.fromisoformat(text).timestamp())
