"""What is wrong on the exchange: positions and stops no trade accounts for, trades without stop."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import Any, Generic, Protocol, TypeVar

from aggr_server.log import kv

EVERY_S = 20.0
SUSPICIOUS_EVERY_S = 5.0
GRACE_S = 10.0
BLIND_AFTER_S = 60.0
TOLERANCE = 1e-6

Side = tuple[str, str]
"""Pair, and `long` or `short`."""

K = TypeVar("K", str, tuple[str, str])
_log = getLogger(__name__)


class Exchange(Protocol):
    """The part of freqtrade's exchange that is needed; answers with ccxt's positions."""

    def fetch_positions(self) -> Sequence[Mapping[str, Any]]: ...


class OrderView(Protocol):
    """An order of a trade."""

    @property
    def ft_order_side(self) -> str:
        """`buy`, `sell` or `stoploss`."""

    @property
    def safe_remaining(self) -> float:
        """Base coins not known to be filled."""


class StopView(Protocol):
    """A stop of a trade."""

    @property
    def order_id(self) -> str:
        """The exchange's name for it."""


class TradeView(Protocol):
    """An open trade."""

    @property
    def pair(self) -> str:
        """As `BTC/USDT:USDT`."""

    @property
    def is_short(self) -> bool:
        """Whether coins were sold to open it."""

    @property
    def amount(self) -> float:
        """Base coins held."""

    @property
    def entry_side(self) -> str:
        """`buy` or `sell`."""

    @property
    def open_orders(self) -> Sequence[OrderView]:
        """Orders under way, without the stop."""

    @property
    def open_sl_orders(self) -> Sequence[StopView]:
        """Stops that rest on the exchange."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the exchange answered. `asked_s`: when it was asked; amounts in base coins.

    `stops`: id -> pair of those that rest.
    """

    asked_s: float
    amounts: Mapping[Side, float]
    stops: Mapping[str, str]


class Doubts(Generic[K]):
    """What seemed wrong, and since when."""

    def __init__(self) -> None:
        self._since_s: dict[K, float] = {}

    def confirmed(self, keys: Iterable[K], now_s: float, asked_s: float) -> list[K]:
        """Those of `keys` that were noticed `GRACE_S` before the answer they are seen in."""
        self._since_s = {key: self._since_s.get(key, now_s) for key in sorted(keys)}
        return [key for key, since_s in self._since_s.items() if asked_s - since_s >= GRACE_S]


