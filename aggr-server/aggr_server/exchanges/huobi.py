"""HTX, once Huobi: spot, swaps and dated futures. https://www.htx.com/en-us/opend/newApiPages/"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aggr_server.exchanges import huobi_frames
from aggr_server.exchanges.base import (
    Adapter,
    Channel,
    Event,
    Instrument,
    Liquidation,
    Page,
    Past,
    Request,
    Stream,
    Subscription,
    Trade,
    Window,
    coin,
    encode,
    split_pair,
)

_HOST = "https://api.hbdm.com"
_DISCOVERY = (
    "https://api.huobi.pro/v1/settings/common/symbols",
    f"{_HOST}/linear-swap-api/v1/swap_contract_info",
    f"{_HOST}/swap-api/v1/swap_contract_info",
    f"{_HOST}/api/v1/contract_contract_info",
)
_RECENT_COUNT = 2000
_RECENT = {
    "spot": "https://api.huobi.pro/market/history/trade?symbol={}&size={}",
    "linear": f"{_HOST}/linear-swap-ex/market/history/trade?contract_code={{}}&size={{}}",
    "swap": f"{_HOST}/swap-ex/market/history/trade?contract_code={{}}&size={{}}",
    "dated": f"{_HOST}/market/history/trade?symbol={{}}&size={{}}",
}
_LISTED = 1
_DATES = {"this_week": "CW", "next_week": "NW", "quarter": "CQ", "next_quarter": "NQ"}
_QUOTES = ("USDT", "USDC", "USDD", "TUSD", "USD", "BTC", "ETH", "HUSD", "TRX", "EUR", "TRY")
_INVERSE_SIZE = {"BTC": 100.0}
_LINEAR_SIZE = {"BTC": 0.001}


class _PastSpotTrade(msgspec.Struct, gc=False, rename={"trade_id": "trade-id"}):
    trade_id: int
    ts: int
    amount: float
    price: float
    direction: huobi_frames.Side


class _PastSpotTick(msgspec.Struct, gc=False):
    data: list[_PastSpotTrade]


class _PastSpot(msgspec.Struct, rename={"err_msg": "err-msg"}):
    status: str
    data: list[_PastSpotTick] = []
    err_msg: str = ""


class _PastContracts(msgspec.Struct, rename={"err_msg": "err-msg"}):
    status: str
    data: list[huobi_frames.ContractTick] = []
    err_msg: str = ""


class _Row(msgspec.Struct):
    """A spot symbol (`sc`, `bc`, `qc`, `state`) or a contract (the rest)."""

    sc: str = ""
    bc: str = ""
    qc: str = ""
    state: str = ""
    symbol: str = ""
    contract_code: str = ""
    contract_type: str = ""
    contract_size: float | None = None
    contract_status: int = 0


class _Rows(msgspec.Struct, rename={"err_msg": "err-msg"}):
    status: str
    data: list[_Row] = []
    err_msg: str = ""


_past_spot = msgspec.json.Decoder(_PastSpot)
_past_contracts = msgspec.json.Decoder(_PastContracts)
_rows = msgspec.json.Decoder(_Rows)


def _market(path: str) -> Channel:
    return Channel(url=f"wss://api.hbdm.com/{path}", max_streams=100)


def _forced(path: str, instruments_of: str) -> Channel:
    return Channel(
        url=f"wss://api.hbdm.com/{path}",
        max_streams=100,
        carries=("liquidations",),
        instruments_of=instruments_of,
    )


class Huobi(Adapter):
    """Spot: sizes in base coins. Contracts: linear of some coins, inverse of some dollars.

    Unconfirmed: that trades of contracts count the buyer and the seller, so that they are halved
    (the documentation says so, and all recorded sizes are even), and that forced orders do not;
    how many subscriptions one connection may carry.
    """

    name = "HUOBI"
    aliases = ("HTX", "HUOBI_FUTURES")
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://api.huobi.pro/ws", max_streams=100),
        "linear": _market("linear-swap-ws"),
        "swap": _market("swap-ws"),
        "dated": _market("ws"),
        "linear-liquidations": _forced("linear-swap-notification", "linear"),
        "swap-liquidations": _forced("swap-notification", "swap"),
    }
    discovery = tuple(Request(url) for url in _DISCOVERY)
    message_spacing_s = 0.05

    def instruments(self, body: bytes) -> Page:
        """`{"status":"ok","data":[{"sc":"btcusdt","bc":"btc","qc":"usdt","state":"online"}]}`,
        `{"status":"ok","data":[{"symbol":"BTC","contract_code":"BTC-USDT","contract_size":0.001,
        "contract_status":1,"contract_type":"swap","business_type":"swap"}]}`
        """
        answer = _rows.decode(body)
        _check(answer.status, answer.err_msg)
        found = (_instrument(row) for row in answer.data)
        return Page([instrument for instrument in found if instrument])

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        return [Subscription(_subscribe(s)) for s in streams]

    def parse(self, frame: bytes) -> Sequence[Event]:
        return huobi_frames.parse(frame)

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """`btcusdt` spot, `BTC-USDT` linear, `BTC-USD` inverse, `BTC_CQ` inverse and dated."""
        base, dash, quote = wire.partition("-")
        if dash and quote != "USD":
            return _contract("linear", wire, base, quote, _LINEAR_SIZE.get(base))
        if dash:
            return _contract("swap", wire, base, "USD", _INVERSE_SIZE.get(base, 10.0))
        base, line, _ = wire.partition("_")
        if line:
            return _contract("dated", wire, base, "USD", _INVERSE_SIZE.get(base, 10.0))
        base, quote = split_pair(wire.upper(), _QUOTES)
        return _spot(wire, base, quote)

    def past(self, instrument: Instrument, window: Window) -> Request:
        return Request(_RECENT[instrument.channel].format(instrument.wire, _RECENT_COUNT))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"status":"ok","ch":"market.btcusdt.trade.detail","ts":1583497692365,"data":[{
        "id":105005170342,"ts":1583497692182,"data":[{"amount":0.010411,"trade-id":102090736910,
        "ts":1583497692182,"id":10500517034273194594947,"price":9096.05,"direction":"sell"}]}]}`

        The newest only; of the oldest millisecond among them some may be missing.
        """
        if instrument.channel == "spot":
            spot = _past_spot.decode(body)
            _check(spot.status, spot.err_msg)
            trades = huobi_frames.ordered(
                Trade(
                    instrument.wire,
                    t.ts,
                    t.price,
                    t.amount,
                    t.direction == "buy",
                    t.trade_id,
                    t.trade_id,
                )
                for tick in spot.data
                for t in tick.data
            )
        else:
            contracts = _past_contracts.decode(body)
            _check(contracts.status, contracts.err_msg)
            rows = (t for tick in contracts.data for t in tick.data)
            trades = huobi_frames.ordered(
                huobi_frames.contract_trade(instrument.wire, t) for t in rows
            )
        return Past(trades, since_ms=trades[0].ts_ms + 1 if trades else window.to_ms)


