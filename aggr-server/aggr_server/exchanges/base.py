"""What an exchange adapter is: a venue's facts, and nothing of sockets, storage or time."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

import msgspec

from aggr_server.wire import Kind

T = TypeVar("T")

StreamKind = Literal["trades", "liquidations"]

USD_QUOTES = frozenset({"USD", "USDT", "USDC", "FDUSD", "USD1", "DAI", "TUSD", "BUSD"})
"""Quotes worth a dollar; bars are kept in dollars, so only these are collected."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time written as text; one without a time zone is refused."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MULTIPLIER = re.compile(r"^(?:1(?:0{3,9})|1M)(?=[A-Z])")
_OTHER_NAMES = {"XBT": "BTC", "XETH": "ETH", "XXBT": "BTC", "XDG": "DOGE"}


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One market of a venue.

    `symbol`: as in the market id `EXCHANGE:symbol`. `wire`: as in the venue's own frames. `base`:
    the coin without multiplier (PEPE, also for 1000PEPE). `contract_size`: what one unit of the
    published size is, in base coins, or in quote if `inverse`; None if that is not known.
    `channel`: key into the adapter's `channels`.
    """

    symbol: str
    wire: str
    base: str
    quote: str
    kind: Kind
    channel: str
    inverse: bool = False
    contract_size: float | None = 1.0


class Stream(NamedTuple):
    """One kind of data of one instrument: what is subscribed to, and what can fall silent."""

    instrument: Instrument
    kind: StreamKind


class Request(msgspec.Struct, frozen=True):
    """A REST request; `body` is JSON text."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    body: str = ""


class Trade(msgspec.Struct, gc=False):
    """One trade as published. `size` in the venue's unit; `is_buy`: the taker bought.

    `id` is unique per market, or empty. `order` grows with the venue's own sequence and decides
    between trades of the same millisecond; 0 if the venue has none: arrival decides.
    """

    wire: str
    ts_ms: int
    price: float
    size: float
    is_buy: bool
    id: int | str
    order: int = 0


class Liquidation(msgspec.Struct, gc=False):
    """One forced order. `is_buy`: the forced order bought, that is, a short was liquidated.

    `id` as in `Trade`; without one, equal orders at the same time count once.
    """

    wire: str
    ts_ms: int
    price: float
    size: float
    is_buy: bool
    id: int | str = ""


class Ack(msgspec.Struct, frozen=True):
    """The venue confirmed a subscription."""


class Rejection(msgspec.Struct, frozen=True):
    """The venue refused a subscription, of the instrument `wire` if it says which one.

    `kind`: which stream of the instrument; empty if it may be any.
    """

    reason: str
    wire: str = ""
    kind: StreamKind | Literal[""] = ""


class Reply(msgspec.Struct, frozen=True):
    """The venue wants an answer: `text` is to be sent back on the same connection."""

    text: str


class Greeting(msgspec.Struct, frozen=True):
    """The venue is ready for subscriptions; only channels that say `greets` send it."""


class Leaving(msgspec.Struct, frozen=True):
    """The venue announces that it is going to close this connection: another one is needed."""

    reason: str


Event = Trade | Liquidation | Ack | Rejection | Reply | Greeting | Leaving
NOTHING: Sequence[Event] = ()
Parse = Callable[[bytes], Sequence[Event]]

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What reading a frame or an answer may raise: not as documented, not UTF-8, nested too deeply."""


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of socket. `max_streams`: what one connection may carry.

    `carries`: kinds of data. `instruments_of`: the channel whose instruments it carries, if not
    its own: a socket of its own for liquidations. `headers`: of the opening request. `entrance`:
    what to ask, before each connection, for the URL (`Adapter.entered` reads the answer); `url`
    then only names the host. `greets`: subscriptions wait for a `Greeting`. `settle_s`: pause
    between connecting and subscribing.
    """

    url: str
    max_streams: int
    carries: tuple[StreamKind, ...] = ("trades",)
    instruments_of: str = ""
    headers: Mapping[str, str] = {}
    entrance: Request | None = None
    greets: bool = False
    settle_s: float = 0.0


class Subscription(msgspec.Struct, frozen=True):
    """A message to send after connecting, and how many confirmations answer it."""

    text: str
    acks: int = 1


class Page(msgspec.Struct, frozen=True):
    """Instruments found in one answer; `next` leads to the rest of them."""

    instruments: list[Instrument]
    next: Request | None = None


class Window(msgspec.Struct, frozen=True):
    """Exchange times `from_ms` (inclusive) to `to_ms` (exclusive)."""

    from_ms: int
    to_ms: int


