"""The whole demo: latency of each part of the way, CPU and memory of each service."""

from __future__ import annotations

import os
import time
from typing import Any

from scripts.stack import native
from scripts.stack.__main__ import ROOT
from scripts.stack.check import collect
from scripts.stack.evidence import BusSampler, latencies_of
from scripts.stack.progress import Progress
from scripts.stack.running import Options, Running, StackError

WINDOW_S = 60.0
"""How long CPU and the bars' latency are measured, after the first trade has run its course."""


def run() -> dict[str, Any]:
    """Measure the running demo, or one that is started, measured and stopped.

    Latencies in milliseconds. Per service: `cpu_s`, CPU seconds used in the window; `cpu_percent`,
    of one core; `rss_mb`, resident memory.
    """
    progress = Progress()
    started = native.up(Options(ROOT, demo=True), progress)
    try:
        report = collect(started.stack, progress, start_seconds=started.start_seconds)
        if not report["ok"]:
            raise StackError("The demo does not work:\n" + "\n".join(report["problems"]))
        progress.say("bench", f"measuring for {WINDOW_S:.0f} s")
        return {
            "cores": os.cpu_count(),
            "markets": report["markets"],
            "start_seconds": report["start_seconds"],
            **_measure(started.stack, report["latency_ms"]),
        }
    finally:
        if started.fresh:
            progress.say("bench", "stopping the demo")
            started.stack.stop()


def _measure(stack: Running, latency_ms: dict[str, Any]) -> dict[str, Any]:
    before, began = stack.usage(), time.monotonic()
    with BusSampler(stack.environ) as sampler:
        time.sleep(WINDOW_S)
    after, window_s = stack.usage(), time.monotonic() - began
    return {
        "window_seconds": round(window_s, 1),
        "latency_ms": {**latency_ms, "bar": latencies_of(sampler.samples)},
        "services": {
            name: {
                "cpu_s": round(usage.cpu_s - before[name].cpu_s, 2),
                "cpu_percent": round((usage.cpu_s - before[name].cpu_s) / window_s * 100, 1),
                "rss_mb": round(usage.rss_bytes / 1e6, 1),
            }
            for name, usage in sorted(after.items())
            if name in before
        },
    }
