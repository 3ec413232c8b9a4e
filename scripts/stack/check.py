"""`up.sh --demo --check`: waits until the demo has proved itself, then reports."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import redis

from scripts.stack.audit import Audit
from scripts.stack.evidence import BusSampler, Evidence, Story, latencies
from scripts.stack.progress import Progress
from scripts.stack.running import Options, Running, Started
from services.core.records import Fill

DEADLINE_S = 480.0
HEALTH_DEADLINE_S = 60.0
POLL_S = 2.0
FEWEST_BAR_SAMPLES = 10
PATIENCE_S = 30.0

T = TypeVar("T")


def check(started: Started, options: Options, progress: Progress) -> int:
    """Wait, compare, report. 0 if all is as it should be, else 1."""
    stack = started.stack
    report = collect(stack, progress, start_seconds=started.start_seconds)
    text = json.dumps(report, indent=2)
    if options.report:
        options.report.write_text(text + "\n", encoding="utf-8")
        progress.say("report", str(options.report))
    summary(report)
    return 0 if report["ok"] else 1


def collect(stack: Running, progress: Progress, *, start_seconds: float) -> dict[str, Any]:
    """The report of the check as one JSON object."""
    evidence = Evidence(stack.environ)
    with BusSampler(stack.environ) as sampler:
        story = _wait_for_trade(evidence, progress)
        _until(lambda: len(sampler.samples) >= FEWEST_BAR_SAMPLES, HEALTH_DEADLINE_S)
        states = _wait_for_health(stack, progress)
    progress.say("check", "comparing the bars with the exchanges' list of trades")
    audit = _patiently(evidence.audit, Audit())
    fills: list[Fill] = _patiently(lambda: list(evidence.fills()), [])
    report = _report(states, story, audit, start_seconds)
    report["markets"] = _patiently(evidence.markets, 0)
    report["latency_ms"] = latencies(story, iter(fills), sampler.samples)
    problems = problems_of(states, story, audit)
    return {"ok": not problems, "problems": problems, **report}


def summary(report: Mapping[str, Any]) -> None:
    """The report for a person."""
    bars = f"{report['bars_compared']} compared, {report['bars_mismatched']} different"
    if report["bars_in_gaps"]:
        bars += f", {report['bars_in_gaps']} in recorded gaps left out"
    lines = {
        "services": ", ".join(f"{name} {state}" for name, state in report["services"].items()),
        "trades": f"{report['trades_ingested']} of {report['markets']} markets",
        "bars": bars,
        "signals": f"{report['signals']}, outcomes {report['outcomes'] or 'none'}",
        "positions": f"{report['trades_opened']} opened, {report['trades_closed']} closed",
        "latency": ", ".join(
            f"{part} {figures['median']} ms (max {figures['max']})"
            for part, figures in report["latency_ms"].items()
        ),
    }
    print()
    for name, text in lines.items():
        print(f"  {name:<10} {text}")
    print()
    for problem in report["problems"]:
        print(f"  not well: {problem}", file=sys.stderr)
    print("The check passed." if report["ok"] else "The check FAILED.")


def _wait_for_trade(evidence: Evidence, progress: Progress) -> Story:
    """Until one signal has become a trade, the trade is closed, and its outcome is stored."""
    story = Story()
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        latest = _once(evidence.story)
        if latest is not None:
            story = latest
            progress.say("check", _stage(story))
            if story.finished:
                return story
        else:
            progress.say("check", "waiting for a service that is being restarted")
        time.sleep(POLL_S)
    progress.say("check", f"gave up after {DEADLINE_S:.0f} s")
    return story


def _stage(story: Story) -> str:
    if story.finished:
        signal_id = story.finished[-1]
        return f"trade closed, outcome {story.outcomes[signal_id]}"
    if story.closed:
        return "trade closed; waiting for its outcome"
    if story.opened:
        trade = next(iter(story.opened.values()))
        side = "short" if trade.get("is_short") else "long"
        return f"trade {trade['trade_id']} open ({side} {trade['pair']}); waiting for its exit"
    if story.signals:
        signal = next(iter(story.signals.values()))
        return f"signal {signal.action} {signal.symbol}; waiting for freqtrade"
    return "waiting for the first squeeze; it takes about two minutes"


def _wait_for_health(stack: Running, progress: Progress) -> dict[str, str]:
    deadline = time.monotonic() + HEALTH_DEADLINE_S
    while True:
        states = stack.states()
        ill = {name: state for name, state in states.items() if state != "healthy"}
        if not ill or time.monotonic() > deadline:
            return states
        progress.say("check", "waiting for " + ", ".join(f"{n} ({s})" for n, s in ill.items()))
        time.sleep(POLL_S)


def _report(
    states: dict[str, str], story: Story, audit: Audit, start_seconds: float
) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    for outcome in story.outcomes.values():
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return {
        "services": states,
        "markets": 0,
        "trades_ingested": audit.trades,
        "bars_compared": audit.compared,
        "bars_mismatched": audit.mismatched,
        "bars_in_gaps": audit.in_gaps,
        "mismatches": asdict(audit)["mismatches"],
        "signals": len(story.signals),
        "trades_opened": len(story.opened),
        "trades_closed": len(story.closed),
        "outcomes": outcomes,
        "start_seconds": round(start_seconds, 1),
    }


def problems_of(states: Mapping[str, str], story: Story, audit: Audit) -> list[str]:
    """What keeps the check from passing, one sentence each."""
    problems = [f"{name} is {state}" for name, state in states.items() if state != "healthy"]
    if not states:
        problems.append("no service is running")
    if not story.finished:
        problems.append(f"no squeeze was traded to its end: {_stage(story)}")
    strangers = [trade for trade in story.opened if trade not in story.outcomes]
    if strangers:
        problems.append(f"trades that no recorded signal has caused: {', '.join(strangers)}")
    problems += story.repeated
    if audit.compared <= audit.in_gaps:
        problems.append(
            f"only {audit.compared} bars could be compared, {audit.in_gaps} lie in recorded gaps"
        )
    if audit.mismatched:
        first = audit.mismatches[0]
        problems.append(
            f"{audit.mismatched} bars differ from the trades made, the first: {first['market']} "
            f"at {first['second']}, {first['difference']}"
        )
    return problems


def _once(ask: Callable[[], T]) -> T | None:
    """An answer, or None if a service does not give one just now."""
    try:
        return ask()
    except (OSError, redis.RedisError):
        return None


def _patiently(ask: Callable[[], T], default: T) -> T:
    """An answer, asked again while a service is being restarted."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (answer := _once(ask)) is not None:
            return answer
        time.sleep(POLL_S)
    return default


def _until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.2)