class Past(msgspec.Struct):
    """Trades found in one answer, in any order; they may lie outside the window asked for.

    `next`: what else to ask to cover the window; None if it is covered, or the venue has no more.
    `since_ms`: trades before this time may be missing from all answers together, because the venue
    only gives the newest; 0 if it gives the whole window. `liquidations`: the forced orders of the
    same answer, where the venue marks them among its trades; None if it does not tell them.
    """

    trades: list[Trade]
    next: Request | None = None
    since_ms: int = 0
    liquidations: list[Liquidation] | None = None


class Adapter(ABC):
    """A venue. Instances hold no state: one serves every connection.

    `connect_spacing_s`: least time between two connection attempts, over all sockets.
    `message_spacing_s`: least time between two messages on one socket. `rest_spacing_s`: least
    time between two REST requests. `ping_interval_s`: see `ping`. `lifetime_s`: age at which the
    venue cuts a connection; 0 if it does not. `gapless`: `Trade.order` grows by exactly one from
    trade to trade of a market, so that a jump proves a loss. `recordings`: prefixes of file names
    of recorded trades, `PREFIX_SYMBOL_...`, besides the name itself.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    channels: ClassVar[dict[str, Channel]]
    discovery: ClassVar[tuple[Request, ...]]
    ping_interval_s: ClassVar[float] = 20.0
    connect_spacing_s: ClassVar[float] = 1.0
    message_spacing_s: ClassVar[float] = 0.25
    rest_spacing_s: ClassVar[float] = 0.2
    lifetime_s: ClassVar[float] = 0.0
    gapless: ClassVar[bool] = False
    recordings: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def instruments(self, body: bytes) -> Page:
        """Parse an answer to one of `discovery`. Raises one of `UNREADABLE`."""

    @abstractmethod
    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        """Messages that subscribe a connection to `streams`, in batches the venue accepts."""

    @abstractmethod
    def parse(self, frame: bytes) -> Sequence[Event]:
        """What a frame says, oldest first; empty for anything not collected.

        Raises one of `UNREADABLE` if a trade frame is not what the venue documents.
        """

    @abstractmethod
    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """The most likely instrument behind a wire symbol, without asking the venue.

        `event`, if at hand, may tell markets apart that share their symbol. `contract_size` is
        None where no rule covers the symbol.
        """

    def session(self) -> Parse:
        """The parser of one connection: `parse`, unless frames refer to earlier ones."""
        return self.parse

    def ping(self, channel: str, now_s: int) -> str:
        """Text the venue expects every `ping_interval_s`; empty: websocket pings are enough."""
        return ""

    def entered(self, channel: str, body: bytes) -> str:
        """The websocket URL in the answer to the channel's `entrance`.

        Raises one of `UNREADABLE`.
        """
        raise NotImplementedError(f"{self.name} has no channel with an entrance")

    def past(self, instrument: Instrument, window: Window) -> Request | None:
        """What to ask first for the trades of `window`; None: the venue does not tell the past."""
        return None

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """Parse an answer to `past` or to a `Past.next`. Raises one of `UNREADABLE`."""
        raise NotImplementedError(f"{self.name} does not tell the past")

    def streams(self, channel: str, instrument: Instrument) -> list[Stream]:
        """What `channel` carries of `instrument`; spot markets know no forced orders."""
        kinds = self.channels[channel].carries
        return [Stream(instrument, k) for k in kinds if k == "trades" or instrument.kind != "spot"]

    def wire_symbol(self, text: str) -> str:
        """The wire symbol meant by the symbol in a recording's file name."""
        return text

    def market(self, instrument: Instrument) -> str:
        """The market id, `EXCHANGE:symbol`."""
        return f"{self.name}:{instrument.symbol}"


def coin(text: str) -> str:
    """The coin behind an exchange's base name: `1000PEPE` is PEPE, `XBT` is BTC."""
    text = text.upper()
    return _OTHER_NAMES.get(text) or _MULTIPLIER.sub("", text)


def milliseconds(moment: Moment) -> int:
    """UTC milliseconds of a time with a time zone; fractions of them are dropped."""
    return (moment - _EPOCH) // _MILLISECOND


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split `items` into runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def encode(message: Any) -> str:
    """JSON text of a message to send."""
    return msgspec.json.encode(message).decode()


def split_pair(text: str, quotes: Sequence[str]) -> tuple[str, str]:
    """Base and quote of a pair written without separator; an unknown quote is left empty."""
    for quote in quotes:
        if text.endswith(quote) and len(text) > len(quote):
            return text[: -len(quote)], quote
    return text, ""
