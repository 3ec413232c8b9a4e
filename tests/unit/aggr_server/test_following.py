from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggr_server import exchanges, following
from aggr_server.bars import BarBuilder
from aggr_server.discovery import Selection
from aggr_server.exchanges.base import Instrument, StreamKind
from aggr_server.following import Venue
from aggr_server.gaps import GapBook
from aggr_server.instruments import InstrumentCache
from aggr_server.markets import MarketState
from aggr_server.settings import CollectorSettings
from aggr_server.shards import Shard

OKEX = exchanges.get("OKEX")
ALL = Shard()


def _instrument(base: str, size: float = 1.0) -> Instrument:
    name = f"{base}-USDT-SWAP"
    return Instrument(
        symbol=name,
        wire=name,
        base=base,
        quote="USDT",
        kind="perp",
        channel="public",
        contract_size=size,
    )


class FakeFeeds:
    """Notes what is fed."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.feeds: list[Any] = []
        self.fed: dict[str, MarketState] = {}

    def add(self, states: Iterable[MarketState]) -> None:
        self.fed.update((state.name, state) for state in states)

    def drop(self, names: Iterable[str]) -> None:
        for name in names:
            del self.fed[name]


class FakeOwner:
    """Makes states, and notes what it is told."""

    def __init__(self) -> None:
        self.builder = BarBuilder()
        self.told: list[tuple[str, list[str]]] = []

    def listed(self, venue: Venue, available: Mapping[str, Instrument]) -> None:
        self.told.append(("listed", sorted(available)))

    def found(self, venue: Venue, instruments: Sequence[Instrument]) -> list[MarketState]:
        names = [venue.adapter.market(i) for i in instruments]
        self.told.append(("found", names))
        return [
            MarketState(venue.adapter, i, self.builder.series(name))
            for i, name in zip(instruments, names, strict=True)
        ]

    def gone(self, venue: Venue, names: Iterable[str]) -> None:
        self.told.append(("gone", list(names)))

    def live(self, market: MarketState, kind: StreamKind, at_ms: int) -> None: ...
    def lost(self, market: MarketState, kind: StreamKind, at_ms: int, reason: str) -> None: ...
    def refused(self, market: MarketState, kind: StreamKind, reason: str) -> None: ...
    def doubtful(self, market: MarketState, from_ms: int, to_ms: int, reason: str) -> None: ...


@pytest.fixture
def owner() -> FakeOwner:
    return FakeOwner()


def venue_of(
    owner: FakeOwner, monkeypatch: pytest.MonkeyPatch, shard: Shard = ALL
) -> tuple[Venue, FakeFeeds]:
    feeds = FakeFeeds()
    monkeypatch.setattr(following, "VenueFeeds", lambda *_, **__: feeds)
    settings = CollectorSettings(aggr_symbols=("BTC", "ETH", "SOL"))
    anything: Any = None
    venue = Venue(
        OKEX,
        settings,
        anything,
        anything,
        owner,
        book=GapBook(),
        selection=Selection(settings),
        shard=shard,
        cache=InstrumentCache(Path("/nonexistent")),
        forced=None,
        busy=lambda _: False,
    )
    return venue, feeds


def test_a_refreshed_list_adds_new_markets_and_drops_those_that_vanished(
    owner: FakeOwner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    venue, feeds = venue_of(owner, monkeypatch)
    venue._take([_instrument("BTC"), _instrument("ETH"), _instrument("XRP")])
    assert sorted(feeds.fed) == ["OKEX:BTC-USDT-SWAP", "OKEX:ETH-USDT-SWAP"]
    first = feeds.fed["OKEX:ETH-USDT-SWAP"]
    venue._take([_instrument("ETH"), _instrument("SOL")])
    assert sorted(feeds.fed) == ["OKEX:ETH-USDT-SWAP", "OKEX:SOL-USDT-SWAP"]
    assert feeds.fed["OKEX:ETH-USDT-SWAP"] is first, "what goes on is not disturbed"
    assert sorted(venue.markets) == sorted(feeds.fed)
    assert [what for what, _ in owner.told] == ["found", "listed", "gone", "found", "listed"]
    assert "OKEX:BTC-USDT-SWAP" in caplog.text


def test_a_changed_contract_size_is_applied_and_told(
    owner: FakeOwner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    venue, feeds = venue_of(owner, monkeypatch)
    venue._take([_instrument("BTC", 0.01), _instrument("ETH")])
    venue._take([_instrument("BTC", 0.001), _instrument("ETH")])
    assert feeds.fed["OKEX:BTC-USDT-SWAP"].instrument.contract_size == 0.001
    assert "contract_before=0.01 contract=0.001" in caplog.text


def test_an_empty_list_does_not_end_what_is_followed(
    owner: FakeOwner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    venue, feeds = venue_of(owner, monkeypatch)
    venue._take([_instrument("BTC")])
    venue._take([])
    assert sorted(feeds.fed) == ["OKEX:BTC-USDT-SWAP"]
    assert "lists none of the markets" in caplog.text


def test_two_shards_follow_every_market_once(
    owner: FakeOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [_instrument(base) for base in ("BTC", "ETH", "SOL")]
    followed: list[str] = []
    for index in (1, 2):
        venue, feeds = venue_of(owner, monkeypatch, Shard(index, 2))
        venue._take(found)
        followed += feeds.fed
        assert owner.told[-1] == ("listed", sorted(OKEX.market(i) for i in found))
    assert sorted(followed) == sorted(OKEX.market(i) for i in found)


def test_forced_orders_of_a_channel_of_their_own_belong_to_the_market(
    owner: FakeOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue, _ = venue_of(owner, monkeypatch)
    for name, channel in OKEX.channels.items():
        if "trades" in channel.carries:
            perp = msgspec.structs.replace(_instrument("BTC"), channel=name)
            assert "trades" in venue.kinds(perp)
            spot = msgspec.structs.replace(perp, kind="spot")
            assert venue.kinds(spot) == ["trades"]


def test_a_clock_that_turns_out_to_be_ahead_makes_the_gap_longer(
    owner: FakeOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue, feeds = venue_of(owner, monkeypatch)
    venue._take([_instrument("BTC")])
    (name,) = feeds.fed
    t0 = 1_700_000_000
    book = venue._book
    book.begin(name, "trades", t0, "start")
    assert venue.live(name, "trades", t0 * 1000) == t0 + 1
    feeds.fed[name].last_trade_ms = (t0 + 6) * 1000
    venue.tick((t0 + 1) * 1000)
    assert {s for g in book.spans() for s in range(g.from_s, g.to_s)} == set(range(t0, t0 + 6))
