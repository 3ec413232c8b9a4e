"""The stack as supervised local processes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from influxdb.exceptions import InfluxDBClientError, InfluxDBServerError

from aggr_server.env import load
from scripts.stack import debian, dotenv, environment, ports, render, secret_files, services, venv
from scripts.stack.layout import Layout
from scripts.stack.probes import Probe, probes
from scripts.stack.progress import Progress
from scripts.stack.reviver import FROZEN_S
from scripts.stack.running import (
    AWAIT_EXCHANGES,
    Address,
    Options,
    StackError,
    Started,
    Usage,
)
from scripts.stack.settings import StackSettings, merged, setting_names, validate
from scripts.stack.supervise import Process, Supervisor, end, leftovers, usage
from services import influx_init
from services.core.service import BAD_SETTINGS_EXIT
from services.core.settings import InfluxSchemaSettings, MonitorSettings, StrategySettings

LOG_LINES_SHOWN = 15
POLL_S = 0.25
CRASHING_TIMEOUT_S = 45.0
"""A service that has not stayed up for this long while it starts will not do so later."""


@dataclass(slots=True)
class NativeStack:
    """A running local stack. See `scripts.stack.running.Running`."""

    layout: Layout
    environ: Mapping[str, str]
    supervisor: Supervisor
    start_seconds: float = 0.0

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
            Address("Live page", f"{health}/", "password, if asked for, in secrets/page_password"),
            Address("Health of all services", f"{health}/health"),
            Address("Trades (freqtrade)", settings.freqtrade_api_url, login),
            Address("Collector", f"{settings.aggr_server_url}/health"),
        )

    def states(self) -> dict[str, str]:
        """Service -> `healthy`, or what is wrong with it."""
        asked = probes(self.environ)
        return {
            name: _judge(process, asked.get(name)) or "healthy"
            for name, process in sorted(self.supervisor.processes().items())
            if name != "reviver"
        }

    def usage(self) -> dict[str, Usage]:
        """Resources of each running service."""
        return usage(self.supervisor.processes())

    def stop(self) -> None:
        """Stop everything. Raises `StackError` if something is left."""
        down(self.layout.root)

    def set_influx_password(self, new: str) -> None:
        """See `scripts.stack.rotate.Stack`."""
        try:
            influx_init.set_password(load(InfluxSchemaSettings, self.environ), new)
        except (influx_init.Refused, OSError, InfluxDBClientError, InfluxDBServerError) as error:
            raise StackError(f"InfluxDB took no new password: {error}") from error

    def restart(self, names: Iterable[str], progress: Progress) -> tuple[str, ...]:
        """See `scripts.stack.rotate.Stack`."""
        known = self.supervisor.processes()
        chosen = tuple(name for name in names if name in known)
        self.supervisor.stop(chosen, timeout_s=35)
        if "redis" in chosen:
            password = load(MonitorSettings, self.environ).redis_password
            text = render.redis_conf(self.layout, validate(self.environ), password)
            _write_private(self.layout.run / "redis.conf", text)
        _start(self, services.Step(chosen, 180), progress)
        return chosen


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
    return NativeStack(layout, document["environ"], supervisor, document["start_seconds"])


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
        return Started(stack, fresh=False, start_seconds=stack.start_seconds)
    if count := down(options.root):
        progress.say("stack", f"stopped {count} processes left over from an earlier start")
    ports.require_free(services.ports(settings, demo=options.demo))
    installed = install(options.root, progress)
    stack = _launch(layout, given, settings, installed)
    try:
        backup = environment.with_backup(settings, demo=options.demo)
        steps = services.steps(demo=options.demo, backup=backup)
        waiting = tuple(name for step in steps for name in _start(stack, step, progress))
    except BaseException:
        progress.say("stack", "stopping what was started")
        stack.stop()
        raise
    _remember(stack, progress.seconds)
    return Started(stack, fresh=True, start_seconds=progress.seconds, waiting=waiting)


def down(root: Path) -> int:
    """Stop whatever of this clone's stack runs; return the number of processes that were ended.

    Raises `StackError` if something cannot be stopped.
    """
    layout = Layout(root, demo=False)
    supervisor = Supervisor(layout)
    ours = leftovers(root)
    if supervisor.alive():
        for step in reversed(services.steps(demo=True, backup=True)):
            supervisor.stop(step.services, timeout_s=35)
        supervisor.shutdown()
    if stubborn := end(leftovers(root)):
        pids = ", ".join(str(process.pid) for process in stubborn)
        raise StackError(f"These processes of the stack could not be stopped: {pids}")
    if layout.run.exists():
        shutil.rmtree(layout.run)
    return len(ours)


def install(root: Path, progress: Progress) -> debian.Programs:
    """Fetch the programs and freqtrade side by side, if they are not there. Raises `StackError`."""
    local = root / ".local"
    local.mkdir(exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        programs = pool.submit(debian.ensure, local, progress)
        freqtrade = pool.submit(
            venv.ensure,
            local / "freqtrade",
            root / "freqtrade" / "requirements.txt",
            lambda text: progress.say("freqtrade", text),
        )
        freqtrade.result()
        return programs.result()


def _reviver(environ: Mapping[str, str]) -> list[str]:
    """Its command. No loop turns less often than the strategy's, which may be slow by a setting."""
    turns_s = load(StrategySettings, environ).squeezeflow_run_interval
    command = [sys.executable, "-m", "scripts.stack.reviver"]
    command += ["--heartbeats", environ["HEARTBEAT_DIR"]]
    return [*command, "--frozen-s", str(max(FROZEN_S, 3 * turns_s))]


