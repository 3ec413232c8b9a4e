from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.backtest.sources.tape import PIECE_S, SecondBars, Tape, spans, tape_of
from tests.unit.backtest.offline import PERP, SPOT

T = 1_767_225_600
DAY = 86_400


def bars(market: object, seconds: list[int], volume: float = 10.0) -> SecondBars:
    n = len(seconds)
    prices = 100.0 + np.arange(n)
    t = T + np.array(seconds)
    ones = np.full(n, volume)
    return SecondBars(market, t, prices, prices + 2, prices - 2, prices + 1, ones, ones / 2)  # type: ignore[arg-type]


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    seconds = [5, 30, 61, 200, PIECE_S - 1, PIECE_S, PIECE_S + 70]
    return tape_of(
        "BTC", "bars", [bars(PERP, seconds), bars(SPOT, [0, 100, PIECE_S + 5])], tmp_path
    )


def test_pieces_hold_every_bar_where_it_belongs(tape: Tape) -> None:
    assert (tape.first_s, tape.end_s) == (T, T + PIECE_S + 71)
    assert [m.market for m in tape.markets] == ["BINANCE:btcusdt", "BINANCE_FUTURES:btcusdt"]
    found = {
        (name, t): bar
        for columns in tape.columns(T, tape.end_s)
        for t in range(columns.from_s, columns.to_s)
        for name, bar in columns.closed(t).bars["BTC"].items()
    }
    assert len(found) == 10
    bar = found[PERP.market, T + 61]
    assert (bar.open, bar.high, bar.low, bar.close) == (102.0, 104.0, 100.0, 103.0)
    assert (bar.vbuy, bar.vsell) == (10.0, 5.0)
    assert (SPOT.market, T + PIECE_S + 5) in found


def test_a_part_of_the_time_is_cut_out(tape: Tape) -> None:
    pieces = list(tape.columns(T + 61, T + PIECE_S + 1))
    assert [(c.from_s - T, c.to_s - T) for c in pieces] == [(61, PIECE_S), (PIECE_S, PIECE_S + 1)]
    assert PERP.market in pieces[0].closed(T + 61).bars["BTC"]


def test_minutes_are_those_of_the_seconds_and_free_of_gaps(tape: Tape) -> None:
    minutes = tape.minutes_between(PERP, T, T + 300)
    assert [m.t - T for m in minutes] == [0, 60, 120, 180, 240]
    first, second, third, fourth, _ = minutes
    assert (first.open, first.high, first.low, first.close) == (100.0, 103.0, 98.0, 102.0)
    assert (first.perp_volume, first.perp_delta, first.spot_volume) == (30.0, 10.0, 15.0)
    assert (second.close, second.spot_delta) == (103.0, 5.0)
    assert third[1:9] == (0.0, 0.0, 0.0, 0.0, 103.0, 103.0, 103.0, 103.0)
    assert fourth.open == 103.0


def test_volumes_of_the_day_before_are_summed(tape: Tape) -> None:
    assert tape.volumes_before(T + 100) == {SPOT.market: 15.0, PERP.market: 45.0}


def test_what_lies_before_the_data_counts_by_its_share_of_the_day(tape: Tape) -> None:
    object.__setattr__(tape, "volumes", {PERP.market: 1000.0})
    found = tape.volumes_before(T + DAY // 4)
    assert found[PERP.market] == pytest.approx(750.0 + 7 * 15.0)
    assert tape.volumes_before(T + 2 * DAY) == {}


def test_spans_end_at_the_boundaries_of_pieces() -> None:
    assert list(spans(PIECE_S - 60, 2 * PIECE_S + 1)) == [
        (PIECE_S - 60, PIECE_S),
        (PIECE_S, 2 * PIECE_S),
        (2 * PIECE_S, 2 * PIECE_S + 1),
    ]
