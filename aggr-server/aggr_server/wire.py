"""What others may rely on: the bars message, its channel, and the bars' place in InfluxDB."""

from __future__ import annotations

from typing import Literal

import msgspec

CHANNEL = "squeezeflow:bars"
"""Redis channel: one `ClosedSecond` per closed second per collector, also for empty seconds."""

MARKETS_KEY = "squeezeflow:markets"
"""Redis hash, market -> `Market` as JSON; written at start and every 30 s, expires after 120 s."""

HEARTBEAT_KEY = "squeezeflow:heartbeat:aggr-server"
HEARTBEAT_CHANNEL = "squeezeflow:heartbeat"
HEARTBEAT_TTL_S = 15
"""The collector's sign of life, JSON of the same shape as every service's: service, ts_ms, pid,
cycle_ms, status, details. Key and message, every 5 s."""

GAPS_MEASUREMENT = "gaps"
"""InfluxDB, default retention policy: tags market, reason; fields from_s, to_s (integers, UTC
seconds; from inclusive, to exclusive). The point's time is `from_s`."""

FORCED_ORDERS_ONLY = "liquidations"
"""Reason of a gap whose trades are complete: only `lbuy` and `lsell` may be too small."""

MARKETS_MEASUREMENT = "markets"
"""InfluxDB, default retention policy: tag market; string fields base, quote, kind. Written at
start and hourly, so that stored bars can be classified long after they were recorded."""

FLOAT_FIELDS = ("open", "high", "low", "close", "vbuy", "vsell", "lbuy", "lsell")
COUNT_FIELDS = ("cbuy", "csell")

Kind = Literal["spot", "perp", "future"]


class Bar(msgspec.Struct, array_like=True, gc=False):
    """One market's one-second bar.

    `time`: UTC second at which the bar opens. Volumes: quote notional (USD) by taker side.
    `cbuy`/`csell`: trade counts. `lbuy`/`lsell`: notional of forced buy/sell orders; they move
    neither prices nor volumes.
    """

    time: int
    market: str
    open: float
    high: float
    low: float
    close: float
    vbuy: float
    vsell: float
    cbuy: int
    csell: int
    lbuy: float
    lsell: float


class Gap(msgspec.Struct, frozen=True):
    """Seconds [from_s, to_s) of a market that are not known to be complete.

    A later record of the same market, reason and `from_s` replaces this one. It may be shorter:
    what was missed has been fetched; `to_s` equal to `from_s` says that nothing is missing.
    """

    market: str
    from_s: int
    to_s: int
    reason: str


class Market(msgspec.Struct, frozen=True):
    """A market as the collector knows it; `market` is EXCHANGE:symbol."""

    market: str
    exchange: str
    base: str
    quote: str
    kind: Kind


class ClosedSecond(msgspec.Struct):
    """One closed second of one collector.

    `epoch` changes when the collector restarts; within it `seq` counts up by one. `amended` holds
    whole bars of earlier seconds that late trades changed. `last_trade_ms`: exchange time of the
    newest trade in `bars`, None if there is none. `published_ms`: collector's clock at publication.
    """

    collector: str
    epoch: str
    seq: int
    second: int
    published_ms: int
    last_trade_ms: int | None
    bars: list[Bar]
    amended: list[Bar] = []
    gaps: list[Gap] = []


class Timeframe(msgspec.Struct, frozen=True):
    """A bar length and where its bars are stored."""

    label: str
    seconds: int

    @property
    def retention_policy(self) -> str:
        """For example `aggr_1s`."""
        return f"aggr_{self.label}"

    @property
    def measurement(self) -> str:
        """For example `trades_1s`."""
        return f"trades_{self.label}"


TIMEFRAMES = tuple(
    Timeframe(label, seconds)
    for label, seconds in (
        ("1s", 1),
        ("1m", 60),
        ("5m", 300),
        ("15m", 900),
        ("30m", 1800),
        ("1h", 3600),
        ("4h", 14400),
    )
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ClosedSecond)


def encode(message: ClosedSecond) -> bytes:
    """JSON as it travels over `CHANNEL`."""
    return _encoder.encode(message)


def decode(data: bytes) -> ClosedSecond:
    """Inverse of `encode`. Raises `msgspec.DecodeError` for anything else."""
    return _decoder.decode(data)
