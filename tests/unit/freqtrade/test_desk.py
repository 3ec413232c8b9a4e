"""What the executor makes of the signals it reads."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.core.records import Signal
from squeezeflow.desk import MAX_REMEMBERED, Desk
from tests.unit.freqtrade.test_rules import NOW_MS, close, entry

PAIR = "BTC/USDT:USDT"
MARKETS = {PAIR: "BTCUSDT"}


def take(
    desk: Desk, signal: Signal | bytes | None, trades: dict[str, str | None] | None = None
) -> None:
    """Let the desk read one key."""
    raw = msgspec.json.encode(signal) if isinstance(signal, Signal) else signal
    desk.take(MARKETS, [raw], trades or {}, NOW_MS)


def gate(desk: Desk, signal: Signal, **changes: Any) -> str | None:
    """The last check of an order at the signal's price."""
    order: dict[str, Any] = {"symbol": "BTCUSDT", "pair": PAIR, "side": "long", "rate": 100.0}
    return desk.gate(signal, **{**order, **changes}, now_ms=NOW_MS)


@pytest.fixture
def desk() -> Desk:
    return Desk(dry_run=True)


def test_signal_is_entered_on_until_it_disappears(desk: Desk) -> None:
    take(desk, entry())
    assert desk.entry(PAIR, NOW_MS) == entry()
    take(desk, None)
    assert desk.entry(PAIR, NOW_MS) is None


def test_signal_belongs_to_its_own_tag_only(desk: Desk) -> None:
    take(desk, entry())
    assert desk.entry_of(PAIR, "sf:id-1") == entry()
    assert desk.entry_of(PAIR, "sf:other") is None
    assert desk.entry_of(PAIR, None) is None
    assert desk.entry_of("ETH/USDT:USDT", "sf:id-1") is None


def test_close_is_no_entry(desk: Desk) -> None:
    take(desk, close("id-1"))
    assert desk.entry(PAIR, NOW_MS) is None
    assert desk.entry_of(PAIR, "sf:id-2") is None
    assert desk.exit(PAIR, "sf:id-1") == close("id-1")
    assert desk.exit(PAIR, "sf:id-3") is None


def test_without_redis_exits_hold_and_entries_do_not(desk: Desk) -> None:
    take(desk, close("id-1"))
    desk.keep_exits_only()
    assert desk.exit(PAIR, "sf:id-1") is not None
    take(desk, entry())
    desk.keep_exits_only()
    assert desk.entry(PAIR, NOW_MS) is None


def test_refusal_is_final_and_reported_once(desk: Desk) -> None:
    take(desk, entry(pair="ETH/USDT:USDT"))
    take(desk, entry(pair="ETH/USDT:USDT"))
    (fill,) = desk.refusals()
    assert (fill.event, fill.signal_id, fill.reason) == ("rejected", "id-1", "foreign_market")
    desk.reported(fill)
    take(desk, entry())
    assert desk.entry(PAIR, NOW_MS) is None
    assert desk.refusals() == []


def test_stale_entry_is_neither_entered_on_nor_refused(desk: Desk) -> None:
    take(desk, entry())
    assert desk.entry(PAIR, NOW_MS + 5_001) is None
    assert desk.refusals() == []


def test_signal_for_a_pair_with_a_position_is_refused_unless_it_is_its_own(desk: Desk) -> None:
    take(desk, entry(), {PAIR: "sf:id-1"})
    assert desk.refusals() == []
    take(desk, entry(signal_id="id-5"), {PAIR: "sf:id-1"})
    assert [fill.reason for fill in desk.refusals()] == ["position_open"]


def test_deposed_writer_is_refused_but_its_close_is_not(desk: Desk) -> None:
    take(desk, entry(fence=5))
    take(desk, entry(fence=4, signal_id="id-4"))
    assert [fill.reason for fill in desk.refusals()] == ["deposed_writer"]
    take(desk, msgspec.structs.replace(close("id-1"), fence=4))
    assert desk.exit(PAIR, "sf:id-1") is not None


def test_what_blocks_entries_refuses_them_at_once_and_no_exit() -> None:
    desk = Desk(dry_run=True, blocked=lambda signal: "halted")
    take(desk, entry())
    assert [fill.reason for fill in desk.refusals()] == ["halted"]
    assert desk.entry(PAIR, NOW_MS) is None
    take(desk, close("id-1"))
    assert desk.exit(PAIR, "sf:id-1") is not None


