"""What the running demo has to show: signals, trades, outcomes, bars, latencies."""

from __future__ import annotations

import math
import statistics
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

import msgspec
import redis

from aggr_server import wire
from aggr_server.env import load
from scripts.stack.audit import Audit, Key, bars_of, compare
from scripts.stack.probes import fetch, redis_client
from services.core import names
from services.core.records import Fill, Signal
from services.core.settings import MonitorSettings

PAGE_S = 300
QUERY_TIMEOUT_S = 30.0
SETTLED_S = 10
"""Late trades and the database's own delay: bars younger than this are not compared yet."""
MAX_SAMPLES = 100_000

_FIELDS = (*wire.FLOAT_FIELDS, *wire.COUNT_FIELDS)


@dataclass(slots=True)
class Story:
    """The way of the signals so far. Trades are freqtrade's, by the signal id in `enter_tag`.

    `repeated`: what happened more than once though it must not, in words.
    """

    signals: dict[str, Signal] = field(default_factory=dict)
    opened: dict[str, dict[str, Any]] = field(default_factory=dict)
    closed: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)

    @property
    def finished(self) -> list[str]:
        """Signals that were traded, closed, and have their outcome on record."""
        return [
            signal_id
            for signal_id in self.closed
            if self.outcomes.get(signal_id) in ("profitable", "unprofitable")
        ]