def _subscribe(stream: Stream) -> str:
    wire = stream.instrument.wire
    if stream.kind == "trades":
        return encode({"sub": f"market.{wire}.trade.detail", "id": wire})
    return encode({"op": "sub", "cid": wire, "topic": f"public.{wire}.liquidation_orders"})


def _check(status: str, text: str) -> None:
    if status != "ok":
        raise msgspec.ValidationError(f"status {status}: {text}")


def _spot(wire: str, base: str, quote: str) -> Instrument:
    return Instrument(
        symbol=wire, wire=wire, base=coin(base), quote=quote.upper(), kind="spot", channel="spot"
    )


def _contract(channel: str, wire: str, base: str, quote: str, size: float | None) -> Instrument:
    return Instrument(
        symbol=wire,
        wire=wire,
        base=coin(base),
        quote=quote,
        kind="future" if channel == "dated" else "perp",
        channel=channel,
        inverse=channel != "linear",
        contract_size=size,
    )


def _instrument(row: _Row) -> Instrument | None:
    if row.sc:
        return _spot(row.sc, row.bc, row.qc) if row.state == "online" else None
    if row.contract_status != _LISTED:
        return None
    if row.contract_type in _DATES and "-" not in row.contract_code:
        wire = f"{row.symbol}_{_DATES[row.contract_type]}"
        return _contract("dated", wire, row.symbol, "USD", row.contract_size)
    base, dash, quote = row.contract_code.partition("-")
    if not dash or "-" in quote:
        return None
    channel = "swap" if quote == "USD" else "linear"
    return _contract(channel, row.contract_code, base, quote, row.contract_size)
