"""Canonical names of what is traded. Exact matches only; nothing is found by substring."""

from __future__ import annotations

import re

QUOTE = "USDT"

_BASE = re.compile(r"^[A-Z0-9]{1,15}$")
_LONG = frozenset({"long", "buy", "+1", "1"})
_SHORT = frozenset({"short", "sell", "-1"})


def symbol_of(base: str) -> str:
    """`BTC` -> `BTCUSDT`. Raises ValueError if `base` is no base symbol."""
    if not _BASE.match(base):
        raise ValueError(f"{base!r} is no base symbol: 1 to 15 capital letters and digits")
    return base + QUOTE


def pair_of(base: str) -> str:
    """`BTC` -> `BTC/USDT:USDT`, freqtrade's name of the perpetual."""
    symbol_of(base)
    return f"{base}/{QUOTE}:{QUOTE}"


def base_of_symbol(symbol: str) -> str:
    """`BTCUSDT` -> `BTC`. Raises ValueError for anything that `symbol_of` does not make."""
    base = symbol.removesuffix(QUOTE)
    if base == symbol or symbol_of(base) != symbol:
        raise ValueError(f"{symbol!r} is no symbol of the form BASE{QUOTE}")
    return base


def base_of_pair(pair: str) -> str:
    """`BTC/USDT:USDT` -> `BTC`. Raises ValueError for anything that `pair_of` does not make."""
    base = pair.partition("/")[0]
    if pair_of(base) != pair:
        raise ValueError(f"{pair!r} is no pair of the form BASE/{QUOTE}:{QUOTE}")
    return base


def direction_of(side: str) -> int:
    """+1 for long or buy, -1 for short or sell, in any case. Raises ValueError otherwise."""
    text = side.strip().lower()
    if text in _LONG:
        return 1
    if text in _SHORT:
        return -1
    raise ValueError(f"{side!r} is no side: long, short, buy or sell")
