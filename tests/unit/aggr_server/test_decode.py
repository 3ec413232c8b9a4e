from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from aggr_server import exchanges
from aggr_server.decode import DecodedEvent, Decoder, read_instruments

FORCED = (
    '{"e":"forceOrder","E":1,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"2","p":"9",'
    '"ap":"10","X":"FILLED","l":"2","z":"2","T":5}}'
)
TRADE = (
    '{"e":"aggTrade","E":2,"s":"BTCUSD_PERP","a":7,"p":"50000","q":"3","f":1,"l":1,"T":6,"m":true}'
)
IOST = (
    '{"arg":{"channel":"trades","instId":"IOST-USDT-SWAP"},"data":[{"instId":"IOST-USDT-SWAP",'
    '"tradeId":"1","px":"0.5","sz":"4","side":"buy","ts":"9"}]}'
)


def _decode(exchange: str, *lines: str) -> tuple[list[DecodedEvent], str]:
    errors = io.StringIO()
    decoder = Decoder(exchanges.get(exchange), errors=errors)
    return list(decoder.decode(line.encode() for line in lines)), errors.getvalue()


def test_trades_and_forced_orders_with_their_sizes() -> None:
    found, errors = _decode("BINANCE_FUTURES", FORCED, TRADE)
    assert found == [
        DecodedEvent("BINANCE_FUTURES:btcusdt", 5, "sell", 10.0, 2.0, 20.0, True, None),
        DecodedEvent("BINANCE_FUTURES:btcusd_perp", 6, "sell", 50_000.0, 0.006, 300.0, False, "7"),
    ]
    assert errors == ""


def test_recorded_lines_lose_their_time_and_what_was_sent_is_left_out() -> None:
    found, errors = _decode(
        "BINANCE_FUTURES",
        "wss://fstream.binance.com/stream?streams=a <-> 1626992740.179554",
        'wss://fstream.binance.com/ws <- 1626992740.2: {"method":"SUBSCRIBE","id":1}',
        f"1626992741.06217: {TRADE}",
        "",
    )
    assert [event.id for event in found] == ["7"]
    assert errors == ""


def test_binary_frames_are_recorded_as_literals() -> None:
    frame = gzip.compress(
        b'{"ch":"market.btcusdt.trade.detail","ts":6,"tick":{"id":1,"ts":5,"data":[{"id":1,'
        b'"ts":5,"tradeId":102,"amount":0.5,"price":100.0,"direction":"buy"}]}}'
    )
    found, errors = _decode("HUOBI", f"1626992741.06217: {frame!r}", "b'\\x1f", "b'\\xzz'")
    assert [(e.market, e.side, e.price, e.size_base) for e in found] == [
        ("HUOBI:btcusdt", "buy", 100.0, 0.5)
    ]
    assert "line 3 not understood" in errors


def test_an_unknown_contract_is_warned_of_once() -> None:
    found, errors = _decode("OKX", IOST, IOST)
    assert [(e.market, e.size_base, e.notional) for e in found] == [
        ("OKEX:IOST-USDT-SWAP", None, None)
    ] * 2
    assert errors.count("\n") == 1
    assert "OKEX:IOST-USDT-SWAP" in errors


def test_a_broken_frame_is_named_and_the_rest_goes_on() -> None:
    found, errors = _decode("BINANCE_FUTURES", "rubbish", TRADE[:70], TRADE)
    assert len(found) == 1
    assert errors.startswith("decode: line 2 not understood: ")


@pytest.mark.parametrize("one_a_line", [False, True])
def test_contract_sizes_from_the_exchanges_own_list(tmp_path: Path, one_a_line: bool) -> None:
    okex = exchanges.get("OKEX")
    answer = (
        '{"code":"0","data":[{"instId":"IOST-USDT-SWAP","instType":"SWAP","uly":"IOST-USDT",'
        '"ctType":"linear","ctVal":"1000","ctMult":"1","state":"live"}]}'
    )
    path = tmp_path / "instruments.json"
    path.write_text(f"{answer}\n{answer}" if one_a_line else answer)
    decoder = Decoder(okex, read_instruments(okex, path))
    (event,) = decoder.decode([IOST.encode()])
    assert (event.size_base, event.notional) == (4000.0, 2000.0)


def test_a_file_that_is_no_instrument_list_says_where_to_get_one(tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text('{"hello": 1}')
    with pytest.raises(ValueError, match=r"not the instrument list of OKEX.*https://www.okx.com"):
        read_instruments(exchanges.get("OKEX"), path)
