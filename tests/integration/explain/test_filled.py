"""A decision that rested on minutes filled from candles."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core.settings import StrategySettings
from services.explain import decision
from services.explain.decision import explain
from services.explain.page import document
from services.explain.text import text
from services.influx_signal_manager import iso
from tests.integration.trading import harness
from tests.integration.trading.candles import FIRST, SPLIT, signal_on_candles
from tests.integration.trading.harness import Tape


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    monkeypatch.setattr(harness, "SPLIT", SPLIT)
    return Tape("S5")


async def test_a_signal_on_filled_minutes_comes_out_the_same_and_they_are_named(
    connections: Connections,
    influx: InfluxClient,
    tmp_path: Path,
    tape: Tape,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signal = await signal_on_candles(connections, influx, tape, tmp_path)
    first_minute = (tape.start + FIRST) // 60 * 60
    now_s = int(time.time())
    found = await explain(influx, StrategySettings(), signal.signal_id, now_s)
    assert found.comparison.verdict == "same", text(found)
    filled = found.rebuilt.filled
    assert filled == tuple(range(tape.start, first_minute, 60))
    assert f"{len(filled)} backfilled minutes" in signal.reasoning
    span = f"{iso(tape.start * 1000)[:16]} to {iso(first_minute * 1000)[:16]}".replace("T", " ")
    assert span in " ".join(text(found).split())
    assert any(span in line for line in document(found).said)

    # The record says so, not today's setting: without the candles nothing comes out.
    chosen = msgspec.structs.replace(StrategySettings(), squeezeflow_backfill=True)
    again = await explain(influx, chosen, signal.signal_id, now_s)
    assert again.comparison.verdict == "same"
    monkeypatch.setattr(decision, "on_candles", lambda *_: False)
    without = await explain(influx, StrategySettings(), signal.signal_id, now_s)
    assert without.comparison.verdict == "different"
    assert "minutes were filled from candles then, 0 are now" in " ".join(without.comparison.causes)
