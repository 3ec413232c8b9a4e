"""One soak: the demo started in a folder of its own, disturbed and measured, and judged."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from scripts.stack import native
from scripts.stack.evidence import Evidence
from scripts.stack.running import StackError
from services.simulator import venues
from services.simulator.fault_plan import FaultPlan
from tests.exactness.schedule import draw
from tests.integration.clones import clone_into
from tests.integration.servers import free_port
from tests.operator.place import PORTS
from tests.soak.accounts import Account
from tests.soak.samples import Sample, Sampler
from tests.soak.trouble import EXCHANGES, Trouble, troubles
from tests.soak.verdict import Verdict, rows, stores

TICK_S = 2.0
SAMPLE_S = 10.0
EXCHANGES_MIN = 2.0
CALM_S = 120.0
"""After the faults of the exchanges their plan is left in force for so long: what has been muted
for good is to be noticed."""

BACK_WITHIN_S = 60.0

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to run. `load`: trades per second, in multiples of the demo's usual."""

    hours: float
    load: float = 3.0
    trouble_every_s: float = 600.0
    warm_up_s: float = 1200.0
    seed: int = 1


class _Killed(NamedTuple):
    service: str
    pid: int
    at_s: float


class Soak:
    """A running demo in `folder`, which must not be long: there are sockets in it."""

    def __init__(self, options: Options, folder: Path, report: Report) -> None:
        self.verdict = Verdict()
        self.samples: list[Sample] = []
        self._options = options
        self._folder = folder
        self._report = report
        self._clear_at: float | None = None
        self._killed: _Killed | None = None
        self._count = 0
        self._stack = _up(folder / "demo", options.load)
        self._sampler = Sampler(self._stack)
        self.account = Account(Evidence(self._stack.environ))

    def stop(self) -> None:
        """End the demo."""
        self._stack.stop()

    def run(self) -> Verdict:
        """Let the time pass, then judge."""
        length_s = self._options.hours * 3600
        waiting = troubles(self._options.seed, length_s, self._options.trouble_every_s)
        began, sampled = time.monotonic(), float("-inf")
        while (passed_s := time.monotonic() - began) < length_s:
            if passed_s - sampled >= SAMPLE_S:
                sampled = passed_s
                self._sample()
            while waiting and waiting[0].at_s <= passed_s:
                self._make(waiting.pop(0))
            self._watch()
            self.account.advance()
            time.sleep(TICK_S)
        self._watch_until_over()
        return self._judge()

    def _sample(self) -> None:
        sample = self._sampler.look(time.time())
        self.samples.append(sample)
        with (self._folder / "samples.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(sample) + b"\n")

    def _make(self, trouble: Trouble) -> None:
        self._report(f"{trouble.at_s / 60:.0f} min: {trouble.what}")
        if trouble.what == EXCHANGES:
            self._count += 1
            seed = self._options.seed + self._count
            plan = draw(seed, venues.DEMO, int(time.time() * 1000), EXCHANGES_MIN, killing=False)
            self._put(plan.plan)
            self._clear_at = time.monotonic() + EXCHANGES_MIN * 60 + CALM_S
            return
        pid = self._stack.supervisor.processes()[trouble.what].pid
        if pid:
            psutil.Process(pid).kill()
            self.verdict.kills[trouble.what] += 1
            self._killed = _Killed(trouble.what, pid, time.monotonic())

    def _watch(self) -> None:
        """End what is over: the faults of the exchanges, and the time to come back after a kill."""
        if self._clear_at is not None and time.monotonic() >= self._clear_at:
            self._clear()
        if (killed := self._killed) is None:
            return
        # Asked first: what a service says of itself may be from before it was killed.
        gone = self._stack.supervisor.processes()[killed.service].pid != killed.pid
        ill = {name: state for name, state in self._stack.states().items() if state != "healthy"}
        if not gone:
            ill[killed.service] = "not started again"
        took_s = time.monotonic() - killed.at_s
        if not ill:
            self.verdict.back_s.append(took_s)
            self._killed = None
        elif took_s > BACK_WITHIN_S:
            self.verdict.wrong.append(f"{took_s:.0f} s after a kill not yet well: {ill}")
            self._killed = None

    def _watch_until_over(self) -> None:
        while self._killed is not None or self._clear_at is not None:
            self._watch()
            time.sleep(TICK_S)

    def _clear(self) -> None:
        self._clear_at = None
        self._put(FaultPlan())

    def _put(self, plan: FaultPlan) -> None:
        url = f"{self._stack.environ['EXCHANGE_GATEWAY']}/control/faults"
        with urllib.request.urlopen(
            urllib.request.Request(url, msgspec.json.encode(plan)), timeout=30
        ):
            pass

    def _judge(self) -> Verdict:
        verdict = self.verdict
        verdict.hours = (self.samples[-1].at_s - self.samples[0].at_s) / 3600
        verdict.rows = list(rows(self.samples, self._options.warm_up_s))
        verdict.stores = stores(self.samples)
        verdict.wrong += self.account.close()
        verdict.counted = self.account.counted
        return verdict


def run(options: Options, folder: Path, report: Report = print) -> Verdict:
    """Soak, judge, and end the demo. Raises `StackError` if it does not start."""
    soak = Soak(options, folder, report)
    try:
        verdict = soak.run()
    finally:
        soak.stop()
    (folder / "verdict.json").write_bytes(msgspec.json.encode(verdict.as_dict()))
    return verdict


def _up(root: Path, load: float) -> native.NativeStack:
    clone_into(root)
    settings = {name: str(free_port()) for name in PORTS} | {"SIMULATOR_LOAD": str(load)}
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    (root / ".env").write_text(lines, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    done = subprocess.run(
        [str(root / "scripts" / "up.sh"), "--demo", "--native"],
        env=kept, capture_output=True, text=True, check=False, timeout=900,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    stack = native.running(root)
    if done.returncode or stack is None:
        raise StackError(done.stderr)
    return stack
