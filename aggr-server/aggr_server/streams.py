"""One stream of a market over all the connections that carry it, and who vouches for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from aggr_server import clock
from aggr_server.exchanges.base import Liquidation, Stream, StreamKind, Trade
from aggr_server.markets import MarketState
from aggr_server.silence import Watch

HANDOVER_MS = 2000
"""How far after the newest trade, in exchange time, the next connection takes over."""

NEVER = 1 << 62


class Sink(Protocol):
    """Who wants to know what the feeds can vouch for."""

    def live(self, market: MarketState, kind: StreamKind, at_ms: int) -> None:
        """From `at_ms` on, everything of this stream is received."""

    def lost(self, market: MarketState, kind: StreamKind, at_ms: int, reason: str) -> None:
        """After `at_ms`, data of this stream may have been missed, until it is live again."""

    def refused(self, market: MarketState, kind: StreamKind, reason: str) -> None:
        """The venue does not deliver this stream; it is not asked for any more."""

    def doubtful(self, market: MarketState, from_ms: int, to_ms: int, reason: str) -> None:
        """Data of a live stream between these times was lost."""


class Lane:
    """A stream's part of one connection.

    `count`: events received. `take`: where they go. While two connections carry the same stream,
    trades without an id, which nobody could recognise as duplicates, are taken from one of them
    only, divided by their own time.
    """

    __slots__ = ("_counted", "_first_ms", "_last_ms", "count", "left_out_ms", "state", "take")

    def __init__(self, state: StreamState) -> None:
        self.state = state
        self.count = 0
        self.left_out_ms = 0
        """When a trade was last left to the other connection, by our clock."""
        self._counted = 0
        self._first_ms = 0
        self._last_ms = NEVER
        self.take: Callable[[Trade | Liquidation], None]
        self._choose()

    def between(self, first_ms: int | None = None, last_ms: int | None = None) -> None:
        """Take trades without an id only from `first_ms` (inclusive) to `last_ms` (exclusive)."""
        self._first_ms = self._first_ms if first_ms is None else first_ms
        self._last_ms = self._last_ms if last_ms is None else last_ms
        self._choose()

    def news(self) -> int:
        """Events since the last call."""
        news = self.count - self._counted
        self._counted = self.count
        return news

    def _choose(self) -> None:
        market = self.state.market
        if self.state.kind == "liquidations":
            self.take = market.liquidation  # type: ignore[assignment]
        elif self._first_ms == 0 and self._last_ms == NEVER:
            self.take = market.trade  # type: ignore[assignment]
        else:
            self.take = self._divided

    def _divided(self, event: Trade | Liquidation) -> None:
        assert isinstance(event, Trade)
        if event.id != "" or self._first_ms <= event.ts_ms < self._last_ms:
            self.state.market.trade(event)
        else:
            self.left_out_ms = clock.now_ms()


class StreamState:
    """One stream of a market.

    `is_live`: what the sink was told last. `trusted`: a confirmation is enough to call it live;
    not so after it was mute. `refused`: why the venue does not deliver it. `newest_ms`: exchange
    time of the newest trade heard.
    """

    def __init__(self, stream: Stream, market: MarketState, sink: Sink) -> None:
        self.stream = stream
        self.market = market
        self.kind: StreamKind = stream.kind
        self.name = f"{market.name} {stream.kind}"
        self.watch = Watch(sparse=stream.kind == "liquidations")
        self.is_live = False
        self.trusted = True
        self.refused = ""
        self.newest_ms = 0
        self.certain_ms = 0
        self.mutes = 0
        self.lane: Lane | None = None
        self._sink = sink
        self._carriers: dict[Lane, int] = {}

    def enter(self) -> Lane:
        """A new connection is going to carry it, besides the present one if there is one."""
        lane = Lane(self)
        if self.lane is not None:
            lane.between(first_ms=NEVER)
        return lane

    def confirmed(self, lane: Lane, at_ms: int, now_s: float) -> None:
        """The venue delivers it over `lane` since `at_ms`; the lanes before it fade out."""
        cut_ms = 0
        if self.lane is not None and self.lane is not lane:
            if self.market.last_trade_ms:
                cut_ms = self.market.last_trade_ms + HANDOVER_MS
            self.lane.between(last_ms=cut_ms)
        lane.between(first_ms=cut_ms)
        lane.news()
        self.lane = lane
        self.watch.begin(now_s)
        self._carriers[lane] = at_ms
        self.certain_ms = max(self.certain_ms, at_ms)
        if self.trusted:
            self._live(at_ms)

    def observe(self, now_s: float, elapsed_s: float, now_ms: int) -> None:
        """Call about once a second while a lane carries it."""
        if self.lane is None:
            return
        news = self.lane.news()
        if not self.judged:
            return
        if self.kind == "trades" and self.market.last_trade_ms <= self.newest_ms:
            news = 0  # Repetitions of what was heard are no sign that it goes on.
        self.watch.observe(now_s, elapsed_s, news)
        if not news:
            return
        self.newest_ms = self.market.last_trade_ms
        # They came some time after the last look.
        self.certain_ms = max(self.certain_ms, now_ms - int(elapsed_s * 1000))
        if self.watch.heard and (self.trusted or self._heard_lately()):
            self.mutes = 0
            self.believe(now_ms)

    def _heard_lately(self) -> bool:
        """Whether something happened since the confirmation: what a venue tells a newcomer of the
        time before, also what is new to us, is no sign that it goes on."""
        if self.kind != "trades" or self.lane is None:
            return True
        return self.market.last_trade_ms >= self._carriers.get(self.lane, 0)

    def believe(self, at_ms: int) -> None:
        """There is evidence that it flows since `at_ms`."""
        if not self.trusted and self.judged:
            self.trusted = True
            self.certain_ms = at_ms
            self._live(at_ms)

    def quiet(self, at_ms: int) -> None:
        """Until `at_ms` there was nothing newer than what was heard.

        For one that stays mute this is not enough: what is fetched meanwhile is not newer either.
        """
        self.certain_ms = max(self.certain_ms, at_ms)
        if self.mutes < 2 and self.lane is not None:
            self.believe(max(at_ms, self._carriers.get(self.lane, at_ms)))

    @property
    def judged(self) -> bool:
        """Whether its silence means anything: a connection is to carry it."""
        return self.lane is not None and self.lane in self._carriers

    def heard_events(self) -> int:
        """Events received over the present connection."""
        return self.lane.count if self.lane is not None else 0

    def known_ms(self, clock_error_ms: int) -> int:
        """Exchange time up to which a trade that REST knows is no news."""
        since_ms = self._carriers.get(self.lane, 0) if self.lane is not None else 0
        return max(self.newest_ms, since_ms + clock_error_ms)

    def mute(self) -> None:
        """It is subscribed to and sends nothing: nobody vouches for it until it is heard."""
        self.trusted = False
        self.mutes += 1
        self.watch.restarted()
        self._carriers.clear()
        self._lost(self.certain_ms, "silence")

    def ended(self, lane: Lane, lost_ms: int, reason: str) -> None:
        """The connection of `lane` is over; what it sent is certain until `lost_ms`."""
        since_ms = self._carriers.pop(lane, None)
        if self.lane is lane:
            self.lane = None
            if self._carriers:
                self.lane = next(reversed(self._carriers))
                self.lane.between(first_ms=0, last_ms=NEVER)
        elif self.lane is not None:
            self.lane.between(first_ms=0)
        if since_ms is None or not self.is_live:
            return
        others_ms = min(self._carriers.values(), default=None)
        if others_ms is None:
            if self.kind == "trades":
                # It may have been mute already, although that had not been found out yet.
                lost_ms = min(lost_ms, self.certain_ms)
            self._lost(lost_ms, reason)
            return
        if self.lane is not None:
            others_ms = max(others_ms, self.lane.left_out_ms)
        if others_ms > lost_ms:
            self._lost(lost_ms, reason)
            self._live(others_ms)

    def refuse(self, reason: str) -> None:
        """The venue does not deliver it."""
        self.refused = reason
        self.is_live = False
        self._sink.refused(self.market, self.kind, reason)

    def forget(self) -> None:
        """It is no longer followed; nothing more is said of it."""
        self.refused = "no longer followed"
        self.is_live = False

    def doubt(self, from_ms: int, to_ms: int, reason: str) -> None:
        """Something that arrived between these times could not be read."""
        if self.is_live:
            self._sink.doubtful(self.market, from_ms, to_ms, reason)

    def _live(self, at_ms: int) -> None:
        if not self.is_live and not self.refused:
            self.is_live = True
            self._sink.live(self.market, self.kind, at_ms)

    def _lost(self, at_ms: int, reason: str) -> None:
        if self.is_live:
            self.is_live = False
            self._sink.lost(self.market, self.kind, at_ms, reason)
