"""The decision cycle: from a second's message to everything about it in Redis, per second."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import redis

from aggr_server.wire import CHANNEL, MARKETS_KEY, ClosedSecond, encode
from scripts.stack.running import StackError
from services.core.settings import InfluxSchemaSettings
from tests.bench.cycling import market, naive
from tests.bench.flooding.rig import Child, Stores, ending

SIZES = (3, 10, 20, 100)
SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}
SECONDS = 240
WARM_UP = 70
NAIVE_ROUNDS = 7
PACED = 10
"""With as many symbols, seconds also come a second apart."""

TICKS = 20


def run() -> dict[str, Any]:
    """strategy-runner as it is, in a process of its own, on a real Redis.

    Its history is as large as in operation: 4 h of seconds, 28 h of minutes, open interest of three
    exchanges. Five markets of every symbol trade in every second; every third symbol is in the
    middle of a squeeze. The next second is sent when the last one is written: 4 minutes and their
    ends for every number of symbols.

    A cycle: from the arrival of the message, still encoded, until Redis has acknowledged all that
    follows from it. In it: decoding, assembling, summing markets, deciding, saving of state,
    signals, counters. `p50_ms_N`, `p99_ms_N`, `max_ms_N`: CPU time of the process in a cycle with N
    symbols; `minute_ms_N`: the median of those that close a minute. `wall_*`: the time that passes
    meanwhile, which includes Redis and whatever else the machine does. `bus_*`: from before the
    message is published until then. `jitter_ms_10`: how far from a second apart seconds were
    written that were sent a second apart, 99th percentile. `window_s`: one-second bars that every
    symbol has in memory, at least. `rss_mb`: memory of the process with 20 symbols. `naive_ms`: the
    plain way for one symbol; `ratio_naive`: that over `wall_p50_ms_3` / 3.
    """
    folder = Path(tempfile.mkdtemp(prefix="cycle-"))
    stores = Stores(folder)
    try:
        stores.start()
        settings = stores.new_database()
        naive.store(settings)
        plain = naive.cycles_ms(settings, NAIVE_ROUNDS)
        sizes = {count: measure(count, stores, settings) for count in SIZES}
    finally:
        stores.stop()
    shutil.rmtree(folder, ignore_errors=True)
    naive_ms = statistics.median(plain)
    figures: dict[str, Any] = {}
    for count, measured in sizes.items():
        figures |= {f"{name}_{count}": value for name, value in measured.items()}
    return {
        **figures,
        "rss_mb": figures["rss_mb_20"],
        "naive_ms": round(naive_ms, 1),
        "ratio_naive": round(naive_ms / (figures["wall_p50_ms_3"] / 3)),
    }


def measure(count: int, stores: Stores, settings: InfluxSchemaSettings) -> dict[str, Any]:
    """The figures of `run` for `count` symbols, without its suffixes."""
    environ = {
        "REDIS_PORT": str(stores.redis.port),
        "INFLUX_PORT": str(settings.influx_port),
        "INFLUX_DATABASE": settings.influx_database,
        "HEARTBEAT_DIR": str(stores.folder / f"beats-{count}"),
    }
    with redis.Redis(port=stores.redis.port) as client:
        client.flushall()
        names = market.bases(count)
        for known in (m for base in names for m in market.markets(base)):
            client.hset(MARKETS_KEY, known.market, msgspec.json.encode(known))
        child = Child(
            "tests.bench.cycling.loop", str(count), log=stores.folder / "loop.log", environ=environ
        )
        with ending(child):
            return _figures(_play(child, client, names))


def _messages(names: list[str]) -> list[bytes]:
    coins = [market.Coin(base, i) for i, base in enumerate(names)]
    end = market.BEGIN + WARM_UP + SECONDS + TICKS
    rows = zip(*(coin.seconds(market.BEGIN, end) for coin in coins), strict=True)
    return [
        encode(
            ClosedSecond(
                "aggr-1",
                "e1",
                i + 1,
                market.BEGIN + i,
                (market.BEGIN + i + 1) * 1000 + 150,
                (market.BEGIN + i) * 1000 + 900,
                [bar for bars in row for bar in bars],
            )
        )
        for i, row in enumerate(rows)
    ]


def _play(child: Child, client: redis.Redis, names: list[str]) -> dict[str, Any]:
    messages = _messages(names)
    child.ask("taken")
    client.publish(CHANNEL, messages[0])
    _until(child, "warm")
    bus_ms = []
    for i in range(1, WARM_UP + SECONDS):
        sent, written = _send(child, client, messages, i)
        bus_ms.append((written - sent) / 1e6)
    report: dict[str, Any] = json.loads(child.ask("report"))
    jitter_ms = _paced(child, client, messages) if len(names) == PACED else []
    return {**report, "bus_ms": bus_ms[WARM_UP:], "jitter_ms": jitter_ms}


def _send(child: Child, client: redis.Redis, messages: list[bytes], i: int) -> tuple[int, int]:
    """When second `i` was sent and written, monotonic ns."""
    sent = time.perf_counter_ns()
    client.publish(CHANNEL, messages[i])
    written, index = (int(word) for word in child.ask().split())
    if index != i:
        raise StackError(f"cycle: second {index} was written when {i} was sent")
    return sent, written


def _paced(child: Child, client: redis.Redis, messages: list[bytes]) -> list[float]:
    first = WARM_UP + SECONDS
    begun, written = time.perf_counter(), []
    for i in range(first, len(messages)):
        time.sleep(max(0.0, begun + (i - first) - time.perf_counter()))
        written.append(_send(child, client, messages, i)[1])
    return [abs(b - a - 1e9) / 1e6 for a, b in pairwise(written)]


def _until(child: Child, answer: str) -> None:
    line = child.ask(answer)
    while line != answer:
        line = child.ask()


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    wall, cpu, bus = report["wall_ms"][WARM_UP:], report["cpu_ms"][WARM_UP:], report["bus_ms"]
    rows = zip(cpu, report["seconds"][WARM_UP:], strict=True)
    jitter = report["jitter_ms"]
    return {
        **{f"{name}_ms": _at(cpu, share) for name, share in SHARES.items()},
        "minute_ms": _at([ms for ms, second in rows if second % 60 == 59], 0.5),
        **{f"wall_{name}_ms": _at(wall, share) for name, share in SHARES.items()},
        **{f"bus_{name}_ms": _at(bus, share) for name, share in SHARES.items()},
        **({"jitter_ms": _at(jitter, 0.99)} if jitter else {}),
        "cycles": len(cpu),
        "rss_mb": round(report["rss_mb"], 1),
        "states": report["states"],
        "window_s": report["window_s"],
        "stages_ms": {
            part: report["stages"][part]["median"] for part in ("assemble", "decide", "write")
        },
    }


def _at(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)
