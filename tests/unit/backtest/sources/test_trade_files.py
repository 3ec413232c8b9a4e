from __future__ import annotations

import gzip
from collections import defaultdict
from math import fsum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggr_server.wire import Gap, Market
from services.backtest.errors import BacktestError
from services.backtest.sources import table, trade_files
from services.backtest.sources.tape import SecondBars
from services.backtest.sources.trade_files import (
    TradeFile,
    bars_of,
    load,
    ordered,
    parse_spec,
    read,
)
from tests.unit.backtest.offline import SPOT

T_MS = 1_767_225_600_000
HEADER = "ts_ms,price,size_base,side,trade_id"


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def bars(path: Path, market: Market = SPOT, *, gapless: bool = False) -> SecondBars:
    (found,), _ = load([TradeFile(path, market, gapless)])
    return found


def test_trades_become_bars_of_their_seconds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv",
        f"{T_MS},100,1,buy,1",
        f"{T_MS + 400},102,2,sell,2",
        f"{T_MS + 999},101,0.5,buy,3",
        f"{T_MS + 3000},99,1,sell,4",
    )
    found = bars(path)
    assert found.t.tolist() == [T_MS // 1000, T_MS // 1000 + 3]
    assert found.open.tolist() == [100.0, 99.0]
    assert found.high.tolist() == [102.0, 99.0]
    assert found.low.tolist() == [100.0, 99.0]
    assert found.close.tolist() == [101.0, 99.0]
    assert found.buy.tolist() == [150.5, 0.0]
    assert found.sell.tolist() == [204.0, 99.0]


def test_order_in_the_file_does_not_matter_and_ids_decide_within_a_millisecond(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "t.csv",
        f"{T_MS + 5},103,1,buy,12",
        f"{T_MS},101,1,buy,11",
        f"{T_MS},100,1,buy,10",
    )
    found = bars(path)
    assert (found.open[0], found.close[0]) == (100.0, 103.0)


def test_a_trade_told_twice_counts_once(tmp_path: Path) -> None:
    one = write(tmp_path / "1.csv", f"{T_MS},100,1,buy,1", f"{T_MS + 10},100,1,buy,2")
    two = write(tmp_path / "2.csv", f"{T_MS + 10},100,1,buy,2", f"{T_MS + 20},100,1,buy,3")
    (found,), notes = load([TradeFile(one, SPOT, False), TradeFile(two, SPOT, False)])
    assert found.buy[0] == 300.0
    assert notes == ["BINANCE:btcusdt: 1 trades with a known id left out"]


def test_ids_need_not_be_numbers(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv", f"{T_MS},100,1,buy,a-1", f"{T_MS},100,1,buy,a-1", f"{T_MS},100,1,sell,b"
    )
    found = bars(path)
    assert (found.buy[0], found.sell[0]) == (100.0, 100.0)


BAD = {
    "1767225600,100,1,buy,5": "no time in milliseconds",
    f"{T_MS},abc,1,buy,5": "abc",
    f"{T_MS},nan,1,buy,5": "not above 0",
    f"{T_MS},100,-1,buy,5": "not above 0",
    f"{T_MS},100,1,bought,5": "neither buy nor sell",
    f"{T_MS},100": "2 columns, 5 are needed",
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_is_counted_and_named_and_the_rest_is_used(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f"{T_MS},100,1,buy,1", line, f"{T_MS},100,1,sell,2")
    rows, flaws = read(path)
    assert len(rows) == 2
    assert flaws.count == 1
    assert "t.csv: 1 bad lines left out (line 3: " in flaws.text()
    assert BAD[line] in flaws.text()


def test_only_the_first_bad_lines_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f"{T_MS},100,1,buy,1", *["nonsense"] * 10)
    _, flaws = read(path)
    assert flaws.count == 10
    assert flaws.text().count("line ") == 3
    assert "and 7 more" in flaws.text()


def test_a_file_in_many_chunks_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "CHUNK_LINES", 7)
    lines = [f"{T_MS + i * 1000},100,1,buy,{i}" for i in range(100)]
    lines[50] = "broken"
    rows, flaws = read(write(tmp_path / "t.csv", *lines))
    assert len(rows) == 99
    assert flaws.named == ["line 52: 1 columns, 5 are needed"]


def test_gzip_is_recognised_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(f"{HEADER}\n{T_MS},100,1,buy,1\n".encode()))
    assert bars(path).buy.tolist() == [100.0]