class Evidence:
    """Asks the services of a running demo. Raises `OSError` and `redis.RedisError`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._settings = load(MonitorSettings, environ)
        self._simulator = self._settings.exchange_gateway
        self._redis = redis_client(self._settings)

    def influx(self, query: str) -> list[dict[str, Any]]:
        """Rows of an InfluxQL query, tags merged in, times in milliseconds."""
        settings = self._settings
        parameters = urllib.parse.urlencode(
            {"db": settings.influx_database, "q": query, "epoch": "ms"}
        )
        url = f"http://{settings.influx_host}:{settings.influx_port}/query?{parameters}"
        password = settings.influx_password
        login = (settings.influx_username, password) if password else None
        answer = fetch(url, login=login, timeout_s=QUERY_TIMEOUT_S)
        rows = []
        for series in answer["results"][0].get("series", []):
            for values in series["values"]:
                row = dict(zip(series["columns"], values, strict=True))
                rows.append({**series.get("tags", {}), **row})
        return rows

    def simulator(self, path: str) -> dict[str, Any]:
        """A page of the simulator's own interface."""
        page = fetch(f"{self._simulator}/control/{path}", timeout_s=QUERY_TIMEOUT_S)
        return cast(dict[str, Any], page)

    def markets(self) -> int:
        """Markets the collector follows."""
        return self._redis.hlen(wire.MARKETS_KEY)

    def story(self) -> Story:
        """Everything that has happened so far."""
        story = Story()
        happened: Counter[tuple[str, str]] = Counter()
        for row in self.influx(
            f'SELECT "signal_id", "outcome" FROM "{names.SIGNALS_MEASUREMENT}" '
            "WHERE action != 'CLOSE'"
        ):
            happened[row["signal_id"], "recorded"] += 1
            story.outcomes[row["signal_id"]] = row["outcome"]
        for signal in self._published():
            happened[signal.signal_id, f"published as {signal.event}"] += 1
            if signal.event == "ENTRY":
                story.signals[signal.signal_id] = signal
        for trade in self._trades():
            signal_id = _signal_id(trade)
            happened[signal_id, "traded"] += 1
            story.opened[signal_id] = trade
            if not trade["is_open"]:
                story.closed[signal_id] = trade
        story.repeated = [
            f"signal {signal_id} was {what} {times} times"
            for (signal_id, what), times in happened.items()
            if times > 1
        ]
        return story

    def _published(self) -> Iterator[Signal]:
        # A scan may name a key twice.
        for key in set(self._redis.scan_iter(match=names.history("*"), count=1000)):
            for data in cast(list[bytes], self._redis.lrange(key, 0, -1)):
                yield msgspec.json.decode(data, type=Signal)

    def _trades(self) -> list[dict[str, Any]]:
        """Each of freqtrade's trades once, also one that closes between the two questions."""
        found = [*self._freqtrade("status"), *self._freqtrade("trades?limit=500")["trades"]]
        return list({trade["trade_id"]: trade for trade in found}.values())

    def fills(self) -> Iterator[Fill]:
        """What freqtrade reported, oldest first."""
        for _, entry in cast(
            list[tuple[bytes, dict[bytes, bytes]]], self._redis.xrange(names.FILLS_STREAM)
        ):
            yield msgspec.json.decode(entry[b"data"], type=Fill)

    def audit(self, start: int | None = None, end: int | None = None) -> Audit:
        """Compare every bar of the seconds [start, end), as far as the ledger reaches; if not
        given, those since live trading began that have settled."""
        result = Audit()
        if start is None:
            start = int(self.simulator("status")["live_from"])
        if end is None:
            end = int(time.time()) - SETTLED_S
        gaps = [gap for gap in self.gaps(start) if gap.reason != wire.FORCED_ORDERS_ONLY]
        for page in range(start, end, PAGE_S):
            self._audit_page(page, min(page + PAGE_S, end), gaps, result)
        return result

    def _audit_page(self, start: int, end: int, gaps: list[wire.Gap], result: Audit) -> None:
        ledger = self.simulator(f"ledger?from={start}&to={end}")
        expected = {}
        for market, trades in ledger["markets"].items():
            expected.update(bars_of(market, trades))
        excused: set[Key] = {
            (market, second) for market in ledger["markets"] for second in ledger["uncertain"]
        }
        for gap in gaps:
            seconds = range(max(start, gap.from_s), min(end, gap.to_s))
            excused.update((gap.market, second) for second in seconds)
        compare(expected, self.stored(start, end), excused, result)

    def stored(self, start: int, end: int) -> dict[Key, dict[str, Any]]:
        """The one-second bars in InfluxDB of the seconds [start, end)."""
        base = wire.TIMEFRAMES[0]
        rows = self.influx(
            f"SELECT {', '.join(_FIELDS)} FROM "
            f'"{base.retention_policy}"."{base.measurement}" '
            f"WHERE time >= {start}s AND time < {end}s GROUP BY market"
        )
        return {(row["market"], row["time"] // 1000): row for row in rows}

    def gaps(self, start: int) -> list[wire.Gap]:
        """What the collector recorded as incomplete, from a day before `start` on."""
        rows = self.influx(
            f'SELECT from_s, to_s, market, reason FROM "{wire.GAPS_MEASUREMENT}" '
            f"WHERE time >= {start - 86_400}s"
        )
        if any(row["from_s"] is None or row["to_s"] is None for row in rows):
            raise ConnectionError("a gap is being written just now: ask again")
        return [
            wire.Gap(row["market"], int(row["from_s"]), int(row["to_s"]), row["reason"] or "")
            for row in rows
        ]

    def _freqtrade(self, path: str) -> Any:
        settings = self._settings
        login = (settings.freqtrade_api_username, settings.freqtrade_api_password)
        return fetch(
            f"{settings.freqtrade_api_url}/api/v1/{path}", login=login, timeout_s=QUERY_TIMEOUT_S
        )


class BusSampler:
    """Listens to the bars channel in the background: milliseconds from trade to publication."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._redis = redis_client(load(MonitorSettings, environ))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.samples: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._redis.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except redis.RedisError:
                self._stop.wait(1.0)  # Redis is being restarted

    def _read(self) -> None:
        with self._redis.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        ) as channel:
            channel.subscribe(wire.CHANNEL)
            while not self._stop.is_set() and len(self.samples) < MAX_SAMPLES:
                message = channel.get_message(timeout=0.5)
                if message is None:
                    continue
                second = wire.decode(message["data"])
                if second.last_trade_ms is not None:
                    self.samples.append(second.published_ms - second.last_trade_ms)


def latencies(story: Story, fills: Iterator[Fill], bars: list[int]) -> dict[str, dict[str, float]]:
    """Milliseconds of the three parts of the way."""
    # In the history, the time of a signal's last refresh is that of its publication.
    published = story.signals
    signals = [
        signal.refreshed_ms - signal.bar_published_ms
        for signal in published.values()
        if signal.bar_published_ms
    ]
    trades = [
        fill.ts_ms - published[fill.signal_id].refreshed_ms
        for fill in fills
        if fill.event == "opened" and fill.signal_id in published
    ]
    return {
        "bar": latencies_of(bars),
        "signal": latencies_of(signals),
        "trade": latencies_of(trades),
    }


def latencies_of(samples: list[int]) -> dict[str, Any]:
    """Median, 99th percentile and maximum of `samples`; None if there are none."""
    if not samples:
        return {"median": None, "p99": None, "max": None}
    rank = math.ceil(len(samples) * 0.99) - 1
    return {
        "median": statistics.median(samples),
        "p99": sorted(samples)[rank],
        "max": max(samples),
    }


def _signal_id(trade: Mapping[str, Any]) -> str:
    return str(trade.get("enter_tag") or "").removeprefix("sf:")
