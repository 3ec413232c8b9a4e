from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from aggr_server.wire import Gap
from services.backtest.errors import BacktestError
from services.backtest.sources.material import Material, Wanted, from_files
from services.market.symbols import symbol_of
from tests.unit.backtest.sources.test_bar_files import T, write

SPOT, PERP = "BINANCE:btcusdt", "BINANCE_FUTURES:btcusdt"


def row(market: str, second: int, volume: float = 10.0) -> str:
    return f"{T + second},{market},100,102,99,101,{volume},20,1,2,0,0"


def wanted(path: Path, *bases: str, **fields: object) -> Wanted:
    made = Wanted(bases or ("BTC",), None, None, "BINANCE_FUTURES", bars=(path,))
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


def material(folder: Path, *rows: str, **fields: object) -> Material:
    return from_files(wanted(write(folder, *rows), **fields), folder)


def test_files_give_a_tape_over_their_whole_time(tmp_path: Path) -> None:
    found = material(tmp_path, row(SPOT, 0), row(PERP, 30))
    (tape,) = found.tapes
    assert (found.from_s, found.to_s) == (T, T + 31)
    assert found.execution["BTC"].market == PERP
    assert tape.files == ("bars.csv",)
    assert symbol_of(tape.base) == "BTCUSDT"


def test_what_is_missing_for_a_full_score_is_said(tmp_path: Path) -> None:
    notes = material(tmp_path, row(SPOT, 0), row(PERP, 0)).notes
    assert any("no open interest of BTC" in note for note in notes)
    assert any("funding" in note for note in notes)


@pytest.mark.parametrize(("market", "lacking"), [(SPOT, "perpetual"), (PERP, "spot")])
def test_one_class_alone_is_refused(market: str, lacking: str, tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match=f"no {lacking} market, only {market}"):
        material(tmp_path, row(market, 0))


def test_a_symbol_the_files_do_not_hold_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, row(SPOT, 0), row(PERP, 0))
    with pytest.raises(BacktestError, match="no market of ETH in the files; they hold BTC"):
        from_files(wanted(path, "BTC", "ETH"), tmp_path)


def test_a_time_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match="nothing of it lies between --from and --to"):
        material(tmp_path, row(SPOT, 0), row(PERP, 0), from_s=T + 3600)


def test_the_largest_perpetual_executes_where_the_usual_exchange_has_none(tmp_path: Path) -> None:
    found = material(
        tmp_path, row(SPOT, 0), row("BYBIT:BTCUSDT", 0, 500.0), row("OKEX:BTC-USDT-SWAP", 0, 5.0)
    )
    assert found.execution["BTC"].market == "BYBIT:BTCUSDT"
    assert any("BYBIT:BTCUSDT executes instead" in note for note in found.notes)


def test_a_market_recorded_for_a_part_of_the_time_is_unknown_in_the_rest(tmp_path: Path) -> None:
    found = material(tmp_path, row(SPOT, 0), row(SPOT, 600), row(PERP, 0), row(PERP, 120))
    assert found.tapes[0].gaps == (Gap(PERP, T + 121, T + 601, "not recorded"),)
    assert any(f"{PERP}: recorded over 2.0 of 10.0 minutes" in note for note in found.notes)
    assert any(f"{PERP} executes, but is recorded over" in note for note in found.notes)


def test_trades_and_bars_of_one_market_do_not_mix(recordings: Path, tmp_path: Path) -> None:
    trades = [str(path) for path in sorted(recordings.glob("*.csv"))]
    path = write(tmp_path, f"{T},BINANCE:trxusdt,1,1,1,1,1,1,1,1,0,0")
    with pytest.raises(BacktestError, match="given as trades and as bars"):
        from_files(wanted(path, "TRX", trades=tuple(trades)), tmp_path)


def test_a_quote_that_is_no_dollar_takes_no_part(tmp_path: Path) -> None:
    found = material(tmp_path, row(SPOT, 0), row(PERP, 0), row("BINANCE:btceur", 0))
    assert [m.market for m in found.tapes[0].markets] == [SPOT, PERP]
