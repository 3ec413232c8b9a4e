"""All feeds of one venue: which connection carries what, and what to do about silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from aggr_server.exchanges.base import Adapter, Request, StreamKind
from aggr_server.feed import Feed
from aggr_server.markets import MarketState
from aggr_server.transport import Connector

Ask = Callable[[Request], Awaitable[bytes]]
"""Sends a REST request through the gateway and returns the answer's body; raises `Refused`."""


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


class Prover(Protocol):
    """Who can ask a venue's REST interface."""

    async def newest_trade_ms(self, market: MarketState) -> int | None:
        """Exchange time of the newest trade REST knows; None if it cannot be told."""


class VenueFeeds:
    """Every connection to one venue.

    `gateway` as in `through_gateway`. `batch`: trades handled before other tasks get a turn.
    `ask`: for channels that have an entrance. `busy`: whether a base coin trades on other venues.
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

    async def run(self) -> None:
        """Keep every stream flowing; never ends by itself."""
        await asyncio.Event().wait()

    def add(self, states: Iterable[MarketState]) -> None:
        """Follow further markets; the streams already followed go on undisturbed."""

    def drop(self, names: Iterable[str]) -> None:
        """Stop following these markets."""
