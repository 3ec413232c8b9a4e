"""Faults in executor and backtest. The ids are those of the list of known faults."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from services.backtest.positions import Position
from squeezeflow import rules
from squeezeflow.desk import Desk
from tests.unit.freqtrade.test_desk import PAIR, take
from tests.unit.freqtrade.test_rules import NOW_MS, close, entry

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
