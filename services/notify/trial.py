"""One message of each kind through every channel, to see whether they arrive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from aggr_server.env import load
from services.core.records import Alert, Fill
from services.core.settings import SystemMonitorSettings
from services.notify import channels, quiet
from services.notify.channels import Channel, NotSent
from services.notify.notices import Notice, of_alert, of_fill
from services.notify.planner import Message

MARK = "Test: "
NOTHING_SET = (
    "NOTIFY_URLS is empty, so nothing is sent to anybody. Write Apprise URLs into "
    "secrets/notify_urls, one a line: https://appriseit.com/services/"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a channel fared. `failure`: why it stopped after `sent` messages, empty if it did not."""

    label: str
    sent: int
    failure: str = ""


def samples(now_ms: int) -> list[Notice]:
    """An entry, an exit, a refusal, two alerts and the end of an incident."""
    position: dict[str, object] = {
        "signal_id": "00000000-test",
        "symbol": "BTCUSDT",
        "pair": "BTC/USDT:USDT",
        "side": "long",
        "ts_ms": now_ms,
        "leverage": 3.0,
    }
    amounts: dict[str, object] = {"amount": 0.004, "stake": 86.67, "trade_id": 0}
    ended: dict[str, object] = {"reason": "sf_flow_reversal", "pnl": 4.13, "pnl_ratio": 0.0476}
    refused: dict[str, object] = {"price": 65_000.0, "reason": "price_deviation"}
    down = "strategy-runner is down: no heartbeat for 30 s"
    return [
        _fill(position | amounts | {"event": "opened", "price": 65_000.5}),
        _fill(position | amounts | ended | {"event": "closed", "price": 66_034.0}),
        _fill(position | refused | {"event": "rejected"}),
        of_alert(Alert(level="warning", code="disk", text="disk of / is 81 % full", ts_ms=now_ms)),
        of_alert(Alert(level="critical", code="heartbeat_missing", text=down, ts_ms=now_ms)),
        of_alert(
            Alert(
                level="info",
                code="heartbeat_missing",
                text=f"over after 40 s: {down}",
                ts_ms=now_ms,
                ended_level="critical",
            )
        ),
    ]


def _fill(fields: dict[str, object]) -> Notice:
    return of_fill(msgspec.convert(fields, Fill))


async def send(ways: Sequence[Channel]) -> list[Outcome]:
    """Send the samples through all channels at once; a channel that fails is not tried again."""
    notices = samples(time.time_ns() // 1_000_000)
    return list(await asyncio.gather(*(_through(way, notices) for way in ways)))


def run(environ: Mapping[str, str]) -> int:
    """Send them and print how it went; 0 if all arrived, else 1. Raises `SettingsError`."""
    settings = load(SystemMonitorSettings, environ)
    quiet.parse(settings.notify_quiet_hours)
    ways = channels.load(settings.notify_urls)
    if not ways:
        print(NOTHING_SET)
        return 1
    outcomes = asyncio.run(send(ways))
    for outcome in outcomes:
        print(_line(outcome))
    return 1 if any(outcome.failure for outcome in outcomes) else 0


async def _through(way: Channel, notices: Sequence[Notice]) -> Outcome:
    sent = 0
    try:
        for notice in notices:
            title = f"{MARK}{notice.title}"
            await way.send(Message(title, notice.body, notice.tone, (notice,)))
            sent += 1
    except NotSent as error:
        return Outcome(way.label, sent, str(error))
    finally:
        way.close()
    return Outcome(way.label, sent)


def _line(outcome: Outcome) -> str:
    if not outcome.failure:
        return f"{outcome.label}: all {outcome.sent} messages sent"
    return (
        f"{outcome.label}: FAILED after {outcome.sent} messages: {outcome.failure}. Check its URL "
        "in NOTIFY_URLS or secrets/notify_urls, and whether this host reaches the service"
    )
