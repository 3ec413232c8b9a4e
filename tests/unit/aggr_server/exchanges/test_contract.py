"""What every adapter must do, shown by the fixtures of its exchange."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
import pytest

from aggr_server import clock
from aggr_server.bars import BarBuilder
from aggr_server.exchanges.base import (
    USD_QUOTES,
    Adapter,
    Channel,
    Instrument,
    Liquidation,
    Stream,
    Trade,
    Window,
)
from aggr_server.markets import MarketState
from aggr_server.wire import Bar
from tests.unit.aggr_server.exchanges import fixture_files
from tests.unit.aggr_server.exchanges.fixture_files import NAMES, Fixtures, Markets, parse_all

EXACT = 1e-9
SOON_MS = 5_000
LONGEST_MESSAGE = 32_768


@pytest.fixture(params=NAMES)
def venue(request: pytest.FixtureRequest) -> Fixtures:
    return fixture_files.of(request.param)


def _approx(described: dict[str, Any]) -> dict[str, Any]:
    return {
        key: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
        for key, value in described.items()
    }


def _channel_of(adapter: Adapter, instrument: Instrument) -> list[str]:
    return [
        name
        for name, channel in adapter.channels.items()
        if (channel.instruments_of or name) == instrument.channel
    ]


def test_the_fixtures_are_complete(venue: Fixtures) -> None:
    adapter, events = venue.adapter, venue.events
    assert venue.frames, f"{venue.folder} has no frames.jsonl"
    assert len(events) == len(venue.frames), "events.jsonl has not one line for each frame"
    assert {e["side"] for e in venue.described("trade")} == {"buy", "sell"}
    assert [] in events, "no frame that is to be ignored"
    assert len(venue.answers()) >= 1, "no instruments*.json"
    streams = [s for i in venue.instruments for c in _channel_of(adapter, i)
               for s in adapter.streams(c, i)]  # fmt: skip
    acks = sum(m.acks for c in adapter.channels for m in adapter.subscriptions(c, streams))
    if acks:
        assert any(venue.described("ack")), "no confirmation"
        assert any(venue.described("rejection")), "no refusal"
    if any("liquidations" in channel.carries for channel in adapter.channels.values()):
        assert {e["side"] for e in venue.described("liquidation")} == {"buy", "sell"}
    if any(channel.greets for channel in adapter.channels.values()):
        assert any(venue.described("greeting"))
    if any(adapter.past(i, Window(0, 1000)) for i in venue.instruments):
        assert venue.recoveries, "no past*.json"


def test_every_frame_says_what_the_venue_documents(venue: Fixtures) -> None:
    markets = Markets(venue.adapter, venue.instruments)
    for number, (frame, found, expected) in enumerate(
        zip(venue.frames, parse_all(venue.adapter, venue.frames), venue.events, strict=True)
    ):
        described = [markets.describe(event) for event in found]
        assert described == [_approx(event) for event in expected], f"{number}: {frame[:300]!r}"


def test_trades_come_oldest_first_with_ids_that_differ(venue: Fixtures) -> None:
    for events in parse_all(venue.adapter, venue.frames):
        by_market: dict[str, list[Trade]] = defaultdict(list)
        for event in events:
            if isinstance(event, Trade):
                by_market[event.wire].append(event)
        for trades in by_market.values():
            keys = [(t.ts_ms, t.order) for t in trades]
            assert keys == sorted(keys)
            ids = [t.id for t in trades if t.id != ""]
            assert len(set(ids)) == len(ids)


def test_instruments_are_usable(venue: Fixtures) -> None:
    adapter, instruments = venue.adapter, venue.instruments
    assert len({i.symbol for i in instruments}) == len(instruments)
    for instrument in instruments:
        assert instrument.channel in adapter.channels
        assert instrument.symbol
        assert instrument.wire
        if instrument.quote in USD_QUOTES:
            assert instrument.base
        if instrument.inverse:
            assert instrument.kind != "spot"
        assert _channel_of(adapter, instrument)


def test_what_is_assumed_is_what_is_listed(venue: Fixtures) -> None:
    """`decode` without a list of instruments must not tell units wrong."""
    adapter = venue.adapter
    markets = Markets(adapter, venue.instruments)
    for events in parse_all(adapter, venue.frames):
        for event in events:
            if isinstance(event, Trade | Liquidation):
                listed, assumed = markets.of(event), adapter.assume(event.wire, event)
                assert (assumed.symbol, assumed.kind, assumed.inverse) == (
                    listed.symbol,
                    listed.kind,
                    listed.inverse,
                )
                assert assumed.contract_size in (listed.contract_size, None)


def test_c18_every_family_of_sizes_occurs_among_the_trades(venue: Fixtures) -> None:
    listed = {venue.adapter.market(i): i for i in venue.instruments}
    traded = [listed[e["trade"]] for e in venue.described("trade")]
    assert fixture_files.families(traded) == fixture_files.families(venue.instruments)


def test_c18_bars_add_up_to_the_trades(venue: Fixtures) -> None:
    """Through the collector's own pipeline, against sums made from the expected events."""
    adapter = venue.adapter
    by_second: dict[int, list[Trade | Liquidation]] = defaultdict(list)
    for event in (e for events in parse_all(adapter, venue.frames) for e in events):
        if isinstance(event, Trade | Liquidation):
            by_second[event.ts_ms // 1000].append(event)
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for second, events in by_second.items():
        for bar in _bars(adapter, Markets(adapter, venue.instruments), second, events):
            for key in ("vbuy", "vsell", "cbuy", "csell", "lbuy", "lsell"):
                if getattr(bar, key):
                    found[bar.market][key] += getattr(bar, key)
    assert found == {
        market: {key: pytest.approx(value, rel=EXACT) for key, value in sums.items()}
        for market, sums in _expected_sums(venue).items()
    }


def _expected_sums(venue: Fixtures) -> dict[str, dict[str, float]]:
    wanted: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for event in venue.described("trade"):
        wanted[event["trade"]][f"v{event['side']}"] += event["notional"]
        wanted[event["trade"]][f"c{event['side']}"] += 1
    for event in venue.described("liquidation"):
        wanted[event["liquidation"]][f"l{event['side']}"] += event["notional"]
    return wanted


def _bars(
    adapter: Adapter, markets: Markets, second: int, events: list[Trade | Liquidation]
) -> list[Bar]:
    """The bars of one second, closed when it is over."""
    builder = BarBuilder()
    builder.advance(second * 1000 + 200)
    states: dict[str, MarketState] = {}
    for event in events:
        instrument = markets.of(event)
        name = adapter.market(instrument)
        if name not in states:
            states[name] = MarketState(adapter, instrument, builder.series(name))
        if isinstance(event, Trade):
            states[name].trade(event)
        else:
            states[name].liquidation(event)
    assert not any(s.invalid or s.duplicates for s in states.values())
    (closed,) = builder.advance((second + 1) * 1000 + 200)
    return closed.bars


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_subscriptions_cover_every_stream_within_the_limits(venue: Fixtures, share: float) -> None:
    adapter = venue.adapter
    for name, channel in adapter.channels.items():
        streams = _streams(adapter, name, channel, venue.instruments, share)
        if not streams:
            continue
        assert len(streams) <= channel.max_streams
        messages = adapter.subscriptions(name, streams)
        assert messages
        text = "\n".join(message.text for message in messages)
        for message in messages:
            assert len(message.text.encode()) <= LONGEST_MESSAGE
            assert message.acks >= 0
        for stream in streams:
            if stream.kind == "trades":
                assert _names(stream.instrument, text), f"{name}: {stream.instrument.wire}"
        if adapter.ping_interval_s:
            ping = adapter.ping(name, 1_700_000_000)
            assert ping == "" or adapter.ping_interval_s >= 1.0


def _names(instrument: Instrument, text: str) -> bool:
    wire = instrument.wire
    return any(word in text for word in (wire, wire.lower(), instrument.symbol))


def _streams(
    adapter: Adapter, name: str, channel: Channel, instruments: list[Instrument], share: float
) -> list[Stream]:
    """As many as a connection may carry, of invented markets like the listed ones."""
    like = [i for i in instruments if name in _channel_of(adapter, i)]
    wanted = max(1, int(channel.max_streams * share))
    streams: list[Stream] = []
    for number in range(wanted):
        for i in like[number % len(like) :][:1] if like else []:
            suffix = f"{number}" if number >= len(like) else ""
            renamed = msgspec.structs.replace(
                i, symbol=f"{suffix}{i.symbol}", wire=f"{suffix}{i.wire}"
            )
            streams += adapter.streams(name, renamed)
    return streams[:wanted]


def test_recovery_asks_for_the_window_and_no_more(
    venue: Fixtures, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = venue.adapter
    listed = {adapter.market(i): i for i in venue.instruments}
    for file, recovery in venue.recoveries.items():
        instrument = listed[recovery.market]
        window = Window(recovery.from_ms, recovery.to_ms)
        # Some venues only know how long ago something was.
        monkeypatch.setattr(clock, "now_ms", lambda to_ms=recovery.to_ms: to_ms + SOON_MS)
        request = adapter.past(instrument, window)
        trades: dict[Any, Trade] = {}
        orders: dict[Any, Liquidation] = {}
        since_ms = 0
        for number, step in enumerate(recovery.steps):
            assert request is not None, f"{file}: page {number} is not asked for"
            asked = (request.url, request.method, request.body)
            assert asked == (step.url, step.method, step.body), f"{file}, page {number}"
            past = adapter.read_past(instrument, window, bytes(step.answer))
            assert all(t.wire == instrument.wire for t in past.trades), file
            for place, trade in enumerate(past.trades):
                trades[trade.id if trade.id != "" else (number, place)] = trade
            for order in past.liquidations or ():
                orders[order.id] = order
            since_ms, request = max(since_ms, past.since_ms), past.next
        assert request is None, f"{file}: {request} is asked for once more"
        _compare(adapter, instrument, recovery, list(trades.values()), list(orders.values()))
        assert since_ms == recovery.since_ms, file


def _compare(
    adapter: Adapter,
    instrument: Instrument,
    recovery: fixture_files.Recovery,
    trades: list[Trade],
    orders: list[Liquidation],
) -> None:
    markets = Markets(adapter, [instrument])

    def within(events: list[Any]) -> list[dict[str, Any]]:
        inside = [e for e in events if recovery.from_ms <= e.ts_ms < recovery.to_ms]
        inside.sort(key=lambda e: (e.ts_ms, getattr(e, "order", 0)))
        return [markets.amounts(event) for event in inside]

    assert within(trades) == [_approx(event) for event in recovery.trades]
    if recovery.liquidations is not None:
        assert within(orders) == [_approx(event) for event in recovery.liquidations]


def test_pacing_is_within_reason(venue: Fixtures) -> None:
    adapter = venue.adapter
    assert 0 < adapter.connect_spacing_s <= 60
    assert 0 < adapter.message_spacing_s <= 5
    assert 0 < adapter.rest_spacing_s <= 30
    assert 1 <= adapter.ping_interval_s <= 180
    for channel in adapter.channels.values():
        assert channel.max_streams >= 1
        assert channel.url.startswith("wss://")
        assert channel.instruments_of in ("", *adapter.channels)
    for request in adapter.discovery:
        assert request.url.startswith("https://")
