"""What a symbol still lacks before it may decide, and until when."""

from __future__ import annotations

from typing import NamedTuple

from services.influx_signal_manager import iso
from services.market.membership import COVERAGE_MIN
from services.strategy.types import Loaded, State
from services.trading.symbol import SymbolTrader

_CLASSES = ("spot", "perp")


class Shortage(NamedTuple):
    """`missing`: input -> what it has of what it needs.

    `warm_at`: UTC second at which time alone will have brought what is missing, if data come
    without a break; None where something is missing that time does not bring.
    """

    missing: dict[str, str]
    warm_at: int | None

    @property
    def holds_up(self) -> bool:
        """Whether anything is missing without which nothing is decided."""
        return bool(self.missing.keys() - {"open_interest"})

    def details(self) -> dict[str, object]:
        """As it stands in the heartbeat."""
        warm_at = None if self.warm_at is None else iso(self.warm_at * 1000)
        return {"missing": self.missing, "warm_at": warm_at}


def shortage(trader: SymbolTrader) -> Shortage | None:
    """What the symbol lacks now; None if it decides, or has decided, already."""
    if trader.engine.state is not State.WARMUP:
        return None
    loaded, params = trader.engine.loaded, trader.params
    missing = _inputs(trader, loaded)
    need_s = 60 * max(params.div_windows) + 1
    if loaded.seconds < need_s:
        missing["window"] = f"{loaded.seconds} of {need_s} s"
    if loaded.oi_minutes < params.oi_history_min:
        missing["open_interest"] = (
            f"{loaded.oi_minutes} of {params.oi_history_min} min, does not hold decisions up"
        )
    stuck = bool(loaded.thin) or trader.engine.t is None
    if trader.aggregator.degraded:
        missing["coverage"] = f"{trader.aggregator.coverage:.2f}, needs {COVERAGE_MIN:.2f}"
    return Shortage(missing, None if stuck else _ready(trader, loaded, need_s))


def absent(trader: SymbolTrader) -> dict[str, str]:
    """Class (spot, perp) without a market that trades -> what is known of it."""
    seen = {track.market.kind for track in trader.aggregator.members.tracks.values()}
    listed = {market.kind for market in trader.aggregator.markets.values()}
    missing: dict[str, str] = {}
    for kind in _CLASSES:
        if kind not in listed:
            missing[kind] = f"no {kind} market is collected; see AGGR_EXCHANGES"
        elif kind not in seen:
            missing[kind] = f"no {kind} market has traded yet"
    return missing


def _inputs(trader: SymbolTrader, loaded: Loaded) -> dict[str, str]:
    need, without = trader.params.warm_min, absent(trader)
    missing: dict[str, str] = {}
    for name in (*_CLASSES, "price"):
        kind = "perp" if name == "price" else name
        if kind in without:
            missing[name] = without[kind]
        elif loaded.minutes < need:
            missing[name] = f"{loaded.minutes} of {need} min"
        elif name in loaded.thin:
            missing[name] = "moves in too few minutes to have a scale"
    return missing


def _ready(trader: SymbolTrader, loaded: Loaded, need_s: int) -> int | None:
    """When minutes and seconds suffice; a filled history may bring both sooner."""
    newest = trader.engine.t
    if newest is None:
        return None
    lacking_min = max(0, trader.params.warm_min - loaded.minutes)
    # The minute in progress counts if it was seen from its first second on.
    whole = newest % 60 < loaded.seconds and newest % 60 != 59
    minute_ends = newest - newest % 60 + (59 if whole else 119)
    by_minutes = minute_ends + 60 * (lacking_min - 1) if lacking_min else newest
    by_seconds = newest + max(0, need_s - loaded.seconds)
    ready = max(by_minutes, by_seconds) + 1
    return ready if trader.usable_at is None else min(ready, trader.usable_at)
