from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from aggr_server.exchanges.base import Adapter
from aggr_server.recordings import RecordingError, market_named, market_of, merged

HEAD = "ts_ms,price,size_base,side,trade_id\n"


@pytest.mark.parametrize(
    ("name", "market"),
    [
        ("BINANCE-SPOT_BTCUSDT_20240808.csv.gz", "BINANCE:btcusdt"),
        ("BINANCE-USDM_ETHUSDT_20240808.csv.gz", "BINANCE_FUTURES:ethusdt"),
        ("BINANCE-COINM_BTCUSD-PERP_20240808.csv.gz", "BINANCE_FUTURES:btcusd_perp"),
        ("BINANCE_FUTURES_BTCUSDT_x.csv", "BINANCE_FUTURES:btcusdt"),
        ("OKX_BTC-USDT-SWAP_1.csv", "OKEX:BTC-USDT-SWAP"),
        ("BYBIT_BTCUSDT-SPOT.csv.gz", "BYBIT:BTCUSDT-SPOT"),
    ],
)
def test_a_file_name_tells_the_market(name: str, market: str) -> None:
    adapter, instrument = market_of(Path("somewhere") / name)
    assert isinstance(adapter, Adapter)
    assert adapter.market(instrument) == market


def test_a_name_that_tells_nothing_asks_for_the_market() -> None:
    with pytest.raises(RecordingError, match=r"give --market EXCHANGE:symbol"):
        market_of(Path("trades.csv.gz"))
    adapter, instrument = market_named("OKX:BTC-USDT")
    assert adapter.market(instrument) == "OKEX:BTC-USDT"
    for wrong in ("OKX", "FTX:BTC-PERP"):
        with pytest.raises(RecordingError, match="--market"):
            market_named(wrong)


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    first.write_text(HEAD + "1,10.5,2,buy,x1\n5,11,2,sell,x2\n")
    second.write_bytes(gzip.compress((HEAD + "3,20,1,buy,y1\n").encode()))
    trades = list(merged([first, second]))
    assert [(t.ts_ms, t.file, t.id) for t in trades] == [(1, 0, "x1"), (3, 1, "y1"), (5, 0, "x2")]
    assert (trades[0].price, trades[0].size_base, trades[0].is_buy) == (10.5, 2.0, True)
    assert not trades[2].is_buy


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n1,2\n", "no column price, side, size_base, trade_id, ts_ms"),
        (HEAD + "1,x,2,buy,1\n", "line 2: could not convert"),
        (HEAD + "1,2,2,BUY,1\n", "line 2: side 'BUY' is neither buy nor sell"),
        (HEAD + "1,2\n", "line 2"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(RecordingError, match=problem):
        list(merged([path]))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "b.csv.gz").write_bytes(b"not gzip")
    for name in ("a.csv", "b.csv.gz"):
        with pytest.raises(RecordingError, match=name):
            list(merged([tmp_path / name]))
