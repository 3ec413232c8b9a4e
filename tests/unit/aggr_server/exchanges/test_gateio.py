from __future__ import annotations

import msgspec
import pytest

from aggr_server import clock, exchanges
from aggr_server.exchanges.base import Instrument, Liquidation, Rejection, Stream, Trade, Window
from aggr_server.markets import sizes

GATE = exchanges.get("GATEIO")
SPOT = (
    b'{"time":1619093543,"channel":"spot.trades","event":"update","result":{"id":816995772,'
    b'"create_time":1619093543,"create_time_ms":"1619093543708.2642","side":"sell",'
    b'"currency_pair":"BTC_USDT","amount":"0.201","price":"121.58"}}'
)
PERPETUAL = (
    b'{"time":1545136464,"time_ms":1545136464123,"channel":"futures.trades","event":"update",'
    b'"result":[{"size":"-12.5","id":27753479,"create_time":1545136464,'
    b'"create_time_ms":1545136464123,"price":"96.4","contract":"BTC_USDT"}]}'
)
FORCED = (
    b'{"time":1786327033,"channel":"futures.public_liquidates","event":"update","result":'
    b'{"contract":"BTC_USDT","price":"0.13827","time":1786327033531,"size":-23}}'
)


def _instruments(name: str) -> dict[str, Instrument]:
    row = {"name": name, "status": "trading", "in_delisting": False}
    row |= {"type": "inverse" if name.endswith("_USD") else "direct", "quanto_multiplier": "0.0001"}
    page = GATE.instruments(msgspec.json.encode([row]))
    return {i.symbol: i for i in page.instruments}


def test_spot_and_perpetuals_share_their_symbols_but_are_told_apart() -> None:
    (spot,), (perpetual,), (forced,) = (GATE.parse(f) for f in (SPOT, PERPETUAL, FORCED))
    assert isinstance(spot, Trade)
    assert isinstance(perpetual, Trade)
    assert isinstance(forced, Liquidation)
    assert spot.wire == perpetual.wire == forced.wire == "BTC_USDT"
    assert GATE.assume(spot.wire, spot).symbol == "BTC_USDT-SPOT"
    assert GATE.assume(perpetual.wire, perpetual).symbol == "BTC_USDT"
    assert GATE.assume(forced.wire, forced).symbol == "BTC_USDT"
    assert GATE.assume("BTC_USDT-SPOT").channel == "spot"


def test_fractions_of_a_contract_arrive() -> None:
    (trade,) = GATE.parse(PERPETUAL)
    assert trade == Trade("BTC_USDT", 1545136464123, 96.4, 12.5, False, 27753479, 27753479)
    for name in ("usdt", "btc", "usd1"):
        assert GATE.channels[name].headers == {"X-Gate-Size-Decimal": "1"}
    assert not GATE.channels["spot"].headers


def test_times_of_forced_orders_may_be_seconds() -> None:
    (late,) = GATE.parse(FORCED.replace(b"1786327033531", b"1786327033"))
    assert late == Liquidation("BTC_USDT", 1786327033000, 0.13827, 23.0, False)


@pytest.mark.parametrize(
    ("name", "channel", "expected"),
    [
        ("BTC_USDT", "usdt", (0.001, 65.0)),
        ("BTC_USD1", "usd1", (0.001, 65.0)),
        ("BTC_USD", "btc", (10.0 / 65_000.0, 10.0)),
    ],
)
def test_units_of_each_settlement(name: str, channel: str, expected: tuple[float, float]) -> None:
    market = _instruments(name)[name]
    assert market.channel == channel
    assert sizes(market, 65_000.0, 10.0) == pytest.approx(expected)


def test_the_text_0_is_no_multiplier() -> None:
    row = {"name": "X_USDT", "type": "direct", "quanto_multiplier": "0", "status": "trading"}
    (market,) = GATE.instruments(msgspec.json.encode([row])).instruments
    assert market.contract_size is None