def _launch(
    layout: Layout, given: Mapping[str, str], settings: StackSettings, installed: debian.Programs
) -> NativeStack:
    layout.prepare()
    environ = environment.build(layout, given, settings)
    connections = load(MonitorSettings, environ)
    backup = environment.with_backup(settings, demo=layout.demo)
    programs = services.programs(layout, installed, backup=backup)
    files = {
        "redis.conf": render.redis_conf(layout, settings, connections.redis_password),
        "influxd.conf": render.influxd_conf(
            layout, settings, auth=bool(connections.influx_password)
        ),
        "supervisord.conf": render.supervisord_conf(layout, programs, _reviver(environ)),
    }
    for name, text in files.items():
        _write_private(layout.run / name, text)
    supervisor = Supervisor(layout)
    supervisor.launch(layout.run / "supervisord.conf", environ)
    kept = {key: value for key, value in environ.items() if key in setting_names()}
    stack = NativeStack(layout, kept, supervisor)
    _remember(stack, 0.0)
    return stack


def _remember(stack: NativeStack, start_seconds: float) -> None:
    """Leave word for the commands that come later."""
    document = {
        "demo": stack.demo,
        "environ": dict(stack.environ),
        "start_seconds": start_seconds,
    }
    _write_private(stack.layout.state, json.dumps(document))


def _start(stack: NativeStack, step: services.Step, progress: Progress) -> list[str]:
    """Start a step's services and wait until they are ready; return those that a live stack is up
    without. Raises `StackError`."""
    asked = probes(stack.environ)
    for name in step.services:
        progress.say(name, "starting")
        stack.supervisor.start(name)
    waiting = list(step.services)
    goes_on = frozenset[str]() if stack.demo else AWAIT_EXCHANGES
    began = time.monotonic()
    ran_last = dict.fromkeys(waiting, began)
    while waiting:
        time.sleep(POLL_S)
        processes, now = stack.supervisor.processes(), time.monotonic()
        reasons = {n: _judge(processes[n], asked.get(n)) for n in waiting}
        for name in tuple(waiting):
            if not reasons[name]:
                progress.say(name, "ready")
                waiting.remove(name)
            if processes[name].state == "RUNNING":
                ran_last[name] = now
        hopeless = [
            n
            for n in waiting
            if _hopeless(processes[n], goes_on=n in goes_on)
            or now - ran_last[n] > CRASHING_TIMEOUT_S
        ]
        if hopeless or (waiting and now - began > step.timeout_s):
            named = hopeless or waiting
            reason = "\n".join(_failure(stack.layout, n, reasons[n]) for n in named)
            if hopeless or not goes_on.issuperset(waiting):
                raise StackError(reason)
            progress.say("stack", reason)
            break
    return waiting


def _judge(process: Process, probe: Probe | None) -> str:
    """What is wrong with a service, empty if nothing. Only one-shot services have no probe."""
    if probe is None and process.state == "EXITED":
        return f"failed with status {process.exit_status}" if process.exit_status else ""
    if process.state == "RUNNING":
        return probe() if probe else "has not finished"
    return {"STARTING": "starting", "BACKOFF": "keeps ending"}.get(
        process.state, process.state.lower()
    )


def _hopeless(process: Process, *, goes_on: bool) -> bool:
    """Whether waiting is of no use: it refused its settings, or failed without going on trying."""
    if process.exit_status == BAD_SETTINGS_EXIT:
        return process.state in ("BACKOFF", "EXITED", "FATAL")
    return process.state == "EXITED" and process.exit_status != 0 and not goes_on


def _failure(layout: Layout, name: str, reason: str) -> str:
    path = layout.log / f"{name}.log"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    # A service that refuses its settings says so at each of its restarts.
    shown = "\n".join(f"    {line}" for line in dict.fromkeys(lines[-LOG_LINES_SHOWN:]))
    where = os.path.relpath(path)
    return f"{name} did not become ready: {reason}. The end of its log ({where}):\n{shown}"


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
