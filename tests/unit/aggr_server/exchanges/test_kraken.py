from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Liquidation, Past, Request, Trade, Window
from aggr_server.markets import sizes

KRAKEN = exchanges.get("KRAKEN")
FROM_MS = 1_710_152_516_000
WINDOW = Window(FROM_MS, FROM_MS + 1000)


@pytest.mark.parametrize(
    ("wire", "symbol", "base", "quote", "kind", "inverse"),
    [
        ("BTC/USD", "XBT/USD", "BTC", "USD", "spot", False),
        ("XBT/USD", "XBT/USD", "BTC", "USD", "spot", False),
        ("DOGE/EUR", "XDG/EUR", "DOGE", "EUR", "spot", False),
        ("ETH/BTC", "ETH/XBT", "ETH", "BTC", "spot", False),
        ("PI_XBTUSD", "PI_XBTUSD", "BTC", "USD", "perp", True),
        ("FI_ETHUSD_261225", "FI_ETHUSD_261225", "ETH", "USD", "future", True),
        ("PF_XBTUSD", "PF_XBTUSD", "BTC", "USD", "perp", False),
        ("FF_XBTUSD_261225", "FF_XBTUSD_261225", "BTC", "USD", "future", False),
    ],
)
def test_markets_known_by_rule(
    wire: str, symbol: str, base: str, quote: str, kind: str, inverse: bool
) -> None:
    found = KRAKEN.assume(wire)
    assert (found.symbol, found.base, found.quote) == (symbol, base, quote)
    assert (found.kind, found.inverse) == (kind, inverse)


def test_the_wire_has_the_new_names_and_the_market_id_the_old() -> None:
    body = (
        b'{"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","status":"online"},'
        b'"XXDGZUSD":{"altname":"XDGUSD","wsname":"XDG/USD","status":"online"}}}'
    )
    found = KRAKEN.instruments(body).instruments
    assert [(KRAKEN.market(i), i.wire, i.base) for i in found] == [
        ("KRAKEN:XBT/USD", "BTC/USD", "BTC"),
        ("KRAKEN:XDG/USD", "DOGE/USD", "DOGE"),
    ]


def test_sizes_are_dollars_in_pi_and_coins_in_pf() -> None:
    assert sizes(KRAKEN.assume("PI_XBTUSD"), 40_000.0, 2_000.0) == (0.05, 2_000.0)
    assert sizes(KRAKEN.assume("PF_XBTUSD"), 40_000.0, 2.0) == (2.0, 80_000.0)


def test_spot_refuses_old_trades_and_confirms_each_symbol() -> None:
    streams = [s for n in range(60) for s in KRAKEN.streams("spot", KRAKEN.assume(f"C{n}/USD"))]
    first, second = KRAKEN.subscriptions("spot", streams)
    params = msgspec.json.decode(first.text)["params"]
    assert (params["channel"], params["snapshot"], len(params["symbol"])) == ("trade", False, 50)
    assert (first.acks, second.acks) == (50, 10)


def test_one_subscription_brings_trades_and_forced_orders() -> None:
    streams = KRAKEN.streams("futures", KRAKEN.assume("PF_XBTUSD"))
    assert [s.kind for s in streams] == ["trades", "liquidations"]
    (message,) = KRAKEN.subscriptions("futures", streams)
    assert msgspec.json.decode(message.text)["product_ids"] == ["PF_XBTUSD"]
    assert message.acks == 1


def test_spot_is_pinged_by_message_and_futures_by_frame() -> None:
    assert KRAKEN.ping("spot", 0) == '{"method":"ping"}'
    assert KRAKEN.ping("futures", 0) == ""


def test_the_old_protocol_is_not_mistaken_for_silence() -> None:
    with pytest.raises(msgspec.ValidationError, match="v1"):
        KRAKEN.parse(b'[993,[["354.11","0.89","1618678142.5","s","l",""]],"trade","XMR/USD"]')


