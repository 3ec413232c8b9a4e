"""Stored one-second bars against the exchanges' own list of trades, recomputed exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

VOLUME_TOLERANCE = Decimal("1e-9")
MISMATCHES_LISTED = 20
_NONE = Decimal(0)

Key = tuple[str, int]
"""Market and UTC second."""


@dataclass(slots=True)
class Exact:
    """A bar as the trades make it. Prices: floats nearest to the traded decimals; volumes: quote
    notional by taker side, exact."""

    open: float
    high: float
    low: float
    close: float
    vbuy: Decimal = Decimal(0)
    vsell: Decimal = Decimal(0)
    cbuy: int = 0
    csell: int = 0


@dataclass(slots=True)
class Audit:
    """What the comparison found. `in_gaps`: bars left out, because the collector itself recorded
    that it cannot vouch for those seconds, or the simulator that it does not know them. `trades`:
    stored, of all bars."""

    compared: int = 0
    mismatched: int = 0
    in_gaps: int = 0
    trades: int = 0
    mismatches: list[dict[str, Any]] = field(default_factory=list)

    def differ(self, key: Key, what: str) -> None:
        """Count a bar that is not as it should be."""
        self.mismatched += 1
        if len(self.mismatches) < MISMATCHES_LISTED:
            self.mismatches.append({"market": key[0], "second": key[1], "difference": what})


def bars_of(market: str, trades: Iterable[Mapping[str, Any]]) -> dict[Key, Exact]:
    """The bars that one market's trades make; `trades` as the ledger lists them.

    Volumes are sums of the notional, which for inverse contracts does not depend on the price.

    Open and close belong to the first and last trade by exchange time, then by id. Forced orders
    are listed besides the trade that filled them and do not count again.
    """
    bars: dict[Key, Exact] = {}
    counted = (trade for trade in trades if not trade["liquidation"])
    for trade in sorted(counted, key=lambda t: (t["ts_ms"], int(t["id"]))):
        key = (market, trade["ts_ms"] // 1000)
        notional, price = Decimal(trade["notional"]), float(trade["price"])
        bar = bars.setdefault(key, Exact(price, price, price, price))
        bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
        if trade["side"] == "buy":
            bar.vbuy += notional
            bar.cbuy += 1
        else:
            bar.vsell += notional
            bar.csell += 1
    return bars


def forced_of(
    market: str, trades: Iterable[Mapping[str, Any]]
) -> dict[Key, tuple[Decimal, Decimal]]:
    """Notional of the forced buy and sell orders by second."""
    sums: dict[Key, tuple[Decimal, Decimal]] = {}
    for trade in trades:
        if trade["liquidation"]:
            key = (market, trade["ts_ms"] // 1000)
            bought, sold = sums.get(key, (Decimal(0), Decimal(0)))
            notional = Decimal(trade["notional"])
            is_buy = trade["side"] == "buy"
            sums[key] = (bought + notional, sold) if is_buy else (bought, sold + notional)
    return sums


def compare_forced(
    expected: Mapping[Key, tuple[Decimal, Decimal]],
    stored: Mapping[Key, Mapping[str, Any]],
    excused: set[Key],
    into: Audit,
) -> None:
    """The same for forced orders: every second in which either side has some."""
    real = {key for key, bar in stored.items() if bar["lbuy"] or bar["lsell"]}
    for key in sorted(expected.keys() | real):
        if key in excused:
            into.in_gaps += 1
            continue
        into.compared += 1
        found = stored.get(key, {"lbuy": 0.0, "lsell": 0.0})
        for name, wanted in zip(("lbuy", "lsell"), expected.get(key, (_NONE, _NONE)), strict=True):
            if not _close(found[name], wanted):
                into.differ(key, f"{name} {found[name]} instead of {wanted}")
                break


def compare(
    expected: Mapping[Key, Exact],
    stored: Mapping[Key, Mapping[str, Any]],
    excused: set[Key],
    into: Audit,
) -> None:
    """Count every bar of either side; bars of forced orders alone carry no trades."""
    into.trades += sum(bar["cbuy"] + bar["csell"] for bar in stored.values())
    real = {key for key, bar in stored.items() if bar["cbuy"] or bar["csell"]}
    for key in sorted(expected.keys() | real):
        if key in excused:
            into.in_gaps += 1
            continue
        into.compared += 1
        if key not in stored:
            into.differ(key, "missing")
        elif key not in expected:
            into.differ(key, "extra: no trade was made in this second")
        elif difference := _difference(expected[key], stored[key]):
            into.differ(key, difference)


def _difference(exact: Exact, bar: Mapping[str, Any]) -> str:
    for name in ("open", "high", "low", "close", "cbuy", "csell"):
        if bar[name] != getattr(exact, name):
            return f"{name} {bar[name]} instead of {getattr(exact, name)}"
    for name in ("vbuy", "vsell"):
        wanted: Decimal = getattr(exact, name)
        if not _close(bar[name], wanted):
            return f"{name} {bar[name]} instead of {wanted}"
    return ""


def _close(found: float, wanted: Decimal) -> bool:
    return abs(Decimal(found) - wanted) <= wanted * VOLUME_TOLERANCE
