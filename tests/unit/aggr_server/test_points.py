from __future__ import annotations

from aggr_server.points import bar_line, gap_line, market_line
from aggr_server.wire import Bar, Gap, Market


def test_numbers_keep_their_types_so_that_no_field_ever_conflicts() -> None:
    bar = Bar(1_700_000_000, "A:x", 1.0, 2.0, 1e-07, 100000.0, 0.0, 1e16, 3, 0, 0.0, 7.25)
    assert bar_line(bar) == (
        "trades_1s,market=A:x open=1.0,high=2.0,low=1e-07,close=100000.0,vbuy=0.0,vsell=1e+16,"
        "cbuy=3i,csell=0i,lbuy=0.0,lsell=7.25 1700000000"
    )


def test_special_characters_in_a_market_are_escaped() -> None:
    assert gap_line(Gap("A:x y,z=1", 5, 9, "start")) == (
        r"gaps,market=A:x\ y\,z\=1,reason=start from_s=5i,to_s=9i 5"
    )


def test_a_market_is_described_in_text_fields() -> None:
    assert market_line(Market("A:x", "A", "BTC", "USDT", "perp"), 7) == (
        'markets,market=A:x base="BTC",quote="USDT",kind="perp" 7'
    )
