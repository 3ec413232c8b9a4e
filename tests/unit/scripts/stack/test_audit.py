from __future__ import annotations

from decimal import Decimal
from typing import Any

from scripts.stack.audit import Audit, Key, bars_of, compare, compare_forced, forced_of

MARKET = "VENUE:btcusdt"


def _trade(
    ts_ms: int,
    price: str,
    size: str = "1",
    side: str = "buy",
    *,
    number: int | None = None,
    liquidation: bool = False,
) -> dict[str, Any]:
    return {
        "ts_ms": ts_ms,
        "price": price,
        "size_base": size,
        "notional": str(Decimal(price) * Decimal(size)),
        "side": side,
        "id": ts_ms if number is None else number,
        "liquidation": liquidation,
    }


def _stored(**changes: Any) -> dict[str, Any]:
    bar = {
        "open": 100.1, "high": 100.3, "low": 100.0, "close": 100.0,
        "vbuy": 100.1 + 200.6, "vsell": 100.0, "cbuy": 2, "csell": 1,
    }  # fmt: skip
    return bar | changes


TRADES = [
    _trade(5100, "100.1"),
    _trade(5200, "100.3", "2"),
    _trade(5900, "100.0", side="sell"),
]
KEY: Key = (MARKET, 5)


def _compare(stored: dict[Key, dict[str, Any]], excused: set[Key] | None = None) -> Audit:
    audit = Audit()
    compare(bars_of(MARKET, TRADES), stored, excused or set(), audit)
    return audit


def test_recomputes_a_bar_exactly() -> None:
    bar = bars_of(MARKET, TRADES)[KEY]
    assert (bar.open, bar.high, bar.low, bar.close) == (100.1, 100.3, 100.0, 100.0)
    assert (bar.vbuy, bar.vsell) == (Decimal("300.7"), Decimal("100.0"))
    assert (bar.cbuy, bar.csell) == (2, 1)


def test_open_and_close_go_by_exchange_time_then_id() -> None:
    trades = [
        _trade(5000, "2", number=11),
        _trade(5000, "1", number=9),
        _trade(5000, "3", number=10),
    ]
    bar = bars_of(MARKET, trades)[KEY]
    assert (bar.open, bar.close) == (1.0, 2.0)


def test_the_last_millisecond_belongs_to_its_second() -> None:
    assert set(bars_of(MARKET, [_trade(5999, "1"), _trade(6000, "1")])) == {KEY, (MARKET, 6)}


def test_a_forced_order_is_not_counted_twice() -> None:
    trades = [*TRADES, _trade(5200, "100.3", "2", liquidation=True)]
    assert bars_of(MARKET, trades) == bars_of(MARKET, TRADES)


def test_equal_bars_pass() -> None:
    audit = _compare({KEY: _stored()})
    assert (audit.compared, audit.mismatched, audit.trades) == (1, 0, 3)


def test_a_volume_may_differ_in_the_tenth_digit_only() -> None:
    assert _compare({KEY: _stored(vbuy=300.7 * (1 + 5e-10))}).mismatched == 0
    assert _compare({KEY: _stored(vbuy=300.7 * (1 + 5e-9))}).mismatched == 1


def test_any_other_difference_counts() -> None:
    for name in ("open", "high", "low", "close"):
        assert _compare({KEY: _stored(**{name: 100.2})}).mismatched == 1
    for name in ("cbuy", "csell"):
        assert _compare({KEY: _stored(**{name: 7})}).mismatched == 1


def test_missing_and_extra_bars_count() -> None:
    assert _compare({}).mismatched == 1
    assert _compare({KEY: _stored(), (MARKET, 6): _stored()}).mismatched == 1


def test_a_bar_of_forced_orders_alone_is_no_extra() -> None:
    assert _compare({KEY: _stored(), (MARKET, 6): _stored(cbuy=0, csell=0)}).mismatched == 0


def test_recorded_gaps_are_left_out_and_counted() -> None:
    audit = _compare({}, {KEY})
    assert (audit.compared, audit.mismatched, audit.in_gaps) == (0, 0, 1)


def test_the_list_of_differences_is_bounded_the_count_is_not() -> None:
    stored = {(MARKET, second): _stored() for second in range(100, 200)}
    audit = _compare(stored)
    assert audit.mismatched == 101
    assert len(audit.mismatches) < 30


def test_forced_orders_are_compared_by_side() -> None:
    trades = [
        _trade(5100, "100.1", liquidation=True),
        _trade(5200, "100.0", "2", side="sell", liquidation=True),
        _trade(5300, "100.0", "2", side="sell"),
    ]
    expected = forced_of(MARKET, trades)
    assert expected == {KEY: (Decimal("100.1"), Decimal("200.0"))}
    for lsell, excused, wrong in ((200.0, set(), 0), (100.0, set(), 1), (100.0, {KEY}, 0)):
        audit = Audit()
        compare_forced(expected, {KEY: _stored(lbuy=100.1, lsell=lsell)}, excused, audit)
        assert audit.mismatched == wrong


def test_a_forced_order_nobody_published_is_a_difference() -> None:
    audit = Audit()
    compare_forced({}, {KEY: _stored(lbuy=1.0, lsell=0.0)}, set(), audit)
    assert audit.mismatched == 1