def test_subscriptions_bear_the_time_and_are_batched() -> None:
    market = GATE.assume("BTC_USDT")
    streams = [s for _ in range(60) for s in GATE.streams("usdt", market)]
    messages = [msgspec.json.decode(m.text) for m in GATE.subscriptions("usdt", streams)]
    assert [(m["channel"], len(m["payload"])) for m in messages] == [
        ("futures.trades", 50),
        ("futures.trades", 10),
        ("futures.public_liquidates", 50),
        ("futures.public_liquidates", 10),
    ]
    assert all(abs(m["time"] - clock.now_ms() / 1000) < 5 for m in messages)
    (spot,) = GATE.subscriptions("spot", [Stream(GATE.assume("BTC_USDT-SPOT"), "trades")])
    message = msgspec.json.decode(spot.text)
    assert (message["channel"], message["payload"]) == ("spot.trades", ["BTC_USDT"])


def test_pings_bear_the_time() -> None:
    assert msgspec.json.decode(GATE.ping("spot", 7)) == {"time": 7, "channel": "spot.ping"}
    assert msgspec.json.decode(GATE.ping("btc", 7)) == {"time": 7, "channel": "futures.ping"}


def test_a_refusal_of_several_blames_none_of_them() -> None:
    """One pair that does not exist keeps the others of the same message from being sent, too."""
    frame = (
        b'{"time":1,"channel":"spot.trades","event":"subscribe","payload":["X_USDT","ETH_USDT"],'
        b'"error":{"code":2,"message":"unknown currency pair: X_USDT"},"result":{"status":"fail"}}'
    )
    reason = "unknown currency pair: X_USDT"
    assert GATE.parse(frame) == (Rejection(reason, "", "trades"),)
    alone = frame.replace(b',"ETH_USDT"', b"")
    assert GATE.parse(alone) == (Rejection(reason, "X_USDT", "trades"),)


def _past(times_ms: list[int]) -> bytes:
    return msgspec.json.encode(
        [
            {"id": str(2000 - n), "create_time_ms": f"{ts_ms}.5", "side": "buy",
             "currency_pair": "BTC_USDT", "amount": "1", "price": "2"}
            for n, ts_ms in enumerate(times_ms)
        ]
    )  # fmt: skip


def test_the_past_is_walked_back_by_whole_seconds() -> None:
    market, window = GATE.assume("BTC_USDT-SPOT"), Window(100_500, 200_000)
    first = GATE.past(market, window)
    assert first is not None
    assert first.url.endswith("/spot/trades?currency_pair=BTC_USDT&from=100&to=200&limit=1000")
    page = GATE.read_past(market, window, _past([199_000 - 10 * n for n in range(1000)]))
    assert page.next is not None
    # The oldest of the page is of second 189, of which more may be left.
    assert page.next.url.endswith("&from=100&to=190&limit=1000")
    assert page.trades[0] == Trade("BTC_USDT", 199_000, 2.0, 1.0, True, "2000", 2000)
    assert GATE.read_past(market, window, _past([150_000])).next is None
    assert (
        GATE.read_past(market, window, _past([110_000 - 10 * n for n in range(1000)])).next is None
    )


def test_what_a_page_cannot_hold_is_said_to_be_missing() -> None:
    window = Window(100_000, 200_000)
    past = GATE.read_past(GATE.assume("BTC_USDT-SPOT"), window, _past([150_900] * 1000))
    assert past.next is None
    assert past.since_ms == 151_000


def test_a_page_in_the_wrong_order_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="newest first"):
        GATE.read_past(
            GATE.assume("BTC_USDT-SPOT"), Window(0, 1), _past([100_000 + n for n in range(1000)])
        )


def test_the_past_of_perpetuals_tells_seconds() -> None:
    body = (
        b'[{"size":2,"id":2522911,"create_time_ms":1634673380.182,"create_time":1634673380.182,'
        b'"contract":"BTC_USDT","price":"2.10486"}]'
    )
    past = GATE.read_past(GATE.assume("BTC_USDT"), Window(0, 1), body)
    assert past.trades == [Trade("BTC_USDT", 1634673380182, 2.10486, 2.0, True, 2522911, 2522911)]