def test_a_cut_off_gzip_gives_what_it_holds(tmp_path: Path) -> None:
    lines = "".join(f"{T_MS + i},{100 + i % 7},1,buy,{i}\n" for i in range(5000))
    data = gzip.compress(f"{HEADER}\n{lines}".encode())
    path = tmp_path / "t.csv.gz"
    path.write_bytes(data[: len(data) // 2])
    rows, flaws = read(path)
    assert 0 < len(rows) < 5000
    assert "cut off" in flaws.text()


def test_other_columns_and_another_order_are_fine(tmp_path: Path) -> None:
    header = "trade_id,extra,side,size_base,price,ts_ms"
    path = write(tmp_path / "t.csv", f"7,x,sell,2,50,{T_MS}", header=header)
    assert bars(path).sell.tolist() == [100.0]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("ts,price,size,side,id\n1,2,3,buy,4\n", "no column ts_ms, size_base, trade_id"),
        (HEADER + "\n", "no usable trade"),
        ("", "no column"),
    ],
)
def test_an_unusable_file_is_named_with_its_cause(content: str, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BacktestError, match=cause) as raised:
        bars(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match="No such file"):
        read(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("text", "market", "kind"),
    [
        ("BINANCE-SPOT_TRXUSDT_20250304.csv.gz", "BINANCE:trxusdt", "spot"),
        ("/a/b/BINANCE-USDM_BTCUSDT_20240808.csv.gz", "BINANCE_FUTURES:btcusdt", "perp"),
        ("BINANCE-COINM_ETHUSD-PERP_20240808.csv", "BINANCE_FUTURES:ethusd_perp", "perp"),
        ("BINANCE:btcusdt=/a/x=y.csv", "BINANCE:btcusdt", "spot"),
        ("BYBIT:BTCUSDT=x.csv", "BYBIT:BTCUSDT", "perp"),
    ],
)
def test_the_market_is_told_by_the_option_or_the_file_name(
    text: str, market: str, kind: str
) -> None:
    spec = parse_spec(text)
    assert (spec.market.market, spec.market.kind) == (market, kind)


@pytest.mark.parametrize("text", ["trades.csv", "NOSUCH:btc=trades.csv", "dir:x/trades.csv"])
def test_an_unknown_market_asks_for_one(text: str) -> None:
    with pytest.raises(BacktestError, match="write --trades EXCHANGE:symbol=FILE"):
        parse_spec(text)


def test_a_jump_in_the_ids_is_a_gap_where_ids_count_trades(tmp_path: Path) -> None:
    lines = [f"{T_MS + i * 100},100,1,buy,{i}" for i in range(50)]
    lines += [f"{T_MS + 20_000 + i * 100},100,1,buy,{i + 60}" for i in range(50)]
    path = write(tmp_path / "t.csv", *lines)
    second = T_MS // 1000
    assert bars(path, gapless=True).gaps == (
        Gap("BINANCE:btcusdt", second + 4, second + 21, "recording"),
    )
    assert bars(path).gaps == ()


def test_ids_that_jump_all_the_time_count_something_else(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", *(f"{T_MS + i},100,1,buy,{i * 3}" for i in range(50)))
    assert bars(path, gapless=True).gaps == ()


def test_recorded_trades_are_read(recordings: Path) -> None:
    specs = [parse_spec(str(path)) for path in sorted(recordings.glob("*.csv"))]
    perp, spot = load(specs)[0]
    assert (perp.market.kind, spot.market.kind) == ("perp", "spot")
    assert perp.market.base == spot.market.base == "TRX"
    text = (recordings / "BINANCE-SPOT_TRXUSDT_20250304.csv").read_text(encoding="utf-8")
    rows = [line.split(",") for line in text.splitlines()[1:]]
    bought = fsum(float(r[1]) * float(r[2]) for r in rows if r[3] == "buy")
    assert len(rows) == 300
    assert spot.buy.sum() == pytest.approx(bought, rel=1e-12)


trades = st.lists(
    st.tuples(
        st.integers(0, 20_000),
        st.floats(1e-4, 1e5),
        st.floats(1e-6, 1e4),
        st.booleans(),
    ),
    min_size=1,
    max_size=80,
)


@given(trades)
def test_bars_hold_exactly_the_trades_of_their_seconds(
    made: list[tuple[int, float, float, bool]],
) -> None:
    rows = np.array(
        [
            (T_MS + at, price, size, "buy" if buy else "sell", str(i))
            for i, (at, price, size, buy) in enumerate(made)
        ],
        trade_files._ROW,
    )
    found = bars_of(SPOT, ordered(rows))
    by_second: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, (at, *_) in enumerate(made):
        by_second[(T_MS + at) // 1000].append((at, i))
    assert found.t.tolist() == sorted(by_second)
    for k, t in enumerate(found.t.tolist()):
        inside = [made[i] for _, i in sorted(by_second[t])]
        prices = [price for _, price, _, _ in inside]
        assert (found.open[k], found.close[k]) == (prices[0], prices[-1])
        assert (found.high[k], found.low[k]) == (max(prices), min(prices))
        for side, values in ((True, found.buy), (False, found.sell)):
            exact = fsum(price * size for _, price, size, buy in inside if buy is side)
            assert values[k] == pytest.approx(exact, rel=1e-12, abs=0.0)
