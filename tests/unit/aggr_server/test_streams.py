"""Who vouches for a stream."""

from __future__ import annotations

from aggr_server import exchanges
from aggr_server.bars import BarBuilder
from aggr_server.exchanges.base import Stream, StreamKind, Trade
from aggr_server.markets import MarketState
from aggr_server.streams import StreamState

OKEX = exchanges.get("OKEX")
BTC = OKEX.assume("BTC-USDT")
T0 = 1_700_000_000_000


class Told:
    """What the sink was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def live(self, market: MarketState, kind: StreamKind, at_ms: int) -> None:
        self.events.append(("live", at_ms))

    def lost(self, market: MarketState, kind: StreamKind, at_ms: int, reason: str) -> None:
        self.events.append((reason, at_ms))

    def refused(self, market: MarketState, kind: StreamKind, reason: str) -> None:
        self.events.append((reason, 0))

    def doubtful(self, market: MarketState, from_ms: int, to_ms: int, reason: str) -> None:
        self.events.append((reason, from_ms))


def trade(id: int, ts_ms: int) -> Trade:
    return Trade("BTC-USDT", ts_ms, 10.0, 1.0, True, id, id)


def left_mute() -> tuple[StreamState, Told]:
    """A stream that was live at `T0` and then mute, whose only connection ended 20 s later."""
    told = Told()
    market = MarketState(OKEX, BTC, BarBuilder().series("OKEX:BTC-USDT"))
    state = StreamState(Stream(BTC, "trades"), market, told)
    first = state.enter()
    state.confirmed(first, T0, 0.0)
    state.mute()
    state.ended(first, T0 + 20_000, "disconnect")
    return state, told


def test_what_a_mute_venue_tells_a_newcomer_does_not_bring_the_stream_back() -> None:
    state, told = left_mute()
    lane = state.enter()
    state.confirmed(lane, T0 + 21_000, 21.0)
    lane.take(trade(1, T0 + 15_000))
    lane.count += 1
    state.observe(30.0, 1.0, T0 + 30_000)
    assert told.events == [("live", T0), ("silence", T0)]
    lane.take(trade(2, T0 + 31_500))
    lane.count += 1
    state.observe(32.0, 1.0, T0 + 32_000)
    assert told.events[2:] == [("live", T0 + 32_000)]


def test_where_nothing_newer_was_known_a_newcomer_is_believed_from_its_confirmation_on() -> None:
    state, told = left_mute()
    state.confirmed(state.enter(), T0 + 21_000, 21.0)
    state.quiet(T0 + 15_000)
    assert told.events[2:] == [("live", T0 + 21_000)]