def _spot_answer(first: int, count: int, last: str) -> bytes:
    rows = ",".join(
        f'["1.0","2.0",{1_710_152_516 + n * 0.0001:.4f},"b","m","",{n}]'
        for n in range(first, first + count)
    )
    return f'{{"error":[],"result":{{"XXBTZUSD":[{rows}],"last":"{last}"}}}}'.encode()


def test_a_full_answer_of_spot_trades_leads_on_by_its_cursor() -> None:
    instrument = KRAKEN.assume("BTC/USD")
    assert KRAKEN.past(instrument, WINDOW) == Request(
        "https://api.kraken.com/0/public/Trades?pair=XBTUSD&since=1710152515999999999&count=1000"
    )
    past = KRAKEN.read_past(instrument, WINDOW, _spot_answer(0, 1000, "1710152516099900000"))
    assert past.next is not None
    assert past.next.url.endswith("pair=XBTUSD&since=1710152516099900000&count=1000")
    past = KRAKEN.read_past(instrument, WINDOW, _spot_answer(1000, 999, "5"))
    assert past.next is None
    late = _spot_answer(20_000, 1000, "5")
    assert KRAKEN.read_past(instrument, WINDOW, late).next is None


@pytest.mark.parametrize("time", ["1e400", "-1", '"nan"', "1e9999999999"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    body = f'{{"error":[],"result":{{"X":[["1","2",{time},"b","m","",1]],"last":"1"}}}}'
    with pytest.raises(msgspec.MsgspecError):
        KRAKEN.read_past(KRAKEN.assume("BTC/USD"), WINDOW, body.encode())


@pytest.mark.parametrize("body", [b'{"error":["EGeneral:Too many requests"]}',
                                  b'{"result":"error","error":"apiLimitExceeded"}'])  # fmt: skip
def test_a_refusal_is_not_an_empty_past(body: bytes) -> None:
    wire = "PF_XBTUSD" if b"api" in body else "BTC/USD"
    with pytest.raises(msgspec.ValidationError):
        KRAKEN.read_past(KRAKEN.assume(wire), WINDOW, body)


class Venue:
    """A tape of futures trades, asked as Kraken documents: the hundred before a time."""

    def __init__(self, times: list[int]) -> None:
        self.rows = [{"time": _iso(ms), "price": 1.0, "size": 1.0, "side": "buy", "type": kind,
                      "uid": f"u{n}", "ms": ms}
                     for n, (ms, kind) in enumerate((t, "fill") for t in times)]  # fmt: skip
        self.asked = 0

    def answer(self, request: Request) -> bytes:
        self.asked += 1
        before = request.url.partition("lastTime=")[2]
        found: list[dict[str, Any]] = [r for r in self.rows if str(r["time"]) < before][-100:]
        return msgspec.json.encode({"result": "success", "history": found[::-1]})


def _iso(ms: int) -> str:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def test_futures_are_paged_back_until_the_window_is_covered() -> None:
    # Seven trades in each millisecond: pages end in the middle of one.
    venue = Venue([FROM_MS - 50 + n // 7 for n in range(1000)])
    instrument = KRAKEN.assume("PF_XBTUSD")
    request: Request | None = KRAKEN.past(instrument, WINDOW)
    found: dict[int | str, Trade] = {}
    while request is not None:
        past: Past = KRAKEN.read_past(instrument, WINDOW, venue.answer(request))
        found |= {t.id: t for t in past.trades}
        request = past.next
    inside = {r["uid"] for r in venue.rows if WINDOW.from_ms <= int(str(r["ms"])) < WINDOW.to_ms}
    assert inside <= set(found)
    assert venue.asked < 12


def test_a_liquidation_counts_twice_as_trade_and_as_forced_order() -> None:
    frame = (
        b'{"feed":"trade","product_id":"PF_XBTUSD","uid":"u","side":"sell","type":"liquidation",'
        b'"seq":119,"time":1612269825818,"qty":1.5,"price":33990.0}'
    )
    trade, forced = KRAKEN.parse(frame)
    assert trade == Trade("PF_XBTUSD", 1612269825818, 33990.0, 1.5, False, "u", 119)
    assert forced == Liquidation("PF_XBTUSD", 1612269825818, 33990.0, 1.5, False, "u")
