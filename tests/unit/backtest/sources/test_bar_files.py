from __future__ import annotations

from pathlib import Path

import pytest

from services.backtest.errors import BacktestError
from services.backtest.sources import bar_files
from services.backtest.sources.tape import SecondBars

T = 1_767_225_600
ROW = f"{T},BINANCE:btcusdt,100,102,99,101,10,20,1,2,0,0"


def read(path: Path, *bases: str) -> tuple[list[SecondBars], list[str]]:
    return bar_files.load([path], bases or ("BTC",))


def write(folder: Path, *lines: str, header: str = bar_files.HEADER) -> Path:
    path = folder / "bars.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def test_a_bar_keeps_its_values(tmp_path: Path) -> None:
    (bars,), notes = read(write(tmp_path, ROW))
    assert notes == []
    assert (bars.market.market, bars.market.kind) == ("BINANCE:btcusdt", "spot")
    values = (bars.open, bars.high, bars.low, bars.close, bars.buy, bars.sell)
    assert [v.tolist() for v in values] == [[100.0], [102.0], [99.0], [101.0], [10.0], [20.0]]


def test_markets_and_seconds_may_come_mixed_and_the_last_bar_of_a_second_counts(
    tmp_path: Path,
) -> None:
    perp = "BINANCE_FUTURES:btcusdt"
    path = write(
        tmp_path,
        ROW.replace(str(T), str(T + 5)),
        f"{T},{perp},1,1,1,1,5,0,1,0,0,0",
        ROW,
        ROW.replace(",10,20,", ",11,22,"),
    )
    spot, futures = read(path)[0]
    assert spot.t.tolist() == [T, T + 5]
    assert spot.buy.tolist() == [11.0, 10.0]
    assert futures.market.market == perp


def test_a_second_with_liquidations_alone_is_no_bar(tmp_path: Path) -> None:
    (bars,), _ = read(write(tmp_path, ROW, f"{T + 1},BINANCE:btcusdt,1,1,1,1,0,0,0,0,5,5"))
    assert bars.t.tolist() == [T]


def test_markets_of_other_symbols_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, ROW, ROW.replace("btcusdt", "ethusdt"))
    bars, notes = read(path)
    assert len(bars) == 1
    assert notes == ["markets of other symbols left out: BINANCE:ethusdt"]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (ROW.replace(",102,", ",98,"), "do not fit together"),
        (ROW.replace(",10,20,", ",-1,20,"), "negative"),
        (ROW.replace(",10,20,", ",inf,20,"), "not finite"),
        (ROW.replace(str(T), str(T * 1000)), "no UTC second"),
        (f"{T},BINANCE:btcusdt,100", "3 columns"),
        (ROW.replace(",100,", ",abc,"), "abc"),
    ],
)
def test_a_bad_line_is_named_and_left_out(line: str, cause: str, tmp_path: Path) -> None:
    (bars,), (note,) = read(write(tmp_path, ROW, line))
    assert bars.t.tolist() == [T]
    assert "line 3: " in note
    assert cause in note


def test_line_protocol_is_read_whatever_the_precision(tmp_path: Path) -> None:
    fields = "open=100,high=102,low=99,close=101,vbuy=10,vsell=20,cbuy=1i,csell=2i,lbuy=0,lsell=0"
    lines = [
        f"trades_1s,market=BINANCE:btcusdt {fields} {t}"
        for t in (T, (T + 1) * 1000, (T + 2) * 10**9)
    ]
    lines.append(f"trades_1s,market=BINANCE:btcusdt lbuy=5,lsell=0 {T + 3}")
    path = tmp_path / "dump.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (bars,), notes = read(path)
    assert notes == []
    assert bars.t.tolist() == [T, T + 1, T + 2]
    assert bars.sell.tolist() == [20.0] * 3


def test_an_unknown_exchange_is_named(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match="NOSUCH"):
        read(write(tmp_path, ROW.replace("BINANCE", "NOSUCH")))


def test_a_file_without_the_columns_says_which_are_missing(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match="no column vbuy, vsell"):
        read(write(tmp_path, header="time,market,open,high,low,close"))
