"""Ids of signals follow from what was decided."""

from __future__ import annotations

from services.trading.signals import Holding, close_id, entry_id


def holding(signal_id: str, trade_id: int | None = None) -> Holding:
    return Holding(
        signal_id=signal_id,
        setup_id="BTC:long:1",
        direction=1,
        leverage=1,
        entry_price=100.0,
        invalidation_price=None,
        r5=None,
        trade_id=trade_id,
    )


def test_s8_the_same_decision_has_the_same_id_whoever_takes_it() -> None:
    assert entry_id("BTC:long:1767225600", 1) == "58bb1eea-00d0-515f-9f1c-5678923e23ef"


def test_a_setup_gives_each_of_its_signals_another_id() -> None:
    ids = {entry_id(setup, n) for setup in ("BTC:long:1", "BTC:short:1") for n in (1, 2, 3)}
    assert len(ids) == 6


def test_a_close_is_named_after_its_entry_and_its_second() -> None:
    first = close_id(holding("entry"), "BTCUSDT", 100)
    assert first == close_id(holding("entry", 7), "BTCUSDT", 100)
    assert first != close_id(holding("entry"), "BTCUSDT", 101)
    assert first != close_id(holding("other"), "BTCUSDT", 100)


def test_closes_of_adopted_trades_without_signal_differ_by_trade_and_symbol() -> None:
    ids = {close_id(holding("", n), s, 100) for n in (1, 2) for s in ("BTCUSDT", "ETHUSDT")}
    assert len(ids) == 4
