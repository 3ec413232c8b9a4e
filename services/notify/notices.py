"""What there is to tell: one notice for each fill and each alert."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

from services.core.records import Alert, Fill

Level = Literal["info", "warning", "critical"]
Kind = Literal["opened", "closed", "refused", "alert", "over"]
Tone = Literal["info", "success", "warning", "failure"]

RANK: dict[Level, int] = {"info": 0, "warning": 1, "critical": 2}
LONGEST_TITLE = 120
LONGEST_BODY = 700
OWN_EXIT = "sf_"


@dataclass(frozen=True, slots=True)
class Notice:
    """`key`: the same for two records of one event. `ts_ms`: when that was, UTC milliseconds.

    `pnl`: net profit in `currency`, of closed trades only.
    """

    key: str
    kind: Kind
    level: Level
    tone: Tone
    title: str
    body: str
    ts_ms: int
    pnl: float | None = None
    currency: str = ""


def of_fill(fill: Fill) -> Notice:
    """An entry, an exit or a refusal."""
    side = f"{fill.side.upper()} {fill.symbol}"
    base, _, quote = fill.pair.partition(":")[0].partition("/")
    key = f"{fill.event}:{fill.signal_id}:{fill.trade_id}"
    size = f"{plain(fill.amount)} {base} at {plain(fill.price)}, {plain(fill.leverage)}x"
    # Nobody must take simulated trades for real ones.
    mark = " (dry run)" if fill.dry_run else ""
    if fill.event == "opened":
        body = f"{size}, margin {fill.stake:.2f} {quote}, trade {fill.trade_id}"
        title = f"{side} opened{mark}"
        return _notice(key, "opened", "info", "info", title, body, fill.ts_ms)
    if fill.event == "closed":
        reason = fill.reason.removeprefix(OWN_EXIT) or "no reason given"
        share = f"{100 * fill.pnl_ratio:+.2f} % of the margin"
        return _notice(
            key,
            "closed",
            "info",
            "success" if fill.pnl > 0 else "warning",
            f"{side} closed, {fill.pnl:+.2f} {quote}{mark}",
            f"{size}, {share}, {reason}, trade {fill.trade_id}",
            fill.ts_ms,
            pnl=fill.pnl,
            currency=quote,
        )
    title = f"{side} refused: {fill.reason or 'no reason given'}{mark}"
    body = f"{plain(fill.leverage)}x at {plain(fill.price)}, signal {fill.signal_id}"
    return _notice(key, "refused", "info", "warning", title, body, fill.ts_ms)


def of_alert(alert: Alert) -> Notice:
    """An alert, or the end of an incident; the end matters as much as the incident did."""
    digest = hashlib.blake2b(msgspec.json.encode(alert), digest_size=8).hexdigest()
    key = f"alert:{alert.ts_ms}:{digest}"
    about = " ".join(part for part in (alert.code, alert.symbol, alert.subject) if part)
    if alert.ended_level:
        title = f"Over: {about}"
        return _notice(key, "over", alert.ended_level, "success", title, alert.text, alert.ts_ms)
    tones: dict[Level, Tone] = {"info": "info", "warning": "warning", "critical": "failure"}
    title = f"{alert.level.capitalize()}: {about}"
    return _notice(key, "alert", alert.level, tones[alert.level], title, alert.text, alert.ts_ms)


def plain(value: float) -> str:
    """A number with eight significant digits, never in scientific notation."""
    whole = len(str(int(abs(value))))
    decimals = max(0, 8 - whole) if abs(value) >= 1 else 10
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def clock(ts_ms: int) -> str:
    """`2026-01-31 12:00:00 UTC`."""
    return f"{datetime.fromtimestamp(ts_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def shorten(text: str, longest: int) -> str:
    """`text`, cut to `longest` characters with a mark that it was."""
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."


def _notice(
    key: str,
    kind: Kind,
    level: Level,
    tone: Tone,
    title: str,
    body: str,
    ts_ms: int,
    *,
    pnl: float | None = None,
    currency: str = "",
) -> Notice:
    # Chat programs would take the lines of a text apart, and refuse a long one.
    return Notice(
        key,
        kind,
        level,
        tone,
        shorten(" ".join(title.split()), LONGEST_TITLE),
        shorten(" ".join(body.split()), LONGEST_BODY),
        ts_ms,
        pnl,
        currency,
    )
