"""Exchanges that no longer exist; their names stay, so that asking for them gets an answer."""

from __future__ import annotations

CLOSED = {
    "BITMEX": "2026-09-23",
    "FTX": "2022-11-11",
}
"""Name -> day on which trading ended (UTC)."""
