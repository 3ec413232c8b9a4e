"""Line protocol: what the collector stores in InfluxDB, and how."""

from __future__ import annotations

from functools import lru_cache

from aggr_server.wire import GAPS_MEASUREMENT, MARKETS_MEASUREMENT, TIMEFRAMES, Bar, Gap, Market

BARS = TIMEFRAMES[0]


def bar_line(bar: Bar) -> str:
    """One bar with its full set of fields, so that writing it again replaces it whole."""
    return (
        f"{_bar_head(bar.market)} open={bar.open!r},high={bar.high!r},low={bar.low!r},"
        f"close={bar.close!r},vbuy={bar.vbuy!r},vsell={bar.vsell!r},cbuy={bar.cbuy}i,"
        f"csell={bar.csell}i,lbuy={bar.lbuy!r},lsell={bar.lsell!r} {bar.time}"
    )


def gap_line(gap: Gap) -> str:
    """A gap at the time it begins: a longer one of the same beginning replaces it."""
    return (
        f"{GAPS_MEASUREMENT},market={_tag(gap.market)},reason={_tag(gap.reason)} "
        f"from_s={gap.from_s}i,to_s={gap.to_s}i {gap.from_s}"
    )


def market_line(market: Market, time_s: int) -> str:
    """What a market is, at `time_s`."""
    return (
        f'{MARKETS_MEASUREMENT},market={_tag(market.market)} base="{market.base}",'
        f'quote="{market.quote}",kind="{market.kind}" {time_s}'
    )


@lru_cache(maxsize=4096)
def _bar_head(market: str) -> str:
    return f"{BARS.measurement},market={_tag(market)}"


def _tag(text: str) -> str:
    return text.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")
