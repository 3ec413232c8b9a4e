"""All feeds of one venue: which connection carries what, and what to do about silence."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from logging import getLogger

from aggr_server import clock
from aggr_server.connection import Connection, Setup
from aggr_server.doubts import Doubts
from aggr_server.doubts import Prover as Prover
from aggr_server.entrance import Ask
from aggr_server.exchanges.base import Adapter
from aggr_server.feed import OVERLAP_S, Feed
from aggr_server.gate import Gate
from aggr_server.log import kv
from aggr_server.markets import MarketState
from aggr_server.streams import Sink as Sink
from aggr_server.streams import StreamState
from aggr_server.transport import Connector

CHECK_EVERY_S = 1.0
MAX_EXTRA = 3
"""Connections besides the planned ones, for streams that are mute on those."""

AGAIN_S = 15.0
AGAIN_MAX_S = 900.0
"""Bounds of the pause before a stream that stays mute gets yet another connection."""

STAYS_MUTE = 3

_log = getLogger(__name__)


class VenueFeeds:
    """Every connection to one venue.

    `gateway` as in `through_gateway`. `batch`: trades handled before other tasks get a turn.
    `ask`: for channels that have an entrance, see `entrance.asking`. `busy`: whether a base coin
    trades on other venues; without it a market that was never heard, at a venue that cannot be
    asked, is left in peace.
    """

    def __init__(
        self,
        adapter: Adapter,
        states: list[MarketState],
        connector: Connector,
        sink: Sink,
        prover: Prover,
        gateway: str = "",
        batch: int = 100,
        *,
        ask: Ask | None = None,
        busy: Callable[[str], bool] | None = None,
    ) -> None:
        self.feeds: list[Feed] = []
        self._adapter = adapter
        self._sink = sink
        self._setup = Setup(
            adapter,
            connector,
            Gate(adapter.name, adapter.connect_spacing_s),
            gateway=gateway,
            batch=batch,
            ask=ask,
        )
        self._states: dict[StreamState, Feed] = {}
        self._extras: dict[Feed, Feed] = {}
        """Feeds for mute streams -> the feeds these belong to."""
        self._doubts = Doubts(prover, self._on_mute, busy)
        self._mute: list[StreamState] = []
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[Feed, asyncio.Task[None]] = {}
        self._numbers: dict[str, int] = defaultdict(int)
        self.add(states)

    async def run(self) -> None:
        """Keep every stream flowing; never ends by itself."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for feed in self.feeds:
                self._start(feed)
            while True:
                await clock.sleep(CHECK_EVERY_S)
                self._doubts.look([s for s in self._states if not s.refused], group)
                self._hear_siblings()
                self._restart_mute()

    def add(self, states: Iterable[MarketState]) -> None:
        """Follow further markets; the streams already followed go on undisturbed."""
        known = {(s.market.name, s.kind) for s in self._states}
        states = list(states)
        for channel in self._adapter.channels:
            per_market = [
                new
                for market in states
                if (new := [s for s in self._streams(channel, market) if _key(s) not in known])
            ]
            for feed, new in self._places(channel, per_market):
                feed.adopt(new)
                self._states.update(dict.fromkeys(new, feed))

    def drop(self, names: Iterable[str]) -> None:
        """Stop following these markets."""
        gone = set(names)
        dropped: dict[Feed, list[StreamState]] = defaultdict(list)
        for state, feed in list(self._states.items()):
            if state.market.name in gone:
                del self._states[state]
                state.forget()
                self._doubts.forget(state)
                dropped[feed].append(state)
        for feed in list(self.feeds):
            # A stream on an extra connection is still subscribed to on the other one, too.
            feed.release([s for states in dropped.values() for s in states], drop=True)
            if not feed.states:
                self._stop(feed)

    def _streams(self, channel: str, market: MarketState) -> Iterator[StreamState]:
        facts = self._adapter.channels[channel]
        if market.instrument.channel == (facts.instruments_of or channel):
            for stream in self._adapter.streams(channel, market.instrument):
                yield StreamState(stream, market, self._sink)

    def _places(
        self, channel: str, per_market: list[list[StreamState]]
    ) -> Iterator[tuple[Feed, list[StreamState]]]:
        """Which feed takes which streams; those of one market stay together."""
        room = self._adapter.channels[channel].max_streams
        own = [f for f in self.feeds if f.channel == channel and f not in self._extras]
        left = {feed: room - len(feed.states) for feed in own}
        for extra, home in self._extras.items():
            if home in left:
                left[home] -= len(extra.states)
        taken: dict[Feed, list[StreamState]] = defaultdict(list)
        for streams in per_market:
            feed = next((f for f, free in left.items() if free >= len(streams)), None)
            if feed is None:
                feed = self._new_feed(channel)
                left[feed] = room
            left[feed] -= len(streams)
            taken[feed] += streams
        yield from taken.items()

    def _new_feed(self, channel: str, home: Feed | None = None) -> Feed:
        self._numbers[channel] += 1
        number = self._numbers[channel]
        name = f"{self._adapter.name}/{channel}" + (f"/{number}" if number > 1 else "")
        feed = Feed(
            name,
            channel,
            [],
            self._setup,
            renewing=None if home else self._take_home,
            renewed=None if home else self._close_extras,
        )
        if home:
            self._extras[feed] = home
        self.feeds.append(feed)
        if self._group is not None:
            self._start(feed)
        return feed

    def _start(self, feed: Feed) -> None:
        assert self._group is not None
        self._tasks[feed] = self._group.create_task(feed.run())

    def _stop(self, feed: Feed) -> None:
        self.feeds.remove(feed)
        self._extras.pop(feed, None)
        if (task := self._tasks.pop(feed, None)) is not None:
            task.cancel()

    def _hear_siblings(self) -> None:
        """What was given up together with others is believed again when one of those is heard."""
        for state in self._states:
            if not state.trusted and not state.mutes:
                connection = self._states[state].current
                if connection is not None and connection.events():
                    state.believe(clock.now_ms())

    def _on_mute(self, state: StreamState) -> None:
        if state not in self._mute:
            self._mute.append(state)

    def _restart_mute(self) -> None:
        mute, self._mute = self._mute, []
        by_connection: dict[Connection, list[StreamState]] = defaultdict(list)
        for state in mute:
            feed = self._states.get(state)
            if feed is None or feed.current is None or state not in feed.current.lanes:
                continue
            by_connection[feed.current].append(state)
        for connection, states in by_connection.items():
            self._restart(self._states[states[0]], connection, states)

    def _restart(self, feed: Feed, connection: Connection, found: list[StreamState]) -> None:
        now_s = clock.monotonic()
        silent_s = min(state.watch.silent_s(now_s) for state in found)
        carried = [
            s for s in feed.states if s in connection.lanes and s.lane is connection.lanes[s]
        ]
        speaking = [s for s in carried if s.watch.heard and s.watch.silent_s(now_s) < silent_s]
        kinds = {s.kind for s in found} - {s.kind for s in speaking}
        companions = [
            s for s in carried if s not in found and s.kind in kinds and s.watch.is_late(now_s)
        ]
        mute = found + companions
        lost_ms = min(state.certain_ms for state in mute)
        for state in mute:
            state.mute()
            self._report(feed, state)
        again_s = min(AGAIN_MAX_S, AGAIN_S * 2.0 ** (max(s.mutes for s in mute) - 2))
        after_s = again_s if max(s.mutes for s in mute) > 1 else 0.0
        if not speaking:
            text = f"{found[0].name} and all else have been silent for {silent_s:.0f} s"
            for state in carried:
                state.trusted = False
            feed.give_up(text, lost_ms=lost_ms, after_s=after_s)
        elif feed in self._extras:
            feed.replace(after_s)
        elif (extra := self._extra_for(feed, len(mute))) is not None:
            feed.release(mute)
            self._states.update(dict.fromkeys(mute, extra))
            extra.adopt(mute)
        else:
            feed.replace(after_s)

    def _report(self, feed: Feed, state: StreamState) -> None:
        facts = kv(feed=feed.name, stream=state.name, times=state.mutes)
        if state.mutes == STAYS_MUTE:
            _log.error(
                "stream stays mute after restarts; see whether the exchange has moved it %s", facts
            )
        elif state.mutes < STAYS_MUTE:
            _log.warning("stream is mute, restarting it %s", facts)

    def _extra_for(self, home: Feed, count: int) -> Feed | None:
        room = self._adapter.channels[home.channel].max_streams
        for extra, its_home in self._extras.items():
            if its_home is home and len(extra.states) + count <= room:
                return extra
        return self._new_feed(home.channel, home) if len(self._extras) < MAX_EXTRA else None

    def _take_home(self, feed: Feed) -> None:
        """A new connection carries again what had been moved away."""
        for extra, home in self._extras.items():
            if home is feed:
                feed.adopt(extra.states, now=False)

    def _close_extras(self, feed: Feed) -> None:
        for extra, home in list(self._extras.items()):
            carried = feed.current.lanes if feed.current is not None else {}
            returned = [s for s in extra.states if s in carried]
            if home is feed and returned:
                self._states.update(dict.fromkeys(returned, feed))
                assert self._group is not None
                self._group.create_task(self._close(extra, returned))

    async def _close(self, extra: Feed, returned: list[StreamState]) -> None:
        await clock.sleep(OVERLAP_S)
        extra.release([s for s in returned if self._states.get(s) is not extra])
        if not extra.states and extra in self._extras:
            self._stop(extra)


def _key(state: StreamState) -> tuple[str, str]:
    return state.market.name, state.kind