class Watch:
    """Asks the exchange for its positions, in a thread of its own, and compares.

    The loop that watches stops and exits never waits for it. An order under way makes position and
    trade differ for a moment, so a stranger counts only once an answer asked for `GRACE_S` after
    it was first noticed still shows it; until then the exchange is asked more often. `stops_rest`:
    whether stops are to rest on the exchange; `stops`: asks for them, id -> pair.
    """

    def __init__(
        self,
        exchange: Exchange,
        now: Callable[[], float] = time.monotonic,
        *,
        stops_rest: bool = True,
        stops: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._exchange = exchange
        self._now = now
        self._stops_rest = stops_rest
        self._stops = stops
        self._strangers: Doubts[Side] = Doubts()
        self._missing: Doubts[Side] = Doubts()
        self._strays: Doubts[str] = Doubts()
        self._bare: Doubts[str] = Doubts()
        self._snapshot: Snapshot | None = None
        self._failing = False
        self._stop = threading.Event()
        self._suspicion = threading.Event()

    def start(self) -> None:
        """Ask from now on, until `stop`, or until nobody holds this object any more."""
        events = (self._stop, self._suspicion)
        threading.Thread(
            target=_keep_asking, args=(weakref.ref(self), *events), name="venue", daemon=True
        ).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._suspicion.set()

    @property
    def is_blind(self) -> bool:
        """Whether nothing is known: not yet asked, or no answer for `BLIND_AFTER_S`."""
        if self._snapshot is None:
            return True
        return self._now() - self._snapshot.asked_s > BLIND_AFTER_S

    def unknown(self, open_trades: Iterable[TradeView]) -> list[str]:
        """Positions beyond those of `open_trades`, as `long 0.5 BTC/USDT:USDT`."""
        snapshot = self._snapshot
        if snapshot is None:
            return []
        held = covered(open_trades)
        extra = {
            side: amount - held.get(side, 0.0)
            for side, amount in snapshot.amounts.items()
            if amount > held.get(side, 0.0) * (1 + TOLERANCE)
        }
        self._suspect(bool(extra))
        confirmed = self._strangers.confirmed(extra, self._now(), snapshot.asked_s)
        return [f"{side} {extra[pair, side]:.10g} {pair}" for pair, side in confirmed]

    def missing(self, open_trades: Iterable[TradeView]) -> list[str]:
        """What `open_trades` hold and the exchange does not, as `long 0.5 BTC/USDT:USDT`.

        Such a trade is left when the answer to its exit was lost, or when it was closed by hand.
        """
        snapshot = self._snapshot
        if snapshot is None:
            return []
        held = covered(trade for trade in open_trades if not trade.open_orders)
        lacking = {
            side: amount - snapshot.amounts.get(side, 0.0)
            for side, amount in held.items()
            if amount > snapshot.amounts.get(side, 0.0) * (1 + TOLERANCE)
        }
        self._suspect(bool(lacking))
        confirmed = self._missing.confirmed(lacking, self._now(), snapshot.asked_s)
        return [f"{side} {lacking[pair, side]:.10g} {pair}" for pair, side in confirmed]

    def stray_stops(self, open_trades: Iterable[TradeView]) -> list[str]:
        """Stops that belong to no open trade and would end a later one, as `7 BTC/USDT:USDT`.

        One is left over when the answer to its placing was lost and it was placed again.
        """
        snapshot = self._snapshot
        if snapshot is None:
            return []
        known = {str(stop.order_id) for trade in open_trades for stop in trade.open_sl_orders}
        strays = snapshot.stops.keys() - known
        self._suspect(bool(strays))
        confirmed = self._strays.confirmed(strays, self._now(), snapshot.asked_s)
        return [f"{number} {snapshot.stops[number]}" for number in confirmed]

    def unprotected(self, open_trades: Iterable[TradeView]) -> list[str]:
        """Pairs of trades that have had no stop on the exchange for `GRACE_S`."""
        bare = {
            trade.pair
            for trade in open_trades
            if self._stops_rest and trade.amount > 0 and not trade.open_sl_orders
        }
        return self._bare.confirmed(bare, self._now(), self._now())

    def ask(self) -> None:
        """Ask the exchange once. A failure is logged, and seen by `is_blind` if it lasts."""
        asked_s = self._now()
        try:
            positions = self._exchange.fetch_positions()
            self._snapshot = Snapshot(asked_s, amounts(positions), self._stops())
        except Exception as error:  # noqa: BLE001  whatever the library raises, the thread goes on
            if not self._failing:
                self._failing = True
                _log.warning("positions cannot be read from the exchange %s", kv(error=error))
            return
        if self._failing:
            self._failing = False
            _log.info("positions can be read again")

    def _suspect(self, anything: bool) -> None:
        if anything:
            self._suspicion.set()


def _keep_asking(
    reference: weakref.ref[Watch], stop: threading.Event, suspicion: threading.Event
) -> None:
    # freqtrade makes a new strategy when its configuration is reloaded and forgets the old one.
    while not stop.is_set() and (watch := reference()) is not None:
        watch.ask()
        del watch
        if suspicion.wait(EVERY_S):
            stop.wait(SUSPICIOUS_EVERY_S)
        suspicion.clear()


def resting_stops(exchange: Any, pairs: Iterable[str]) -> dict[str, str]:
    """Id -> pair of the stops that rest; none where stops are among the other open orders.

    `exchange`: freqtrade's. It has no question of its own for them.
    """
    if not exchange.get_option("stoploss_query_requires_stop_flag"):
        return {}
    return {
        str(order["id"]): pair
        for pair in pairs
        for order in exchange._api.fetch_open_orders(pair, params={"stop": True})
    }


def amounts(positions: Iterable[Mapping[str, Any]]) -> dict[Side, float]:
    """Base coins of each open position in ccxt's list."""
    found: dict[Side, float] = {}
    for position in positions:
        contracts, side = position.get("contracts"), position.get("side")
        if contracts and side:
            coins = float(contracts) * float(position.get("contractSize") or 1.0)
            key = (str(position["symbol"]), str(side))
            found[key] = found.get(key, 0.0) + abs(coins)
    return found


def covered(open_trades: Iterable[TradeView]) -> dict[Side, float]:
    """Base coins that open trades hold, or will hold when their entry orders are filled."""
    found: dict[Side, float] = {}
    for trade in open_trades:
        waiting = [o for o in trade.open_orders if o.ft_order_side == trade.entry_side]
        coins = trade.amount + sum(order.safe_remaining for order in waiting)
        key = (trade.pair, "short" if trade.is_short else "long")
        found[key] = found.get(key, 0.0) + coins
    return found
