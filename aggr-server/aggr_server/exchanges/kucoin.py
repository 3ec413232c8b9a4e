"""KuCoin, spot and futures. https://www.kucoin.com/docs/websocket/spot-trading/public-channels"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

import msgspec

from aggr_server.exchanges.base import (
    NOTHING,
    Ack,
    Adapter,
    Channel,
    Event,
    Greeting,
    Instrument,
    Liquidation,
    Page,
    Past,
    Rejection,
    Request,
    Stream,
    Subscription,
    Trade,
    Window,
    batches,
    coin,
    encode,
    split_pair,
)

_OK = "200000"
_TOPICS = {"spot": "/market/match:", "futures": "/contractMarket/execution:"}
_RECENT = {
    "spot": "https://api.kucoin.com/api/v1/market/histories?symbol={}",
    "futures": "https://api-futures.kucoin.com/api/v1/trade/history?symbol={}",
}
_SYMBOLS_PER_MESSAGE = 100
_CONTRACT_QUOTES = ("USDT", "USDC", "USD")


class _Trade(msgspec.Struct, gc=False):
    """`time` and `ts` are nanoseconds: of spot, of futures."""

    symbol: str
    sequence: int
    side: Literal["buy", "sell"]
    size: float
    price: float
    tradeId: str
    time: int = 0
    ts: int = 0


class _Trades(msgspec.Struct, gc=False):
    data: _Trade


class _Message(msgspec.Struct):
    type: str = ""
    code: int = 0
    data: str | None = None


class _Server(msgspec.Struct):
    endpoint: str


class _Entrance(msgspec.Struct):
    token: str
    instanceServers: list[_Server]


class _Entered(msgspec.Struct):
    code: str
    data: _Entrance | None = None
    msg: str = ""


class _PastTrade(msgspec.Struct, gc=False):
    sequence: int
    side: Literal["buy", "sell"]
    size: float
    price: float
    tradeId: str = ""
    time: int = 0
    ts: int = 0


class _PastTrades(msgspec.Struct):
    code: str
    data: list[_PastTrade] = []
    msg: str = ""


class _Row(msgspec.Struct):
    symbol: str
    baseCurrency: str
    quoteCurrency: str
    enableTrading: bool = False
    status: str = ""
    multiplier: float | None = None
    isInverse: bool = False
    expireDate: int | None = None


class _Rows(msgspec.Struct):
    code: str
    data: list[_Row] = []
    msg: str = ""


_trades = msgspec.json.Decoder(_Trades, strict=False)
_message = msgspec.json.Decoder(_Message, strict=False)
_entered = msgspec.json.Decoder(_Entered)
_past_trades = msgspec.json.Decoder(_PastTrades, strict=False)
_rows = msgspec.json.Decoder(_Rows, strict=False)


class Kucoin(Adapter):
    """Spot: sizes in base coins. Futures: linear of `multiplier` coins, inverse of one dollar.

    Unconfirmed: the numbers of symbols and messages, taken from the documentation alone.
    """

    name = "KUCOIN"
    channels = {  # noqa: RUF012
        "spot": Channel(
            url="wss://ws-api-spot.kucoin.com",
            max_streams=300,
            entrance=Request("https://api.kucoin.com/api/v1/bullet-public", "POST"),
            greets=True,
        ),
        "futures": Channel(
            url="wss://ws-api-futures.kucoin.com",
            max_streams=300,
            entrance=Request("https://api-futures.kucoin.com/api/v1/bullet-public", "POST"),
            greets=True,
        ),
    }
    discovery = (
        Request("https://api.kucoin.com/api/v2/symbols"),
        Request("https://api-futures.kucoin.com/api/v1/contracts/active"),
    )
    # The venue asks for a ping every 18 s.
    ping_interval_s = 15.0
    connect_spacing_s = 2.0
    message_spacing_s = 0.12
    lifetime_s = 86_400.0

    def instruments(self, body: bytes) -> Page:
        """`{"code":"200000","data":[{"symbol":"BTC-USDT","baseCurrency":"BTC",
        "quoteCurrency":"USDT","enableTrading":true}]}`, `{"code":"200000","data":[{
        "symbol":"XBTUSDTM","baseCurrency":"XBT","quoteCurrency":"USDT","multiplier":0.001,
        "isInverse":false,"status":"Open","expireDate":null}]}`
        """
        answer = _rows.decode(body)
        _check(answer.code, answer.msg)
        return Page([_instrument(r) for r in answer.data if r.enableTrading or r.status == "Open"])

    def entered(self, channel: str, body: bytes) -> str:
        """`{"code":"200000","data":{"token":"2neAiuYvAU61ZDXANAGAsiL4==","instanceServers":[{
        "endpoint":"wss://ws-api-spot.kucoin.com/","pingInterval":18000,"pingTimeout":10000}]}}`
        """
        answer = _entered.decode(body)
        _check(answer.code, answer.msg)
        if answer.data is None or not answer.data.instanceServers:
            raise msgspec.ValidationError("no server to connect to")
        endpoint = answer.data.instanceServers[0].endpoint
        return f"{endpoint}?token={quote(answer.data.token, safe='')}&connectId=public"

    def ping(self, channel: str, now_s: int) -> str:
        return encode({"id": str(now_s), "type": "ping"})

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        parts = batches([s.instrument.wire for s in streams], _SYMBOLS_PER_MESSAGE)
        return [
            Subscription(
                encode(
                    {
                        "id": str(number),
                        "type": "subscribe",
                        "topic": _TOPICS[channel] + ",".join(part),
                        "response": True,
                    }
                )
            )
            for number, part in enumerate(parts, start=1)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"type":"message","topic":"/market/match:DAPPT-BTC","subject":"trade.l3match","data":{
        "symbol":"DAPPT-BTC","sequence":"1612701563869","side":"buy","size":"81.8814",
        "price":"0.0000001117","takerOrderId":"6085c097587c2000060cde57",
        "time":"1619378327739050725","type":"match","tradeId":"6085c09769bc506996295e36"}}`

        `{"type":"message","topic":"/contractMarket/execution:ADAUSDTM","subject":"match","data":{
        "symbol":"ADAUSDTM","sequence":41320766,"side":"sell","size":2,"price":0.35904,
        "tradeId":"..","ts":1668143578987357700}}` (side: of the taker)
        """
        if b'"message"' not in frame:
            return _parse_message(frame)
        if b"/market/match:" not in frame and b"/contractMarket/execution:" not in frame:
            return NOTHING
        t = _trades.decode(frame).data
        ts_ms = (t.time or t.ts) // 1_000_000
        return (Trade(t.symbol, ts_ms, t.price, t.size, t.side == "buy", t.tradeId, t.sequence),)

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """`XBTUSDTM` linear, `XBTUSDM` inverse; `XBTMZ26`, `XBTUSDTMZ26` end on a day."""
        base, dash, money = wire.partition("-")
        if dash:
            return _spot(wire, base, money)
        pair, dated = (wire[:-3], True) if wire[-2:].isdecimal() else (wire, False)
        base, money = split_pair(pair.removesuffix("M"), _CONTRACT_QUOTES)
        inverse = money in ("USD", "")
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=money or "USD",
            kind="future" if dated else "perp",
            channel="futures",
            inverse=inverse,
            contract_size=1.0 if inverse else None,
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return Request(_RECENT[instrument.channel].format(quote(instrument.wire)))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"code":"200000","data":[{"sequence":"1548764654235","side":"sell","size":"0.6841354",
        "price":"0.03202","time":1548848575203567174}]}`, of futures also `tradeId`, and `ts`

        The newest hundred only; of the oldest millisecond among them some may be missing.
        """
        answer = _past_trades.decode(body)
        _check(answer.code, answer.msg)
        trades = [
            Trade(
                instrument.wire,
                (t.time or t.ts) // 1_000_000,
                t.price,
                t.size,
                t.side == "buy",
                t.tradeId or t.sequence,
                t.sequence,
            )
            for t in answer.data
        ]
        return Past(trades, since_ms=min((t.ts_ms + 1 for t in trades), default=window.to_ms))


def _check(code: str, text: str) -> None:
    if code != _OK:
        raise msgspec.ValidationError(f"code {code}: {text}")


def _spot(wire: str, base: str, money: str) -> Instrument:
    return Instrument(
        symbol=wire, wire=wire, base=coin(base), quote=money, kind="spot", channel="spot"
    )


def _instrument(row: _Row) -> Instrument:
    if row.multiplier is None:
        return _spot(row.symbol, row.baseCurrency, row.quoteCurrency)
    return Instrument(
        symbol=row.symbol,
        wire=row.symbol,
        base=coin(row.baseCurrency),
        quote=row.quoteCurrency,
        kind="future" if row.expireDate else "perp",
        channel="futures",
        inverse=row.isInverse,
        # An inverse contract has the multiplier -1: it is worth one dollar.
        contract_size=abs(row.multiplier),
    )


def _parse_message(frame: bytes) -> Sequence[Event]:
    """`{"id":"hQvf8jkno","type":"welcome"}`, `{"id":"1","type":"ack"}`,
    `{"id":"1","type":"error","code":404,"data":"topic /market/match:FOO-BAR is not found"}`
    """
    if b'"welcome"' in frame:
        return (Greeting(),)
    if b'"ack"' in frame:
        return (Ack(),)
    if b'"error"' not in frame:
        return NOTHING
    message = _message.decode(frame)
    text = message.data or "refused"
    topic = next((word for word in text.split() if word.startswith("/")), "")
    named = topic.partition(":")[2]
    return (Rejection(f"{message.code} {text}", "" if "," in named else named),)
