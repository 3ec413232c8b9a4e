"""Simulated execution, each figure against one computed by hand."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backtest import broker as rules_here
from services.backtest.broker import Broker, Quote
from services.backtest.result import Costs, TradeRow
from services.backtest.sources.tape import FundingSample
from services.core.records import Fill, Signal
from squeezeflow import rules
from tests.signals import entry_fields

T = 1_767_225_600
SYMBOL = "BTCUSDT"


def signal(**fields: object) -> Signal:
    known = entry_fields(
        (T + 1) * 1000, signal_id="one", score_breakdown={"directional_bias": 2.0},
        max_deviation=0.02, mode="backtest",
    )  # fmt: skip
    return msgspec.convert(known | fields, Signal)


SHORT = {"action": "SHORT", "stop_price": 105.0, "invalidation_price": 101.0}


def close_of(entry: Signal, reason: str = "RANGE_BREAK") -> Signal:
    return msgspec.structs.replace(
        entry,
        event="EXIT",
        action="CLOSE",
        signal_id="two",
        parent_signal_id=entry.signal_id,
        exit_reason=reason,
        stop_price=None,
    )


def flat(price: float) -> Quote:
    return Quote(price, price, price, price)


class Desk:
    """A broker and the fills it reports."""

    def __init__(self, costs: Costs) -> None:
        self.fills: list[Fill] = []
        self.broker = Broker(costs, self.fills.append)

    def play(self, quotes: list[Quote | float], from_s: int = T) -> None:
        for t, quote in enumerate(quotes, from_s):
            self.broker.second(SYMBOL, t, quote if isinstance(quote, Quote) else flat(quote))

    def opened(self, entry: Signal, price: float = 100.0) -> None:
        """Opened at `price` in second T."""
        self.broker.order(entry, T - self.broker.costs.fill_delay_s)
        self.play([price])

    @property
    def trade(self) -> TradeRow:
        (row,) = self.broker.trades
        return row


FREE = Costs(fee_rate=0.0, slippage_bp=0.0)


@pytest.fixture
def free() -> Desk:
    return Desk(FREE)


def test_an_entry_is_filled_at_the_close_after_the_delay(free: Desk) -> None:
    free.broker.order(signal(), T)
    free.play([100.0, 101.0, Quote(101.0, 102.0, 100.5, 101.5), 103.0])
    (fill,) = free.fills
    assert (fill.event, fill.price, fill.ts_ms // 1000) == ("opened", 101.5, T + 2)
    assert fill.amount == pytest.approx(100.0 * 3 / 101.5)
    assert (fill.stake, fill.leverage, fill.side) == (100.0, 3.0, "long")


@pytest.mark.parametrize(
    ("fields", "entry", "exit_"),
    [({}, 100.1, 109.89), (SHORT, 99.9, 110.11)],
    ids=["long", "short"],
)
def test_slippage_is_against_the_trade_at_both_ends(
    fields: dict[str, object], entry: float, exit_: float
) -> None:
    desk = Desk(Costs(fee_rate=0.0, slippage_bp=10.0))
    opening = signal(**{**fields, "stop_price": None})
    desk.opened(opening)
    desk.broker.order(close_of(opening), T)
    desk.play([110.0, 110.0], T + 1)
    assert desk.trade.entry_price == pytest.approx(entry)
    assert desk.trade.exit_price == pytest.approx(exit_)


def test_a_long_earns_when_the_price_rises_net_of_both_fees() -> None:
    desk = Desk(Costs(fee_rate=0.001, slippage_bp=0.0))
    opening = signal()
    desk.opened(opening)
    desk.broker.order(close_of(opening), T)
    desk.play([102.0, 102.0], T + 1)
    # 3 coins for a margin of 100 at leverage 3: profit 6, fees 0.3 and 0.306.
    assert desk.trade.amount == pytest.approx(3.0)
    assert desk.trade.fees == pytest.approx(0.606)
    assert desk.trade.pnl == pytest.approx(6.0 - 0.606)
    assert desk.trade.return_on_stake == pytest.approx(0.05394)
    assert desk.trade.r_multiple == pytest.approx((6.0 - 0.606) / 3.0)
    assert desk.trade.exit_reason == "RANGE_BREAK"
    assert desk.fills[-1].reason == "sf_range_break"
    assert desk.broker.equity == pytest.approx(1005.394)
    assert desk.broker.turnover == pytest.approx(300.0 + 306.0)


def test_a_short_earns_when_the_price_falls(free: Desk) -> None:
    opening = signal(**SHORT)
    free.opened(opening)
    free.broker.order(close_of(opening), T)
    free.play([98.0, 98.0], T + 1)
    assert free.trade.pnl == pytest.approx(6.0)
    assert free.trade.direction == -1


def test_equity_follows_the_price_while_a_position_is_open() -> None:
    desk = Desk(Costs(fee_rate=0.001, slippage_bp=0.0))
    desk.opened(signal())
    assert desk.broker.equity == pytest.approx(1000.0 - 0.3)
    desk.play([101.0], T + 1)
    assert desk.broker.equity == pytest.approx(1000.0 - 0.3 + 3.0)


def test_the_stop_comes_before_the_exit_of_the_same_second(free: Desk) -> None:
    opening = signal()
    free.opened(opening)
    free.broker.order(close_of(opening), T - 1)  # due in the second whose low reaches the stop
    free.play([Quote(99.0, 99.5, 94.0, 99.0)], T + 1)
    assert free.trade.exit_reason == "CATASTROPHIC_STOP"
    assert free.trade.exit_price == 95.0
    assert [f.event for f in free.fills] == ["opened", "closed"]
    assert free.fills[-1].reason == "CATASTROPHIC_STOP"


def test_the_stop_of_a_short_is_touched_from_below(free: Desk) -> None:
    free.opened(signal(**SHORT))
    free.play([Quote(101.0, 105.0, 100.0, 104.0)], T + 1)
    assert free.trade.exit_price == 105.0
    assert free.trade.pnl == pytest.approx(-15.0)


def test_a_market_that_opens_beyond_the_stop_fills_it_there(free: Desk) -> None:
    free.opened(signal())
    free.play([Quote(93.0, 94.0, 92.0, 94.0)], T + 1)
    assert free.trade.exit_price == 93.0


def test_the_second_of_the_entry_does_not_touch_the_stop(free: Desk) -> None:
    free.broker.order(signal(), T - 2)
    free.play([Quote(100.0, 100.0, 90.0, 100.0), 100.0])
    assert free.broker.trades == []


def test_no_more_than_the_margin_can_be_lost() -> None:
    desk = Desk(Costs(fee_rate=0.001, slippage_bp=0.0, maintenance_rate=0.005))
    desk.opened(signal(leverage=5, stop_price=None))
    # 5 coins on a margin of 100: liquidated at 100 * (1 - 1/5) / (1 - 0.005).
    limit = 100.0 * 0.8 / 0.995
    desk.play([limit + 0.01], T + 1)
    assert desk.broker.trades == []
    desk.play([limit - 0.01], T + 2)
    assert desk.trade.exit_reason == "LIQUIDATION"
    assert desk.trade.exit_price == pytest.approx(limit)
    assert desk.trade.pnl == pytest.approx(-100.0 - 0.5)


def test_a_gap_beyond_stop_and_liquidation_takes_the_margin(free: Desk) -> None:
    free.opened(signal(leverage=5))
    free.play([60.0], T + 1)
    assert free.trade.exit_reason == "LIQUIDATION"
    assert free.trade.pnl == -100.0


def test_longs_pay_a_positive_funding_rate_and_shorts_receive_it() -> None:
    for fields, sign in (({}, -1.0), (SHORT, 1.0)):
        desk = Desk(FREE)
        desk.broker.charge(SYMBOL, [FundingSample((T + 2) * 1000, 0.001)])
        opening = signal(**fields)
        desk.opened(opening)
        desk.play([100.0, 102.0], T + 1)
        desk.broker.order(close_of(opening), T + 2)
        desk.play([100.0, 100.0], T + 3)
        assert desk.trade.funding == pytest.approx(sign * 0.001 * 3.0 * 102.0)
        assert desk.trade.pnl == pytest.approx(desk.trade.funding)


def test_funding_before_the_entry_is_not_paid(free: Desk) -> None:
    free.broker.charge(SYMBOL, [FundingSample(T * 1000, 0.01)])
    opening = signal()
    free.opened(opening)
    free.broker.order(close_of(opening), T)
    free.play([100.0, 100.0, 100.0], T + 1)
    assert free.trade.funding == 0.0


def test_a_price_too_far_from_the_signal_is_refused(free: Desk) -> None:
    free.broker.order(signal(max_deviation=0.01), T)
    free.play([100.0, 101.0, 101.1])
    (fill,) = free.fills
    assert (fill.event, fill.reason, fill.signal_id) == ("rejected", "price_deviation", "one")
    assert free.broker.positions == {}
    assert [r.reason for r in free.broker.refusals] == ["price_deviation"]


def test_a_withdrawn_signal_is_not_filled(free: Desk) -> None:
    free.broker.order(signal(), T)
    free.play([100.0])
    free.broker.withdraw(SYMBOL)
    free.play([100.0, 100.0], T + 1)
    assert free.fills == []


def test_a_close_of_another_trade_is_ignored(free: Desk) -> None:
    free.opened(signal())
    free.broker.order(close_of(signal(signal_id="other")), T)
    free.play([100.0, 100.0], T + 1)
    assert free.broker.positions


def test_an_entry_waits_for_a_slot() -> None:
    desk = Desk(msgspec.structs.replace(FREE, max_open_trades=1))
    desk.opened(signal())
    other = signal(signal_id="three", symbol="ETHUSDT", pair="ETH/USDT:USDT")
    desk.broker.order(other, T)
    for t in range(T + 2, T + 5):
        desk.broker.second("ETHUSDT", t, flat(100.0))
    assert set(desk.broker.positions) == {SYMBOL}
    assert [r.reason for r in desk.broker.refusals] == ["no_free_slot"]
    desk.broker.end(SYMBOL, T + 5)
    desk.broker.second("ETHUSDT", T + 6, flat(100.0))
    assert set(desk.broker.positions) == {"ETHUSDT"}


def test_an_exhausted_wallet_opens_nothing() -> None:
    desk = Desk(msgspec.structs.replace(FREE, wallet=100.0))
    desk.opened(signal())
    assert desk.broker.positions == {}
    assert [r.reason for r in desk.broker.refusals] == ["wallet_exhausted"]


def test_the_stake_follows_the_factor_as_far_as_the_wallet_reaches() -> None:
    desk = Desk(msgspec.structs.replace(FREE, wallet=120.0))
    desk.opened(signal(position_size_factor=1.5))
    assert desk.broker.positions[SYMBOL].stake == pytest.approx(0.99 * 120.0)


def test_excursions_are_the_worst_and_best_prices_while_open(free: Desk) -> None:
    opening = signal()
    free.opened(opening)
    free.broker.order(close_of(opening), T)
    free.play([Quote(100.0, 103.0, 98.0, 100.0), 100.0], T + 1)
    assert free.trade.mae == pytest.approx(-0.02)
    assert free.trade.mfe == pytest.approx(0.03)


def test_what_is_open_at_the_end_is_closed_at_the_last_price(free: Desk) -> None:
    free.opened(signal())
    free.play([104.0], T + 1)
    free.broker.end(SYMBOL, T + 1)
    assert free.trade.open_at_end
    assert free.trade.exit_price == 104.0
    assert free.trade.pnl == pytest.approx(12.0)


@given(
    entry=st.floats(1e-6, 1e6),
    rate=st.floats(0.9, 1.1),
    deviation=st.floats(1e-4, 0.05),
    factor=st.sampled_from([0.5, 1.0, 1.5]),
    leverage=st.integers(1, 10),
    limit=st.integers(1, 10),
    free=st.floats(1.0, 1e6),
    risk=st.sampled_from([0.0, 0.01, 0.2]),
)
def test_the_rules_are_the_executors(
    entry: float,
    rate: float,
    deviation: float,
    factor: float,
    leverage: int,
    limit: int,
    free: float,
    risk: float,
) -> None:
    asked = signal(
        entry_price=entry,
        invalidation_price=entry * 0.99,
        stop_price=entry * 0.95,
        max_deviation=deviation,
        position_size_factor=factor,
        leverage=leverage,
    )
    assert rules_here.deviates(asked, entry * rate) == rules.deviates(asked, entry * rate)
    chosen = rules.leverage(asked, limit, math.inf)
    assert rules_here.leverage_of(asked, limit) == chosen
    bearable = rules.largest_at_risk(asked, chosen, free, risk)
    assert rules_here.largest_at_risk(asked, chosen, free, risk) == bearable
    largest = min(free, bearable)
    assert rules_here.stake_of(asked, 100.0, largest) == rules.stake(asked, 100.0, None, largest)


@given(
    prices=st.lists(st.floats(80.0, 120.0), min_size=3, max_size=30),
    long=st.booleans(),
    leverage=st.integers(1, 5),
)
def test_the_wallet_is_the_sum_of_what_the_trades_earned(
    prices: list[float], long: bool, leverage: int
) -> None:
    desk = Desk(Costs())
    opening = signal(**({} if long else SHORT), leverage=leverage)
    desk.opened(opening)
    desk.play(list(prices), T + 1)
    desk.broker.end(SYMBOL, T + len(prices))
    assert desk.broker.equity == pytest.approx(1000.0 + desk.trade.pnl)
    assert desk.trade.pnl >= -desk.trade.stake - desk.trade.fees
    assert desk.fills[-1].pnl == desk.trade.pnl
