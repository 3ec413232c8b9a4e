"""Faults in how data are read and summed. The ids are those of the list of known faults."""

from __future__ import annotations

import time

import pytest

from aggr_server.wire import Bar, ClosedSecond, Kind, Market
from services.core.settings import StrategySettings
from services.influx_signal_manager import iso
from services.market.aggregate import Aggregator
from services.market.assemble import SETTLE_MS, Assembler
from services.market.markets import Directory
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.run import run
from services.strategy.types import Second, State, Transition
from services.trading.app import strategy_params
from tests.unit.strategy.conftest import events_of, market_of
from tests.unit.strategy.scenarios import LEAD_S

T = 1_200_000


def bar(name: str, buy: float, sell: float, price: float = 100.0, t: int = T) -> Bar:
    return Bar(t, name, price, price, price, price, buy, sell, 1, 1, 0.0, 0.0)


def aggregator(spot: int, perp: int) -> Aggregator:
    kinds: list[Kind] = ["spot" if i < spot else "perp" for i in range(spot + perp)]
    markets = [Market(f"V{i}:btc", f"V{i}", "BTC", "USDT", kind) for i, kind in enumerate(kinds)]
    return Aggregator(markets, f"V{spot}")


@pytest.mark.parametrize(("spot", "perp"), [(1, 1), (5, 1), (1, 5)])
def test_D1_the_classes_can_move_in_opposite_directions(spot: int, perp: int) -> None:
    """However many markets of each class there are."""
    rows = {f"V{i}:btc": bar(f"V{i}:btc", 3.0, 1.0) for i in range(spot)}
    rows |= {f"V{i}:btc": bar(f"V{i}:btc", 1.0, 4.0) for i in range(spot, spot + perp)}
    found = aggregator(spot, perp).second(T, rows)
    assert found is not None
    assert (found.spot_delta, found.perp_delta) == (2.0 * spot, -3.0 * perp)


def test_D2_every_market_counts() -> None:
    rows = {f"V{i}:btc": bar(f"V{i}:btc", 2.0, 1.0) for i in range(60)}
    found = aggregator(30, 30).second(T, rows)
    assert found is not None
    assert (found.spot_volume, found.perp_volume) == (90.0, 90.0)


def test_D3_prices_of_markets_are_not_mixed() -> None:
    rows = {"V0:btc": bar("V0:btc", 1, 1, 90.0), "V1:btc": bar("V1:btc", 1, 1, 100.0)}
    rows["V2:btc"] = bar("V2:btc", 1, 1, 250.0)
    found = aggregator(1, 2).second(T, rows)
    assert found is not None
    assert (found.open, found.high, found.low, found.close) == (100.0,) * 4


def test_D4_the_level_does_not_move_with_the_window() -> None:
    early, late = SymbolEngine("BTC"), SymbolEngine("BTC")
    for second in market_of("S1").seconds(0, 3000):
        early.step(second)
        if second.t - market_of("S1").start == 999:
            epoch = (early.epoch, second.t, early.c_spot, early.c_perp)
        if second.t - market_of("S1").start >= 900:
            late.step(second)
    late.anchor(*epoch)
    assert late.c_spot == pytest.approx(early.c_spot, rel=1e-9)
    assert late.c_perp == pytest.approx(early.c_perp, rel=1e-9)


def test_D5_times_are_utc_whatever_the_zone_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert iso(0) == "1970-01-01T00:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_D6_a_second_that_still_forms_is_not_used() -> None:
    a = Assembler(lambda _: "BTC")
    a.start_at(T)
    a.merge([bar("V0:btc", 1.0, 0.0)])
    assert a.take((T + 1) * 1000 + SETTLE_MS - 1) == []
    a.offer(ClosedSecond("c", "e", 1, T, 0, None, []))
    assert [closed.t for closed in a.take(0)] == [T]


def test_D7_the_axis_has_no_gaps() -> None:
    a = aggregator(1, 1)
    a.second(T, {"V1:btc": bar("V1:btc", 2, 1)})
    quiet = a.second(T + 1, {})
    assert quiet is not None
    assert (quiet.close, quiet.perp_delta) == (100.0, 0.0)
    engine = SymbolEngine("BTC")
    engine.step(Second(T, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="does not follow"):
        engine.step(Second(T + 2, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0))


def test_D8_D36_windows_are_seconds_whatever_the_candles() -> None:
    engine = SymbolEngine("BTC", Params(pattern_s=60))
    found = list(run(engine, market_of("S1").seconds(0, LEAD_S + 2940)))
    moves = [(e.t, e.state) for e in found if isinstance(e, Transition)]
    expected = [(e.t, e.state) for e in events_of("S1") if isinstance(e, Transition)]
    assert moves[-1][1] is State.RESET
    assert moves == expected[: len(moves)]


def test_D9_an_unknown_market_is_not_spot() -> None:
    directory = Directory({"BTC"})
    assert directory.base_of("NEW:btcusd") is None
    directory.update([Market("NEW:btcusd-0626", "NEW", "BTC", "USD", "future")])
    assert directory.base_of("NEW:btcusd-0626") is None
    assert directory.of_base("BTC") == []


def test_D10_there_is_one_lookback() -> None:
    assert Params().lookback_s == 4 * 3600
    assert strategy_params(StrategySettings()).lookback_s == Params().lookback_s
