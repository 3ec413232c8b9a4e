"""What the live page's server tells the browser: JSON over one websocket, and the past over HTTP.

The browser sends `Watch`. Every message has `type` (its class in snake case). A block is sent once
after `Watch`, then whenever it has changed; `ts_ms` says when its content was measured, so that the
page can show the age of everything. A block that was measured again and is the same is not sent
again: `Fresh` gives its new `ts_ms`. Prices: quote per base; flows and volumes: quote USD; times:
UTC seconds (`t`) or milliseconds (`_ms`).

The server closes the websocket with a code of `Close` and a reason in words. `/api/history` and all
else but `/health` answer 401 without a login; the page then goes to `/login`. `POST /logout` ends
the session.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from services.core.records import Alert
from services.core.views import View
from services.monitor.states import ServiceState


class Close(IntEnum):
    """Why the server closed the websocket. Try again at once, or after a while, or log in."""

    GOING_AWAY = 1001
    """The server ends or starts anew: try again after a while."""
    TOO_SLOW = 4008
    """The browser did not take the messages in time: try again at once."""
    BAD_MESSAGE = 4400
    """What the browser sent is not understood, or no such symbol."""
    LOGIN = 4401
    """There is no login, or not any more: go to `/login`."""
    TOO_MANY = 4429
    """Too many pages are open: try again after a while."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """Base of all messages."""


class Watch(msgspec.Struct, frozen=True):
    """From the browser: the symbol whose second-by-second data it wants."""

    symbol: str


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First message. `steps`: bar lengths of `/api/history`, seconds, ascending.

    `mode`: demo while the exchanges are simulated, else live. `real_money`: whether freqtrade
    trades with it, None if that is not known yet (`Trades` tells it later). `login`: there is a
    login, so that the page offers to end it.
    """

    version: str
    ts_ms: int
    symbols: list[str]
    execution_exchange: str
    steps: list[int]
    mode: str
    real_money: bool | None
    login: bool = False


class Fresh(Message, frozen=True, kw_only=True, tag="fresh"):
    """Block `block` (the `type` of its messages) of `symbol` (empty: of no symbol in particular)
    was measured again at `ts_ms` and is what it was."""

    block: str
    symbol: str
    ts_ms: int


class Revised(Message, frozen=True, kw_only=True, tag="revised"):
    """The watched symbol's past has changed from second `from_t` on, by more than single seconds:
    ask for its history again."""

    symbol: str
    ts_ms: int
    from_t: int


class Flow(msgspec.Struct, frozen=True):
    """Volume of one exchange's markets of one kind (spot, perp) by taker side."""

    exchange: str
    kind: str
    vbuy: float
    vsell: float


class Second(Message, frozen=True, kw_only=True, tag="second"):
    """A closed second of the watched symbol; a later message with the same `t` replaces it. The
    newest is sent after `Watch`.

    `bar`: open, high, low, close of the reference market, None if it did not trade in it. Flows are
    rounded to cents.
    `spot`, `perp`: taker buy minus taker sell over all markets of the kind. `lbuy`, `lsell`:
    notional of forced buy and sell orders.
    """

    symbol: str
    t: int
    ts_ms: int
    bar: tuple[float, float, float, float] | None
    spot: float
    perp: float
    spot_volume: float
    perp_volume: float
    lbuy: float
    lsell: float


class Venues(Message, frozen=True, kw_only=True, tag="venues"):
    """Volume by venue over the last minute, quarter of an hour and four hours, second `t` included.

    `flows`: by length of time, `60`, `900`, `14400`, the largest first. `since`: the first second
    in the sum; that of the longest is the start of a minute.
    """

    symbol: str
    ts_ms: int
    t: int
    flows: dict[str, list[Flow]]
    since: dict[str, int] = {}


