"""Which markets of a symbol take part, and which one executes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from aggr_server.wire import Gap, Market
from services.backtest.errors import BacktestError
from services.backtest.sources.tape import SecondBars
from services.market.aggregate import preferred_market
from services.market.markets import USD_QUOTES

NOT_RECORDED = "not recorded"
UNRECORDED_S = 60
"""A market whose recording ends this much before the others' is not known from there on."""


def takes_part(market: Market) -> bool:
    """Spot or perpetual, quoted in dollars."""
    return market.kind in ("spot", "perp") and market.quote.upper() in USD_QUOTES


def of_base(base: str, bars: Sequence[SecondBars]) -> list[SecondBars]:
    """The markets of `base` that take part, both classes. Raises `BacktestError`."""
    usable = [b for b in bars if takes_part(b.market)]
    found = [b for b in usable if b.market.base == base]
    if not found:
        others = ", ".join(sorted({b.market.base for b in usable})) or "nothing that takes part"
        raise BacktestError(f"no market of {base} in the files; they hold {others}")
    check_classes(base, [b.market for b in found])
    return found


def check_classes(base: str, markets: Collection[Market]) -> None:
    """Raises `BacktestError` unless there are spot and perpetual markets."""
    kinds = {m.kind for m in markets}
    missing = {"spot", "perp"} - kinds
    if missing:
        names = ", ".join(sorted(m.market for m in markets))
        lacking = "perpetual" if "perp" in missing else "spot"
        raise BacktestError(
            f"{base}: no {lacking} market, only {names}. The strategy compares spot with "
            f"perpetual flow: add one, for example --trades EXCHANGE:symbol=FILE"
        )


def execution_market(
    base: str, markets: Sequence[Market], exchange: str, volumes: Mapping[str, float]
) -> tuple[Market, str]:
    """The perpetual that supplies reference price and fills, and a note if it is a substitute.

    That of `exchange` as live, else the one with the largest volume.
    """
    found = preferred_market(markets, exchange)
    if found is not None:
        return found, ""
    perps = [m for m in markets if m.kind == "perp"]
    largest = max(perps, key=lambda m: (volumes.get(m.market, 0.0), m.market))
    chosen = preferred_market(markets, largest.exchange) or largest
    return chosen, f"{base}: {exchange} has no perpetual here, {chosen.market} executes instead"


def unrecorded(market: Market, tape_s: int, gaps: Sequence[Gap]) -> str:
    """What it means if the executing market is recorded over a part of the time only."""
    lost_s = sum(
        g.to_s - g.from_s for g in gaps if g.market == market.market and g.reason == NOT_RECORDED
    )
    if not lost_s:
        return ""
    return (
        f"{market.market} executes, but is recorded over {tape_s - lost_s} of {tape_s} s only: "
        "stops and fills outside are not true (narrow --from and --to, or leave its file out)"
    )


def with_ends(bars: Sequence[SecondBars]) -> tuple[list[SecondBars], list[str]]:
    """Markets recorded over a part of the time only get a gap over the rest, and a note."""
    first, end = min(int(b.t[0]) for b in bars), max(int(b.t[-1]) for b in bars) + 1
    found, notes = [], []
    for b in bars:
        start, stop = int(b.t[0]), int(b.t[-1]) + 1
        spans = [(first, start), (stop, end)]
        gaps = tuple(
            Gap(b.market.market, from_s, to_s, NOT_RECORDED)
            for from_s, to_s in spans
            if to_s - from_s > UNRECORDED_S
        )
        if gaps:
            notes.append(
                f"{b.market.market}: recorded over {(stop - start) / 60:.1f} of "
                f"{(end - first) / 60:.1f} minutes"
            )
        found.append(
            SecondBars(b.market, b.t, b.open, b.high, b.low, b.close, b.buy, b.sell, b.gaps + gaps)
        )
    return found, notes
