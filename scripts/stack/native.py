"""The stack as supervised local processes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aggr_server.env import load
from scripts.stack import debian, dotenv, environment, ports, render, secret_files, services, venv
from scripts.stack.layout import Layout
from scripts.stack.probes import Probe, probes
from scripts.stack.progress import Progress
from scripts.stack.running import Address, Options, StackError, Started, Usage
from scripts.stack.settings import StackSettings, merged, setting_names, validate
from scripts.stack.supervise import Process, Supervisor, end, leftovers, usage
from services.core.service import BAD_SETTINGS_EXIT
from services.core.settings import MonitorSettings

LOG_LINES_SHOWN = 15


@dataclass(slots=True)
class NativeStack:
    """A running local stack. See `scripts.stack.running.Running`."""

    layout: Layout
    environ: Mapping[str, str]
    supervisor: Supervisor

    @property
    def demo(self) -> bool:
        """Whether the exchanges are simulated."""
        return self.layout.demo

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Pages to open."""
        settings = load(MonitorSettings, self.environ)
        login = (
            f"user {settings.freqtrade_api_username}, password in secrets/freqtrade_api_password"
        )
        health = f"{settings.aggr_server_url.rpartition(':')[0]}:{settings.health_port}"
        return (
            Address("Health of all services", f"{health}/health"),
            Address("Trades (freqtrade)", settings.freqtrade_api_url, login),
            Address("Collector", f"{settings.aggr_server_url}/health"),
        )

    def states(self) -> dict[str, str]:
        """Service -> `healthy`, or what is wrong with it."""
        asked = probes(self.environ)
        return {
            name: _judge(process.state, process.exit_status, asked.get(name)) or "healthy"
            for name, process in sorted(self.supervisor.processes().items())
            if name != "reviver"
        }

    def usage(self) -> dict[str, Usage]:
        """Resources of each running service."""
        return usage(self.supervisor.processes())

    def stop(self) -> None:
        """Stop everything. Raises `StackError` if something is left."""
        down(self.layout.root)


def running(root: Path) -> NativeStack | None:
    """The stack of this clone, if it is up."""
    state = Layout(root, demo=False).state
    if not state.exists():
        return None
    document = json.loads(state.read_text(encoding="utf-8"))
    layout = Layout(root, demo=document["demo"])
    supervisor = Supervisor(layout)
    if not supervisor.alive():
        return None
    return NativeStack(layout, document["environ"], supervisor)


def up(options: Options, progress: Progress) -> Started:
    """Start what is not running. Raises `StackError`; then nothing is left running."""
    layout = Layout(options.root, options.demo)
    given = merged(dotenv.read(options.root / ".env"))
    secret_files.ensure(layout.secrets)
    settings = validate(environment.build(layout, given, StackSettings()))
    if stack := running(options.root):
        if stack.demo != options.demo:
            kind = "demo" if stack.demo else "live stack"
            raise StackError(f"The {kind} is running. Stop it first: ./scripts/down.sh")
        return Started(stack, fresh=False)
    if count := down(options.root):
        progress.say("stack", f"stopped {count} processes left over from an earlier start")
    ports.require_free(services.ports(settings, demo=options.demo))
    installed = _install(layout, progress)
    stack = _launch(layout, given, settings, installed)
    began = time.monotonic()
    try:
        for step in services.steps(demo=options.demo):
            _start(stack, step, progress)
    except BaseException:
        progress.say("stack", "stopping what was started")
        stack.stop()
        raise
    return Started(stack, fresh=True, start_seconds=time.monotonic() - began)


def down(root: Path) -> int:
    """Stop whatever of this clone's stack runs; return the number of processes that were ended.

    Raises `StackError` if something cannot be stopped.
    """
    layout = Layout(root, demo=False)
    supervisor = Supervisor(layout)
    ours = leftovers(root)
    if supervisor.alive():
        for step in reversed(services.steps(demo=True)):
            supervisor.stop(step.services, timeout_s=35)
        supervisor.shutdown()
    if stubborn := end(leftovers(root)):
        pids = ", ".join(str(process.pid) for process in stubborn)
        raise StackError(f"These processes of the stack could not be stopped: {pids}")
    if layout.run.exists():
        shutil.rmtree(layout.run)
    return len(ours)


def _install(layout: Layout, progress: Progress) -> debian.Programs:
    """Fetch the programs and freqtrade side by side."""
    layout.local.mkdir(exist_ok=True)
    freqtrade = layout.root / "freqtrade" / "requirements.txt"
    with ThreadPoolExecutor(2) as pool:
        programs = pool.submit(debian.ensure, layout.local, progress)
        environment_done = pool.submit(
            venv.ensure,
            layout.local / "freqtrade",
            freqtrade,
            lambda text: progress.say("freqtrade", text),
        )
        environment_done.result()
        return programs.result()


def _launch(
    layout: Layout, given: Mapping[str, str], settings: StackSettings, installed: debian.Programs
) -> NativeStack:
    layout.prepare()
    environ = environment.build(layout, given, settings)
    connections = load(MonitorSettings, environ)
    programs = services.programs(layout, installed)
    files = {
        "redis.conf": render.redis_conf(layout, settings, connections.redis_password),
        "influxd.conf": render.influxd_conf(
            layout, settings, auth=bool(connections.influx_password)
        ),
        "supervisord.conf": render.supervisord_conf(
            layout, programs, [sys.executable, "-m", "scripts.stack.reviver"]
        ),
    }
    for name, text in files.items():
        _write_private(layout.run / name, text)
    supervisor = Supervisor(layout)
    supervisor.launch(layout.run / "supervisord.conf", environ)
    kept = {key: value for key, value in environ.items() if key in setting_names()}
    _write_private(layout.state, json.dumps({"demo": layout.demo, "environ": kept}))
    return NativeStack(layout, kept, supervisor)


def _start(stack: NativeStack, step: services.Step, progress: Progress) -> None:
    """Start a step's services and wait until they are ready."""
    asked = probes(stack.environ)
    for name in step.services:
        progress.say(name, "starting")
        stack.supervisor.start(name)
    waiting = list(step.services)
    deadline = time.monotonic() + step.timeout_s
    while True:
        processes = stack.supervisor.processes()
        for name in tuple(waiting):
            process = processes[name]
            reason = _judge(process.state, process.exit_status, asked.get(name))
            if not reason:
                progress.say(name, "ready")
                waiting.remove(name)
            elif time.monotonic() > deadline or _hopeless(process):
                raise StackError(_failure(stack.layout, name, reason))
        if not waiting:
            return
        time.sleep(0.25)


def _judge(state: str, exit_status: int, probe: Probe | None) -> str:
    """What is wrong with a process, empty if nothing."""
    if probe is None:  # one-shot
        if state == "EXITED":
            return "" if exit_status == 0 else f"failed with status {exit_status}"
        return "has not finished" if state == "RUNNING" else state.lower()
    if state == "RUNNING":
        return probe()
    return {"STARTING": "starting", "BACKOFF": "keeps ending"}.get(state, state.lower())


def _hopeless(process: Process) -> bool:
    """Whether waiting is of no use: it refused its settings, or failed and is not run again."""
    refused = process.exit_status == BAD_SETTINGS_EXIT and process.state in ("BACKOFF", "FATAL")
    return refused or (process.state == "EXITED" and process.exit_status != 0)


def _failure(layout: Layout, name: str, reason: str) -> str:
    path = layout.log / f"{name}.log"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    shown = "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:])
    where = os.path.relpath(path)
    return f"{name} did not become ready: {reason}. The end of its log ({where}):\n{shown}"


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
