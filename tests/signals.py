"""Signals to begin a test with."""

from __future__ import annotations

from typing import Any

from services.influx_signal_manager import iso


def entry_fields(ts_ms: int, **others: Any) -> dict[str, Any]:
    """Fields of a valid long entry in BTC at a price of 100, decided at `ts_ms` and to be executed
    within a minute. `others`: those that are to be otherwise."""
    return {
        "event": "ENTRY",
        "signal_id": "id-1",
        "setup_id": "BTC:1:0",
        "timestamp": iso(ts_ms),
        "ts_ms": ts_ms,
        "refreshed_ms": ts_ms,
        "valid_until_ms": ts_ms + 60_000,
        "symbol": "BTCUSDT",
        "base_symbol": "BTC",
        "pair": "BTC/USDT:USDT",
        "action": "LONG",
        "score": 6.5,
        "score_breakdown": {},
        "position_size_factor": 1.0,
        "leverage": 3,
        "entry_price": 100.0,
        "invalidation_price": 99.0,
        "max_deviation": 0.01,
        "stop_price": 95.0,
        "ttl": 5,
        "confidence": 0.7,
        "reset_type": "A",
        "context": {},
        "oi": {},
        "cvd": {},
        "coverage": 1.0,
        "reasoning": "",
        "mode": "paper",
        **others,
    }
