"""One run: processes started, faults and kills as drawn, and the verdict at the end."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scripts.stack.evidence import Evidence
from tests.exactness import schedule
from tests.exactness.schedule import Kill, Schedule
from tests.exactness.stack import Stack, Timeline
from tests.exactness.verdict import Verdict, judge, lasting_gaps

SETTLE_S = 60
SETTLE_AT_MOST_S = 1500
"""A venue that turned us away for our location is left alone for a quarter of an hour."""

_LOOK_EVERY_S = 30

Report = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What to run. `faults`: False for a run in which nothing goes wrong."""

    seed: int
    minutes: float
    speed: float
    venues: Sequence[str]
    faults: bool = True


def run(options: Options, folder: Path, report: Report = print) -> Verdict:
    """Run for `minutes` of simulated time, let recovery finish, and compare all of it."""
    timeline = Timeline(options.speed)
    report(f"seed {options.seed}: {options.minutes:g} minutes at {options.speed:g}x in {folder}")
    with Stack(folder, options.venues, timeline, options.seed) as stack:
        status = stack.wait(lambda: _trading(stack), "trading")
        start = int(status["live_from"])
        drawn = _draw(options, start)
        stack.put_faults(msgspec.json.encode(drawn.plan))
        verdict = Verdict(options.seed, options.minutes, options.speed)
        verdict.faults = dict(Counter(type(fault).__name__ for fault in drawn.faults))
        _let_pass(stack, timeline, drawn, start, options.minutes, report)
        evidence = Evidence(stack.environment)
        end = start + int(options.minutes * 60)
        _settle(stack, timeline, evidence, start, end, report)
        judge(evidence, start, end, drawn, verdict)
        verdict.collector_starts = stack.collector.starts
        verdict.worst_lag_ms = stack.ask("control/status")["worst_lag_ms"]
        verdict.cpu_s = {p.module: round(p.cpu_s, 1) for p in (stack.simulator, stack.collector)}
        verdict.collector = _state_of_collector(stack)
        return verdict


def _state_of_collector(stack: Stack) -> str:
    """What is wrong with the process itself; empty if it answers and ends as it should."""
    if not stack.collector.running:
        return f"is not running any more: {stack.collector.log_end()}"
    if stack.health() is None:
        return "does not answer"
    return "" if stack.collector.end(signal.SIGTERM) else "did not end on SIGTERM"


def _draw(options: Options, start: int) -> Schedule:
    if not options.faults:
        return Schedule((), ())
    return schedule.draw(options.seed, options.venues, start * 1000, options.minutes)


def _trading(stack: Stack) -> dict[str, int] | None:
    status = stack.ask("control/status")
    return status if status and status["live_from"] else None


def _let_pass(
    stack: Stack,
    timeline: Timeline,
    drawn: Schedule,
    start: int,
    minutes: float,
    report: Report,
) -> None:
    events: list[tuple[int, Callable[[], None]]] = []
    for kill in drawn.kills:
        events += _of_kill(stack, kill, report)
    for minute in range(1, int(minutes) + 1):
        events.append(((start + minute * 60) * 1000, _progress(stack, minute, minutes, report)))
    events.append(((start + int(minutes * 60)) * 1000, lambda: None))
    for moment_ms, act in sorted(events, key=lambda event: event[0]):
        timeline.sleep_until(moment_ms)
        act()


def _of_kill(stack: Stack, kill: Kill, report: Report) -> list[tuple[int, Callable[[], None]]]:
    def strike() -> None:
        report(f"kill -9 {kill.victim}, down for {kill.down_s:.0f} s")
        if kill.victim == "collector":
            stack.collector.end(signal.SIGKILL)
        else:
            stack.influx.kill()

    revive = stack.collector.start if kill.victim == "collector" else stack.influx.start
    return [(kill.at_ms, strike), (kill.at_ms + int(kill.down_s * 1000), revive)]


def _progress(stack: Stack, minute: int, minutes: float, report: Report) -> Callable[[], None]:
    def tell() -> None:
        status = stack.ask("control/status") or {}
        cpu = " ".join(f"{p.module}={p.cpu_s:.1f}s" for p in (stack.simulator, stack.collector))
        alive = "" if stack.collector.running else " collector is down"
        report(
            f"minute {minute}/{minutes:g} trades={status.get('trades_sent')} "
            f"clients={status.get('clients')} worst_lag_ms={status.get('worst_lag_ms')} "
            f"cpu {cpu}{alive}"
        )

    return tell


def _settle(
    stack: Stack, timeline: Timeline, evidence: Evidence, start: int, end: int, report: Report
) -> None:
    """Wait until nothing is left to be fetched, or longer makes no difference."""
    timeline.sleep_until((end + SETTLE_S) * 1000)
    while timeline.now_ms() < (end + SETTLE_AT_MOST_S) * 1000:
        left = lasting_gaps(evidence.gaps(start), start, end)
        if not left:
            return
        report(f"{len(left)} gaps still to be fetched, such as {left[0]}")
        timeline.sleep_until(timeline.now_ms() + _LOOK_EVERY_S * 1000)