def test_what_begins_to_block_after_the_signal_was_read_stops_the_order() -> None:
    reasons: list[str | None] = [None, "halted"]
    desk = Desk(dry_run=True, blocked=lambda signal: reasons.pop(0))
    take(desk, entry())
    assert desk.entry(PAIR, NOW_MS) is not None
    assert gate(desk, entry()) == "halted"


def test_stale_signal_is_left_to_expire_when_entries_are_blocked() -> None:
    desk = Desk(dry_run=True, blocked=lambda signal: "halted")
    take(desk, entry(refreshed_ms=NOW_MS - 6_000))
    assert desk.refusals() == []


def test_slot_freed_by_a_close_read_at_the_same_time_is_seen() -> None:
    eth = "ETH/USDT:USDT"
    closes = msgspec.structs.replace(close("id-9"), symbol="ETHUSDT", pair=eth)
    seen = []
    own = Desk(dry_run=True, blocked=lambda signal: seen.append(own.exit(eth, "sf:id-9")))
    values = [msgspec.json.encode(entry()), msgspec.json.encode(closes)]
    own.take({**MARKETS, eth: "ETHUSDT"}, values, {eth: "sf:id-9"}, NOW_MS)
    assert seen == [closes]


def test_X5_entries_for_another_executor_are_neither_entered_on_nor_refused(desk: Desk) -> None:
    for signal in (entry(), entry(pair="ETH/USDT:USDT")):
        desk.take(MARKETS, [msgspec.json.encode(signal)], {}, NOW_MS, entries=False)
        assert desk.entry(PAIR, NOW_MS) is None
        assert desk.refusals() == []
    desk.take(MARKETS, [msgspec.json.encode(close("id-1"))], {}, NOW_MS, entries=False)
    assert desk.exit(PAIR, "sf:id-1") is not None
    take(desk, entry())
    assert desk.entry(PAIR, NOW_MS) is not None


def test_unreadable_key_is_said_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        take(desk, b"{")
    assert len(caplog.records) == 1
    take(desk, b"[")
    assert len(caplog.records) == 2


def test_gate_lets_a_good_order_pass(desk: Desk) -> None:
    assert gate(desk, entry()) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"side": "short"}, "wrong_side"),
        ({"rate": 101.0}, "price_deviation"),
        ({"symbol": "ETHUSDT"}, "foreign_market"),
    ],
)
def test_gate_names_what_is_wrong(desk: Desk, changes: dict[str, Any], reason: str) -> None:
    assert gate(desk, entry(), **changes) == reason


def test_gate_stops_the_order_of_a_writer_deposed_meanwhile(desk: Desk) -> None:
    take(desk, entry(fence=4))
    assert desk.entry(PAIR, NOW_MS) is not None
    take(desk, entry(fence=5, signal_id="id-5"))
    assert gate(desk, entry(fence=4)) == "deposed_writer"
    assert gate(desk, entry(fence=5, signal_id="id-5")) is None


def test_what_was_claimed_is_not_refused_any_more(desk: Desk) -> None:
    take(desk, entry())
    desk.claimed(entry(), NOW_MS)
    desk.refuse(entry(), "bad_values", NOW_MS)
    assert desk.refusals() == []


def test_key_that_tells_of_a_withdrawal_is_neither_entered_on_nor_refused(desk: Desk) -> None:
    take(desk, entry(event="CANCEL"))
    assert desk.entry(PAIR, NOW_MS) is None
    assert desk.refusals() == []


def test_claimed_signal_is_not_entered_on_again_and_waits_for_its_trade(desk: Desk) -> None:
    take(desk, entry())
    desk.claimed(entry(), NOW_MS)
    assert desk.entry(PAIR, NOW_MS) is None
    assert desk.claim_of("id-1") == entry()
    assert desk.unsettled(NOW_MS + 4_999) == []
    assert desk.unsettled(NOW_MS + 5_000) == [entry()]
    desk.settle("id-1")
    assert desk.claim_of("id-1") is None
    assert desk.unsettled(NOW_MS + 5_000) == []


def test_memory_is_bounded(desk: Desk) -> None:
    for number in range(MAX_REMEMBERED + 10):
        desk.refuse(entry(signal_id=f"id-{number}"), "bad_values", NOW_MS)
    assert len(desk.refusals()) == MAX_REMEMBERED
