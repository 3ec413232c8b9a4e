"""What an exchange adapter is: a venue's facts, and nothing of sockets, storage or time."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec

from aggr_server.wire import Kind

T = TypeVar("T")

USD_QUOTES = frozenset({"USD", "USDT", "USDC", "FDUSD", "DAI", "TUSD", "BUSD"})
"""Quotes worth a dollar; bars are kept in dollars, so only these are collected."""

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
    """One forced order. `is_buy`: the forced order bought, that is, a short was liquidated."""

    wire: str
    ts_ms: int
    price: float
    size: float
    is_buy: bool


class Ack(msgspec.Struct, frozen=True):
    """The venue confirmed a subscription."""


class Rejection(msgspec.Struct, frozen=True):
    """The venue refused a subscription, of the instrument `wire` if it says which one."""

    reason: str
    wire: str = ""


Event = Trade | Liquidation | Ack | Rejection
NOTHING: Sequence[Event] = ()


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of socket. `max_instruments`: what one connection may carry."""

    url: str
    max_instruments: int


class Subscription(msgspec.Struct, frozen=True):
    """A message to send after connecting, and how many confirmations answer it."""

    text: str
    acks: int = 1


class Page(msgspec.Struct, frozen=True):
    """Instruments found in one answer; `next_url` leads to the rest of them."""

    instruments: list[Instrument]
    next_url: str = ""


class Adapter(ABC):
    """A venue. Instances hold no state: one serves every connection.

    `connect_spacing_s`: least time between two connection attempts, over all sockets.
    `message_spacing_s`: least time between two messages on one socket. `ping`: text the venue
    expects every `ping_interval_s`; empty if websocket pings are enough. `recordings`: prefixes of
    file names of recorded trades, `PREFIX_SYMBOL_...`, besides the name itself.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    channels: ClassVar[dict[str, Channel]]
    discovery_urls: ClassVar[tuple[str, ...]]
    ping: ClassVar[str] = ""
    ping_interval_s: ClassVar[float] = 20.0
    connect_spacing_s: ClassVar[float] = 1.0
    message_spacing_s: ClassVar[float] = 0.25
    recordings: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def instruments(self, body: bytes) -> Page:
        """Parse an answer to one of `discovery_urls`. Raises `msgspec.MsgspecError`."""

    @abstractmethod
    def subscriptions(self, channel: str, instruments: Sequence[Instrument]) -> list[Subscription]:
        """Messages that subscribe a fresh connection, in batches the venue accepts."""

    @abstractmethod
    def parse(self, frame: bytes) -> Sequence[Event]:
        """What a frame says, oldest first; empty for anything not collected.

        Raises `msgspec.MsgspecError` if a trade frame is not what the venue documents.
        """

    @abstractmethod
    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """The most likely instrument behind a wire symbol, without asking the venue.

        `event`, if at hand, may tell markets apart that share their symbol. `contract_size` is
        None where no rule covers the symbol.
        """

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
