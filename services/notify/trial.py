"""One message of each kind and severity through every channel, to see whether they arrive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from aggr_server.env import load
from services.core.records import Alert, Fill
from services.core.settings import SystemMonitorSettings
from services.notify import channels, quiet
from services.notify.channels import Channel, NotSent
from services.notify.notices import Level, Notice, of_alert, of_fill
from services.notify.planner import Message

MARK = "Test: "
DOWN = "strategy-runner is down: no heartbeat for 30 s"
NOTHING_SET = (
    "NOTIFY_URLS is empty, so nothing is sent to anybody. Write Apprise URLs into "
    "secrets/notify_urls, one a line: https://appriseit.com/services/"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a channel said to a message. `failure`: why it has not taken it, empty if it has."""

    title: str
    took_s: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a channel fared; a message that fails is the last one tried."""

    label: str
    answers: tuple[Answer, ...]

    @property
    def failure(self) -> str:
        """Why it stopped, empty if it did not."""
        return self.answers[-1].failure


def samples(now_ms: int) -> list[Notice]:
    """An entry, an exit, a refusal, an alert of each severity and the end of an incident."""
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
    return [
        _fill(position | amounts | {"event": "opened", "price": 65_000.5}),
        _fill(position | amounts | ended | {"event": "closed", "price": 66_034.0}),
        _fill(position | refused | {"event": "rejected"}),
        _alert("info", "lease_taken", "strategy-runner", "it decides for BTCUSDT now", now_ms),
        _alert("warning", "disk_nearly_full", "/", "the disk of / is 81 % full", now_ms),
        _alert("critical", "service_down", "strategy-runner", DOWN, now_ms),
        _alert("info", "service_down", "strategy-runner", f"over after 40 s: {DOWN}", now_ms, True),
    ]


def _alert(
    level: Level, code: str, subject: str, text: str, now_ms: int, over: bool = False
) -> Notice:
    return of_alert(
        Alert(
            level=level,
            code=code,
            subject=subject,
            text=text,
            ts_ms=now_ms,
            ended_level="critical" if over else "",
        )
    )


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
        for text in _lines(outcome):
            print(text)
    return 1 if any(outcome.failure for outcome in outcomes) else 0


async def _through(way: Channel, notices: Sequence[Notice]) -> Outcome:
    answers: list[Answer] = []
    try:
        for notice in notices:
            title, start = f"{MARK}{notice.title}", time.monotonic()
            failure = ""
            try:
                await way.send(Message(title, notice.body, notice.tone, (notice,)))
            except NotSent as error:
                failure = str(error)
            answers.append(Answer(notice.title, time.monotonic() - start, failure))
            if failure:
                break
    finally:
        way.close()
    return Outcome(way.label, tuple(answers))


def _lines(outcome: Outcome) -> Iterator[str]:
    for answer in outcome.answers:
        said = f"FAILED: {answer.failure}" if answer.failure else f"sent in {answer.took_s:.2f} s"
        yield f"{outcome.label}: {answer.title}: {said}"
    if not outcome.failure:
        yield f"{outcome.label}: all {len(outcome.answers)} messages sent"
        return
    yield (
        f"{outcome.label}: stopped after {len(outcome.answers) - 1} messages. Check its URL in "
        "NOTIFY_URLS or secrets/notify_urls, and whether this host reaches the service"
    )