class BoardRow(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol in a line. `price_t`: second of the trade. `change_4h`: relative change of price,
    None without that history.

    `age_ms`: of the strategy's view, None if there is none; `state` is empty then.
    """

    symbol: str
    price: float | None
    price_t: int | None
    change_4h: float | None
    state: str
    direction: int
    score: float | None
    since_t: int | None
    age_ms: int | None


class Board(Message, frozen=True, kw_only=True, tag="board"):
    """All symbols, each second."""

    ts_ms: int
    rows: list[BoardRow]


class Strategy(Message, frozen=True, kw_only=True, tag="strategy"):
    """The strategy's view of the watched symbol, each second; None while no replica tells."""

    symbol: str
    ts_ms: int
    view: View | None


class VenueInterest(msgspec.Struct, frozen=True, kw_only=True):
    """One venue's open interest, one-sided. `change_24h`: of the coins, None without history.

    `carried`: the venue did not answer, this is its last value. `held`: it told of a jump that is
    not believed yet, this is the value before it.
    """

    exchange: str
    coins: float
    usd: float
    price: float
    ts_ms: int
    change_24h: float | None = None
    carried: bool = False
    held: bool = False


class OpenInterest(Message, frozen=True, kw_only=True, tag="open_interest"):
    """Of the watched symbol. The total is over `venues`; `missing`: venues that lack a value."""

    symbol: str
    ts_ms: int
    venues: list[VenueInterest]
    coins: float | None
    usd: float | None
    change_24h: float | None
    missing: list[str]


class SignalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A signal, newest first. `status`: what became of an entry, as in
    `strategy_signals`, such as profitable; `opened` before; empty if not known, and of an exit."""

    signal_id: str
    ts_ms: int
    symbol: str
    action: str
    event: str
    score: float
    entry_price: float
    invalidation_price: float | None
    stop_price: float | None
    parts: dict[str, float]
    status: str
    reasoning: str


class Signals(Message, frozen=True, kw_only=True, tag="signals"):
    """The last signals of all symbols, newest first, at most 100."""

    ts_ms: int
    rows: list[SignalRow]


class TradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trade as freqtrade has it. `profit`: in quote, `profit_ratio`: on the stake; open trades:
    at the current rate."""

    trade_id: int
    symbol: str
    side: str
    leverage: float
    stake: float
    amount: float
    opened_ms: int
    open_rate: float
    closed_ms: int | None
    close_rate: float | None
    current_rate: float | None
    stop_rate: float | None
    profit: float | None
    profit_ratio: float | None
    exit_reason: str
    signal_id: str


class Trades(Message, frozen=True, kw_only=True, tag="trades"):
    """Positions and the last 50 outcomes, as freqtrade told at `ts_ms`; `problem`: why it did not.

    `equity`, `profit_today`: in `currency`, None if not known. `halted`: the kill switch, None if
    not known. `real_money`: False in dry-run, None if not known.
    """

    ts_ms: int
    problem: str
    open: list[TradeRow]
    closed: list[TradeRow]
    currency: str
    equity: float | None
    profit_today: float | None
    halted: bool | None
    halted_reason: str
    real_money: bool | None = None


class Spark(msgspec.Struct, frozen=True):
    """Median and 99th percentile in ms of a stage of the strategy, one pair every 5 s, ascending in
    time; the last is the newest. At most 120."""

    stage: str
    median: list[float | None]
    p99: list[float | None]


class Services(Message, frozen=True, kw_only=True, tag="services"):
    """All services as health-monitor sees them, every 2 s, and the strategy's latencies."""

    ts_ms: int
    status: str
    services: dict[str, ServiceState]
    sparks: list[Spark]


class GapRow(msgspec.Struct, frozen=True):
    """Seconds [from_s, to_s) of a market that are not complete; `open`: it still goes on."""

    market: str
    from_s: int
    to_s: int
    reason: str
    open: bool


class Gaps(Message, frozen=True, kw_only=True, tag="gaps"):
    """Gaps of the watched symbol's markets in the last four hours, newest first, at most 200."""

    symbol: str
    ts_ms: int
    rows: list[GapRow]


class Alerts(Message, frozen=True, kw_only=True, tag="alerts"):
    """Incidents that are open, and the last 100 alerts, newest first."""

    ts_ms: int
    open: list[Alert]
    rows: list[Alert]


class Trouble(Message, frozen=True, kw_only=True, tag="trouble"):
    """What the server itself cannot read now, by source (`Redis`, `InfluxDB`, `freqtrade`)."""

    ts_ms: int
    problems: dict[str, str]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `/api/history?symbol=BTCUSDT&step=5&from=S&to=S`: columns of equal length.

    `t`: opening second of each bar of `step` seconds, ascending, none left out; prices are None
    where nothing traded. Flows as in `Second`. Open interest: coins of all venues in the sum, at
    its own times. `complete_from`: everything from this second on is there; before it, less was
    recorded. `markers`: signals and trades in the range.
    """

    symbol: str
    step: int
    t: list[int]
    open: list[float | None]
    high: list[float | None]
    low: list[float | None]
    close: list[float | None]
    spot: list[float]
    perp: list[float]
    spot_volume: list[float]
    perp_volume: list[float]
    lbuy: list[float]
    lsell: list[float]
    oi_t: list[int]
    oi_coins: list[float]
    complete_from: int
    markers: dict[str, list[dict[str, Any]]] = {}
