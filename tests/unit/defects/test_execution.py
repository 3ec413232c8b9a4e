"""Faults in executor and backtest. The ids are those of the list of known faults."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from services.backtest.positions import Position
from services.backtest.run import Plan, Run
from services.core.records import Fill, Signal
from services.core.settings import StrategySettings
from services.strategy.block import Block
from services.strategy.engine import SymbolEngine
from services.strategy.types import Event, Second, State
from services.trading.cycle import Intake
from services.trading.fills import FillBook
from squeezeflow import rules
from squeezeflow.desk import Desk
from tests.unit.backtest import offline
from tests.unit.freqtrade.test_desk import PAIR, take
from tests.unit.freqtrade.test_rules import NOW_MS, close, entry
from tests.unit.strategy.scenarios import LEAD_S

EXECUTOR = (
    Path(__file__).parents[3] / "freqtrade" / "user_data" / "strategies" / "SqueezeFlowExecutor.py"
)


def settings_of_executor() -> dict[str, object]:
    (found,) = (
        node for node in ast.parse(EXECUTOR.read_text()).body if isinstance(node, ast.ClassDef)
    )
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in found.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def test_D66_the_executor_does_not_wait_for_candles() -> None:
    assert settings_of_executor()["process_only_new_candles"] is False
    assert settings_of_executor()["position_adjustment_enable"] is False


def test_D68_a_close_ends_the_trade_of_its_parent_only() -> None:
    assert rules.closes(close("id-1"), "id-1")
    assert not rules.closes(close("id-1"), "id-9")
    assert not rules.closes(close("id-1"), None)
    assert not rules.closes(close(None), None)


def test_D69_a_withdrawn_signal_is_gone_at_once() -> None:
    desk = Desk(dry_run=True)
    take(desk, entry())
    assert desk.entry(PAIR, NOW_MS) is not None
    take(desk, None)
    assert desk.entry(PAIR, NOW_MS) is None
    assert desk.entry_of(PAIR, rules.entry_tag("id-1")) is None


@pytest.mark.parametrize("leverage", [1.0, 2.0, 5.0])
def test_D70_the_stop_is_a_price_whatever_the_leverage(leverage: float) -> None:
    ratio = rules.stop_ratio(95.0, 100.0, is_short=False, leverage=leverage)
    assert 100.0 * (1.0 - ratio / leverage) == pytest.approx(95.0)
    assert settings_of_executor()["stoploss"] == -0.99


def test_D72_a_short_gains_when_the_price_falls_and_binds_its_margin_only() -> None:
    held = Position(
        trade_id=1,
        signal=entry(action="SHORT"),
        s=-1,
        amount=3.0,
        stake=100.0,
        leverage=3.0,
        entry_s=0,
        entry_price=100.0,
        entry_fee=0.0,
        last=90.0,
    )
    assert held.profit(90.0) == 30.0
    assert held.profit(110.0) == -30.0
    assert held.marked() == 30.0


class Evaluated:
    """Which seconds the strategy was given, one by one or in bulk, and in which state it was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[int] = []
        self.states: set[State] = set()
        step, skip = SymbolEngine.step, SymbolEngine.skip

        def stepped(engine: SymbolEngine, second: Second) -> list[Event]:
            self.states.add(engine.state)
            self.seconds.append(second.t)
            return step(engine, second)

        def skipped(engine: SymbolEngine, block: Block) -> int:
            taken = skip(engine, block)
            self.seconds += range(block.t, block.t + taken)
            return taken

        monkeypatch.setattr(SymbolEngine, "step", stepped)
        monkeypatch.setattr(SymbolEngine, "skip", skipped)

    def since(self, begin_s: int) -> list[int]:
        return [t for t in self.seconds if t >= begin_s]


FLAT_AND_HELD = {State.WATCHING, State.DIVERGENCE, State.RESET, State.IN_POSITION}


def part_of_s2(folder: Path, *, skipping: bool) -> Plan:
    """From some time before the set-up until the position of S2 is about to be closed."""
    found = offline.tape("S2", folder)
    origin = found.first_s + LEAD_S
    return offline.plan(found, from_s=origin + 900, to_s=origin + 4300, skipping=skipping)


@pytest.mark.parametrize("skipping", [False, True])
def test_D71_a_backtest_evaluates_every_second_flat_and_in_a_position(
    skipping: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = part_of_s2(tmp_path, skipping=skipping)
    evaluated = Evaluated(monkeypatch)
    done = offline.run(chosen)
    assert done.broker.trades
    assert evaluated.since(chosen.from_s) == list(range(chosen.from_s, chosen.to_s))
    if not skipping:
        assert evaluated.states >= FLAT_AND_HELD


def test_D71_the_live_desk_evaluates_every_second_flat_and_in_a_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = part_of_s2(tmp_path, skipping=False)
    wired = Run(chosen)
    (player,) = wired.players
    player.load()
    evaluated = Evaluated(monkeypatch)
    book, usual = FillBook(wired.desk, lambda: None), StrategySettings()
    intake = Intake(usual.squeezeflow_data_interval, usual.squeezeflow_run_interval)
    for t in range(chosen.from_s, chosen.to_s):
        wired._clock.now_ms = (t + 1) * 1000
        wired.desk.portfolio.update([], [], 1000.0, dry_run=True)
        for due in intake.add(player.closed(t)):
            wired.desk.second(due)
        fresh, wired.ledger.fresh = wired.ledger.fresh, []
        for signal in fresh:
            assert book.apply(opened(signal, t))
    assert evaluated.since(chosen.from_s) == list(range(chosen.from_s, chosen.to_s))
    assert evaluated.states >= FLAT_AND_HELD


def opened(signal: Signal, t: int) -> Fill:
    return Fill(
        event="opened",
        signal_id=signal.signal_id,
        symbol=signal.symbol,
        pair=signal.pair,
        side="long",
        ts_ms=t * 1000,
        trade_id=1,
        price=signal.entry_price,
    )
