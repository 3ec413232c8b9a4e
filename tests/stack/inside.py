"""What can only be asked from inside the networks of a stack: `python -m tests.stack.inside WHAT`.

Answers with one JSON object, the last line of its output. Runs in a container that has the sources
and knows the servers from its environment; needs no test framework.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import Any, cast

import msgspec

from aggr_server import wire
from aggr_server.env import load
from aggr_server.influx import InfluxClient
from scripts.stack.evidence import Evidence
from scripts.stack.probes import redis_client
from services.core import clients, names
from services.core.records import Fill, Signal
from services.core.settings import MonitorSettings, StrategySettings
from services.market.symbols import symbol_of
from tests.accounting import gaps_without_reason, minutes_that_differ, seconds_in_gaps
from tests.integration.trading.stage import Stage, Tape, leaders, ready

SETTLE_S = 45
ROLLED_UP_S = 90
"""By then a minute has been made of its seconds."""


def state() -> dict[str, Any]:
    """The market's phases, and how far the signals have come."""
    evidence = Evidence(os.environ)
    story = evidence.story()
    return {
        "phases": {
            base: told["phase"] for base, told in evidence.simulator("status")["symbols"].items()
        },
        "signals": {s.signal_id: s.base_symbol for s in story.signals.values()},
        "opened": sorted(story.opened),
        "closed": sorted(story.closed),
        "outcomes": story.outcomes,
        "finished": story.finished,
    }


def bars() -> dict[str, Any]:
    """Every bar against the list of trades, gaps that could have been fetched, minutes that are not
    the sum of their seconds, and how many bars there are of each market."""
    evidence = Evidence(os.environ)
    audit = evidence.audit()
    base = wire.TIMEFRAMES[0]
    live_from = int(evidence.simulator("status")["live_from"])
    now = int(time.time())
    counted = evidence.influx(
        f'SELECT count("close") FROM "{base.retention_policy}"."{base.measurement}" '
        f"WHERE time >= {live_from}s GROUP BY market"
    )
    gaps = gaps_without_reason(evidence, live_from, now)
    return {
        "audit": asdict(audit),
        "gaps": [msgspec.to_builtins(gap) for gap in gaps],
        "minutes": minutes_that_differ(
            evidence, -(-live_from // 60) * 60, (now - ROLLED_UP_S) // 60 * 60
        ),
        "seconds_in_gaps": seconds_in_gaps(evidence, live_from, now),
        "bars": {row["market"]: row["count"] for row in counted},
        "markets": evidence.simulator("status")["markets"],
    }


def told() -> dict[str, Any]:
    """How often each event of a signal was published, and each fill reported; `SIGNAL EVENT`."""
    bus = redis_client(load(MonitorSettings, os.environ))
    published: Counter[str] = Counter()
    for key in bus.scan_iter(match=names.history("*"), count=1000):
        for data in cast(list[bytes], bus.lrange(key, 0, -1)):
            signal = msgspec.json.decode(data, type=Signal)
            published[f"{signal.signal_id} {signal.event}"] += 1
    filled: Counter[str] = Counter()
    for _, entry in cast(list[tuple[bytes, dict[bytes, bytes]]], bus.xrange(names.FILLS_STREAM)):
        fill = msgspec.json.decode(entry[b"data"], type=Fill)
        filled[f"{fill.signal_id} {fill.event}"] += 1
    return {"published": published, "filled": filled}


async def play(first_s: int, spread_s: int, seed: int) -> dict[str, Any]:
    """Signals on a market of known outcome, from `first_s` seconds on, spread over `spread_s`.

    The runners under REDIS_HOST and the one under SINGLE_REDIS_HOST are to decide alike. Says
    `ready` when there is something to load.
    """
    settings = load(StrategySettings, os.environ)
    single = msgspec.structs.replace(settings, redis_host=os.environ["SINGLE_REDIS_HOST"])
    draw = random.Random(seed)
    first = int(time.time()) + first_s
    tapes = [
        Tape(base, draw.choice(("S2", "S5")), first + draw.randrange(spread_s))
        for base in settings.aggr_symbols
    ]
    async with (
        InfluxClient(settings) as influx,
        clients.redis_client(settings) as bus,
        clients.redis_client(single) as other,
        Stage(influx, tapes, bus, other) as stage,
    ):
        print("ready", flush=True)
        await asyncio.sleep(stage.last_signal + SETTLE_S - time.time())
        decided, expected = [await exchange.decisions() for exchange in stage.exchanges]
    counts = Counter((d.signal_id, d.event) for d in decided)
    return {
        "symbols": len(tapes),
        "expected": Counter(d.event for d in expected),
        "seconds": sorted(d.second for d in expected),
        "lost": [d for d in expected if d not in decided],
        "other": [d for d in decided if d not in expected],
        "doubled": [list(key) for key, count in counts.items() if count > 1],
    }


async def replicas() -> dict[str, Any]:
    """Who leads what, and which replicas could take over any symbol."""
    settings = load(StrategySettings, os.environ)
    symbols = [symbol_of(base) for base in settings.aggr_symbols]
    async with clients.redis_client(settings) as bus:
        return {"leaders": await leaders(bus, symbols), "ready": sorted(await ready(bus))}


def main(arguments: list[str]) -> int:
    what, *rest = arguments
    answers = {"state": state, "bars": bars, "told": told}
    if what in answers:
        answer = answers[what]()
    elif what == "replicas":
        answer = asyncio.run(replicas())
    else:
        answer = asyncio.run(play(*map(int, rest)))
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
