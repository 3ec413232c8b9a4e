"""The live desk, offline: the scenarios' known outcomes, and what must make no difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from aggr_server.wire import Market
from services.backtest.assemble import result_of
from services.backtest.result import Costs, Span, TradeRow
from services.backtest.run import Plan, Run
from services.backtest.sources.tape import SecondBars, Tape, tape_of
from services.strategy.params import Params
from tests.unit.backtest import offline
from tests.unit.strategy import scenarios
from tests.unit.strategy.scenarios import LEAD_S, MIDNIGHT

START = MIDNIGHT + LEAD_S

# direction, reset type, seconds of divergence, reset, entry and exit after t = 0, score, leverage,
# exit reason
EXPECTED = {
    "S1": (1, "A", 1180, 2935, 3146, 5613, 6.34, 3, "FLOW_REVERSAL_GIVEBACK"),
    "S2": (1, "B", 1180, 2768, 2773, 4353, 4.87, 2, "CVD_TREND"),
    "S3": (1, "A", 1180, 2935, 3146, 3971, 8.34, 5, "RANGE_BREAK"),
    "S4": (-1, "A", 1180, 2935, 3146, 6418, 6.34, 3, "LTF_INVALIDATION"),
    "S5": (-1, "B", 1180, 2768, 2773, 3239, 4.87, 2, "FLOW_REVERSAL"),
}


def spans_after_start(run: Run, state: str) -> list[Span]:
    return [s for s in run.ledger.spans["BTCUSDT"] if s.from_s >= START and s.state == state]


def seconds_of(trade: TradeRow) -> tuple[int, int]:
    return trade.entry_ms // 1000 - START, trade.exit_ms // 1000 - START


@pytest.mark.parametrize("name", EXPECTED)
def test_a_scenario_trades_as_it_does_live(name: str, runs: Callable[[str], Run]) -> None:
    direction, kind, diverged, reset, entered, left, score, leverage, reason = EXPECTED[name]
    run = runs(name)
    (trade,) = (t for t in run.broker.trades if t.entry_ms // 1000 > START)
    (entry, close) = (s for s in run.ledger.signals if s.ts_ms // 1000 > START)
    assert seconds_of(trade) == (entered, left)
    assert (trade.direction, trade.leverage, trade.exit_reason) == (direction, leverage, reason)
    assert trade.score == pytest.approx(score, abs=0.01)
    assert entry.reset_type == kind
    assert spans_after_start(run, "DIVERGENCE")[0].from_s - START == diverged
    assert spans_after_start(run, "RESET")[0].from_s - START == reset
    assert close.parent_signal_id == entry.signal_id
    assert entry.outcome == close.outcome == ("profitable" if trade.pnl > 0 else "unprofitable")


def test_a_scenario_without_a_reset_does_not_trade(runs: Callable[[str], Run]) -> None:
    run = runs("S6")
    (span,) = spans_after_start(run, "DIVERGENCE")
    assert (span.from_s - START, span.to_s - START) == (9923, 11649)
    assert run.broker.trades == []
    assert run.ledger.signals == []


def test_the_states_cover_the_whole_time_without_overlap(runs: Callable[[str], Run]) -> None:
    run = runs("S1")
    spans = run.ledger.spans["BTCUSDT"]
    assert spans[0].from_s == run.plan.from_s
    assert spans[-1].to_s == run.plan.to_s
    assert all(a.to_s == b.from_s for a, b in pairwise(spans))


def test_s8_the_same_market_twice_gives_the_same_result_id_for_id(
    runs: Callable[[str], Run], tapes: Callable[[str], Tape]
) -> None:
    first, again = runs("S1"), offline.run(offline.plan(tapes("S1")))
    assert first.ledger.signals
    assert msgspec.json.encode(result_of(first)) == msgspec.json.encode(result_of(again))


def test_seconds_skipped_and_seconds_stepped_give_the_same_bytes(tmp_path: Path) -> None:
    segments = scenarios.SCENARIOS["S1"].segments
    played_s = LEAD_S + sum(segment.seconds for segment in segments)
    rest = scenarios.Segment(86_400 - played_s)
    source = scenarios.generate(scenarios.Scenario((*segments, rest)))
    tape = tape_of("BTC", "bars", offline.bars_of(source), tmp_path)
    assert tape.end_s - tape.first_s == 86_400
    quick = result_of(offline.run(offline.plan(tape)))
    slow = result_of(offline.run(offline.plan(tape, skipping=False)))
    assert quick.trades
    assert msgspec.json.encode(quick) == msgspec.json.encode(slow)


def test_a_start_in_the_middle_finds_the_same_trade(
    runs: Callable[[str], Run], tapes: Callable[[str], Tape]
) -> None:
    from_s = START + 1000
    run = offline.run(offline.plan(tapes("S1"), from_s=from_s))
    (expected,) = runs("S1").broker.trades
    (trade,) = run.broker.trades
    assert seconds_of(trade) == seconds_of(expected)
    assert trade.signal_id == expected.signal_id
    assert trade.score == pytest.approx(expected.score)
    assert run.ledger.spans["BTCUSDT"][0].from_s == from_s


def test_nothing_before_the_start_is_traded(tapes: Callable[[str], Tape]) -> None:
    run = offline.run(offline.plan(tapes("S1"), from_s=START + 3200))
    assert run.broker.trades == []
    assert run.ledger.spans["BTCUSDT"][0].state == "COOLDOWN"


def test_what_comes_later_changes_nothing(
    runs: Callable[[str], Run], tapes: Callable[[str], Tape]
) -> None:
    cut = offline.run(offline.plan(tapes("S1"), to_s=START + 4000))
    (whole,) = runs("S1").broker.trades
    (trade,) = cut.broker.trades
    assert trade.signal_id == whole.signal_id
    assert trade.open_at_end
    assert trade.exit_reason == "END_OF_DATA"
    assert trade.exit_ms // 1000 == START + 3999
    assert any("still open" in warning for warning in result_of(cut).warnings)


def test_fills_come_after_the_delay_and_cost(tapes: Callable[[str], Tape]) -> None:
    costs = Costs(fee_rate=0.001, slippage_bp=10.0, fill_delay_s=2)
    run = offline.run(offline.plan(tapes("S1"), costs=costs))
    (trade,) = run.broker.trades
    decided = [s.ts_ms // 1000 - 1 - START for s in run.ledger.signals]
    entered, left = seconds_of(trade)
    assert (entered, left) == (3148, decided[1] + 2)
    source = scenarios.generate(scenarios.SCENARIOS["S1"])
    (perp,) = (b for b in offline.bars_of(source) if b.market == offline.PERP)
    at_entry, at_exit = perp.close[LEAD_S + entered], perp.close[LEAD_S + left]
    assert trade.entry_price == pytest.approx(at_entry * 1.001)
    assert trade.exit_price == pytest.approx(at_exit * 0.999)
    assert trade.fees == pytest.approx(
        0.001 * trade.amount * (trade.entry_price + trade.exit_price)
    )
    gross = trade.amount * (trade.exit_price - trade.entry_price)
    assert trade.pnl == pytest.approx(gross - trade.fees)
    assert run.marks[-1][1] == pytest.approx(1000.0 + trade.pnl)


def test_equity_is_marked_at_every_minute(runs: Callable[[str], Run]) -> None:
    run = runs("S1")
    times = [t for t, _ in run.marks]
    assert times == list(range(run.plan.from_s, run.plan.to_s + 1, 60))
    (trade,) = run.broker.trades
    inside = [v for t, v in run.marks if trade.entry_ms < t * 1000 < trade.exit_ms]
    assert len(set(inside)) > 30
    before = [v for t, v in run.marks if t * 1000 < trade.entry_ms]
    assert set(before) == {1000.0}


def test_candles_hold_price_and_flow_of_their_time(runs: Callable[[str], Run]) -> None:
    (candles,) = result_of(runs("S3")).candles
    source = scenarios.generate(scenarios.SCENARIOS["S3"])
    (perp,) = (b for b in offline.bars_of(source) if b.market == offline.PERP)
    assert candles.step_s == 60
    assert candles.t[5] == MIDNIGHT + 300
    part = slice(300, 360)
    assert candles.open[5] == perp.open[300]
    assert candles.close[5] == perp.close[359]
    assert candles.high[5] == perp.high[part].max()
    assert candles.low[5] == perp.low[part].min()
    assert candles.perp_cvd[5] == pytest.approx(source.perp_delta[:360].sum())
    assert candles.spot_cvd[-1] == pytest.approx(source.spot_delta.sum())
    assert candles.spot_volume[5] == pytest.approx(source.spot_volume[part].sum())
    assert source.oi is not None
    assert candles.oi[5] == source.oi[300]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Plan, dict[str, Market]]:
    """BTC and ETH with the same market, second for second."""
    tapes, execution = [], {}
    for base in ("BTC", "ETH"):
        source = scenarios.generate(scenarios.SCENARIOS["S1"])
        bars = []
        for b in offline.bars_of(source):
            name = b.market.market.replace("btc", base.lower())
            market = msgspec.structs.replace(b.market, market=name, base=base)
            bars.append(SecondBars(market, b.t, b.open, b.high, b.low, b.close, b.buy, b.sell))
            if market.kind == "perp":
                execution[base] = market
        tapes.append(tape_of(base, "bars", bars, tmp_path))
    plan = Plan(tuple(tapes), execution, tapes[0].first_s, tapes[0].end_s, Params(), offline.FREE)
    return plan, execution


def test_symbols_trade_side_by_side(two: tuple[Plan, dict[str, Market]]) -> None:
    run = offline.run(two[0])
    assert [t.symbol for t in run.broker.trades] == ["BTCUSDT", "ETHUSDT"]
    assert [seconds_of(t) for t in run.broker.trades] == [(3146, 5613)] * 2


def test_symbols_share_the_portfolio_limits(two: tuple[Plan, dict[str, Market]]) -> None:
    params = dataclasses.replace(Params(), max_open_positions=1)
    run = offline.run(dataclasses.replace(two[0], params=params))
    assert [t.symbol for t in run.broker.trades] == ["BTCUSDT"]
    refused = [r for r in result_of(run).refusals if r.symbol == "ETHUSDT"]
    assert {(r.by, r.reason) for r in refused} == {("validator", "RISK_LIMIT")}


def test_a_lost_day_is_known_to_the_desk(tapes: Callable[[str], Tape]) -> None:
    params = dataclasses.replace(Params(), max_daily_loss=1e-4)
    costs = Costs(fee_rate=0.01, slippage_bp=0.0, fill_delay_s=0)
    run = offline.run(offline.plan(tapes("S1"), params=params, costs=costs))
    (trade,) = run.broker.trades
    assert trade.pnl < -0.1
    assert run.desk.portfolio.daily_loss_reached


def test_a_symbol_that_never_warms_up_says_so(tapes: Callable[[str], Tape]) -> None:
    tape = tapes("S1")
    run = offline.run(offline.plan(tape, to_s=tape.first_s + 1800))
    result = result_of(run)
    assert any("30 minutes" in w and "--warm-min" in w for w in result.warnings)
    assert result.sources[0].warm_from_s is None
