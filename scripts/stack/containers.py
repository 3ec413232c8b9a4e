"""The stack as containers."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from aggr_server.env import load
from scripts.stack import (
    backup_folder,
    compose,
    dotenv,
    images,
    keeper,
    networks,
    ports,
    secret_files,
)
from scripts.stack.compose import Container, Project
from scripts.stack.environment import reachable, simulator_url
from scripts.stack.progress import Progress
from scripts.stack.running import (
    AWAIT_EXCHANGES,
    Address,
    Options,
    StackError,
    Started,
    Usage,
)
from scripts.stack.settings import StackSettings, merged, setting_names, validate
from services.core.service import BAD_SETTINGS_EXIT
from services.core.settings import MonitorSettings

START_TIMEOUT_S = 300.0
SOCKET = Path("/var/run/docker.sock")
# Mounted into containers whose users are not the one who cloned the project.
MOUNTED = (
    "backups",
    "docker/*.sh",
    "docker/*.conf",
    "docker/*.cfg",
    "docker/chronograf/resources",
    "docker/chronograf/resources/*",
    "freqtrade/config/config.json",
    "services/monitor/rules.toml",
)


@dataclass(frozen=True, slots=True)
class ContainerStack:
    """A running Compose project. See `scripts.stack.running.Running`."""

    project: Project
    environ: Mapping[str, str]

    @property
    def demo(self) -> bool:
        """Whether the exchanges are simulated."""
        return self.project.demo

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Pages to open, as far as they are published."""
        settings = load(MonitorSettings, self.environ)
        login = (
            f"user {settings.freqtrade_api_username}, password in secrets/freqtrade_api_password"
        )
        page = "password, if asked for, in secrets/page_password"
        pages = (
            ("health-monitor", "Live page", 8090, "/", page),
            ("health-monitor", "Health of all services", 8090, "/health", ""),
            ("freqtrade", "Trades (freqtrade)", 8080, "", login),
            ("freqtrade-ui", "FreqUI by itself", 80, "", login),
            ("aggr-server", "Collector", 3000, "/health", ""),
            ("aggr-chronograf", "Dashboards (Chronograf)", 8888, "/sources/0/dashboards", ""),
        )
        pages_at = published(self.project.config())
        return tuple(
            Address(title, f"http://{pages_at[service, port]}{path}", asked)
            for service, title, port, path, asked in pages
            if (service, port) in pages_at
        )

    def states(self) -> dict[str, str]:
        """Service -> `healthy`, or what is wrong with it."""
        return compose.states(self.project.containers())

    def usage(self) -> dict[str, Usage]:
        """Resources of each running service, all its replicas together."""
        total: dict[str, Usage] = {}
        for container in self.project.containers():
            if container.pid:
                one, old = _usage(container.pid), total.get(container.service, Usage(0.0, 0))
                total[container.service] = Usage(
                    old.cpu_s + one.cpu_s, old.rss_bytes + one.rss_bytes
                )
        return total

    def stop(self) -> None:
        """Stop everything; the demo's data goes with it."""
        _remove(self.project)

    def set_influx_password(self, new: str) -> None:
        """See `scripts.stack.rotate.Stack`. The password goes in by standard input, so that it
        stands in no list of processes."""
        once = ("run", "--rm", "-T", "--no-deps", "influx-init")
        command = ("python", "-m", "services.influx_init", "--new-password")
        self.project.run(*once, *command, given=f"{new}\n", timeout_s=120)

    def restart(self, services: Iterable[str], progress: Progress) -> tuple[str, ...]:
        """See `scripts.stack.rotate.Stack`."""
        present = {container.service for container in self.project.containers()}
        chosen = tuple(service for service in services if service in present)
        if not chosen:
            return ()
        progress.say(", ".join(chosen), "restarting")
        # A mounted file that was replaced is found anew when its container starts.
        self.project.run("restart", *chosen, timeout_s=180)
        deadline = time.monotonic() + START_TIMEOUT_S
        while any(self.states().get(service) != "healthy" for service in chosen):
            if time.monotonic() > deadline:
                raise StackError(
                    _failure(self, self.project.containers(), "not ready after the restart")
                )
            time.sleep(1)
        return chosen


def running(root: Path) -> ContainerStack | None:
    """The stack of this clone, if any of its services is up."""
    for demo in (True, False):
        stack = _stack(root, demo)
        if any(container.state == "running" for container in stack.project.containers()):
            return stack
    return None


def live(root: Path, scratch: str = "") -> ContainerStack:
    """The stack that trades, running or not, or one of its scratch copies."""
    return _stack(root, demo=False, scratch=scratch)


def up(options: Options, progress: Progress) -> Started:
    """Start what is not running. Raises `StackError`; then nothing that it started is left."""
    compose.require_compose()
    created = secret_files.ensure(options.root / "secrets")
    if created:
        progress.say("secrets", f"created {', '.join(created)}")
    if stack := running(options.root):
        if stack.demo != options.demo:
            kind = "demo" if stack.demo else "live stack"
            raise StackError(f"The {kind} is running. Stop it first: ./scripts/down.sh")
        if all(state == "healthy" for state in stack.states().values()):
            keeper.ensure(stack.project)
            return Started(stack, fresh=False)
    stack = _stack(options.root, options.demo)
    if folders := stack.project.elsewhere():
        raise StackError(
            f"The stack is up already, started from {', '.join(sorted(folders))}. Its containers "
            "have the same names. Stop it there first: ./scripts/down.sh"
        )
    config = stack.project.config()
    prepare_host(stack.project, config)
    if options.demo:
        progress.say("demo", "removing what an earlier demo left")
        _remove(stack.project)
    present = stack.project.containers()
    if not present:
        ports.require_free(needs(config))
        networks.require_free(config, stack.project.name)
    images.ensure(stack.project, progress)
    began = time.monotonic()
    try:
        waiting = _start(stack, progress)
    except BaseException:
        # What ran before may be trading.
        if not any(container.state == "running" for container in present):
            progress.say("stack", "stopping what was started")
            stack.stop()
        raise
    keeper.ensure(stack.project)
    return Started(stack, fresh=True, start_seconds=time.monotonic() - began, waiting=waiting)


def down(root: Path) -> int:
    """Stop whatever of this clone's stack runs; return the number of containers removed."""
    removed = 0
    for demo in (True, False):
        project = _stack(root, demo).project
        if containers := project.containers():
            _remove(project)
            removed += len(containers)
    return removed


def _stack(root: Path, demo: bool, scratch: str = "") -> ContainerStack:
    given = merged(dotenv.read(root / ".env"))
    settings = validate(given)
    return ContainerStack(
        Project(root, demo, _compose_environ(), scratch),
        _host_environ(root, given, settings)
        | ({"EXCHANGE_GATEWAY": simulator_url(settings)} if demo else {}),
    )


def _compose_environ() -> dict[str, str]:
    """What the Compose files ask for and nobody wants to look up."""
    if "DOCKER_GID" in os.environ or not SOCKET.exists():
        return {}
    return {"DOCKER_GID": str(SOCKET.stat().st_gid)}


def _host_environ(root: Path, given: Mapping[str, str], settings: StackSettings) -> dict[str, str]:
    """Settings under which a program on this host reaches the published ports."""
    host = reachable(settings)
    kept = {key: value for key, value in given.items() if key in setting_names()}
    return kept | {
        "REDIS_HOST": host,
        "INFLUX_HOST": host,
        "AGGR_SERVER_URL": f"http://{host}:{settings.port}",
        "FREQTRADE_API_URL": f"http://{host}:{settings.freqtrade_port}",
        **secret_files.file_settings(root / "secrets"),
    }


def equip(project: Project, progress: Progress) -> None:
    """What single containers of a project need before any of it was ever started here: secrets,
    the host's files and folders, images. Raises `StackError`."""
    if created := secret_files.ensure(project.root / "secrets"):
        progress.say("secrets", f"created {', '.join(created)}")
    config = project.config()
    prepare_host(project, config)
    if images.missing(config):
        images.ensure(project, progress)


def prepare_host(project: Project, config: Mapping[str, Any]) -> None:
    """What Compose leaves to the host: readable files, folders for bound volumes."""
    for pattern in MOUNTED:
        for path in project.root.glob(pattern):
            mode = stat.S_IMODE(path.stat().st_mode)
            needed = 0o555 if path.is_dir() else 0o444
            if mode & needed != needed:
                path.chmod(mode | needed)
    for volume in config.get("volumes", {}).values():
        if device := (volume or {}).get("driver_opts", {}).get("device"):
            folder = Path(device)
            try:
                # Images make their folder readable to all, and nobody else on this host is to see
                # what lies there; containers have theirs mounted, whatever is above it.
                folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.mkdir(mode=0o750, exist_ok=True)
            except OSError as error:
                raise StackError(
                    f"The data folder {device} cannot be created: {error.strerror}. Create it as "
                    "root, or set SQUEEZEFLOW_DATA in .env to a folder of yours."
                ) from error
    backup_folder.hand_over(config)


def _start(stack: ContainerStack, progress: Progress) -> tuple[str, ...]:
    """`compose up`, then wait until every service is healthy; return those that a live stack is up
    without. Raises `StackError`."""
    process = stack.project.start("up", "--detach", "--no-build", "--remove-orphans")
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while True:
            returned = process.poll()
            containers = stack.project.containers()
            for service, state in compose.states(containers).items():
                progress.say(service, {"healthy": "ready", "created": "waiting"}.get(state, state))
            if returned:
                raise StackError(_failure(stack, containers, _stderr(process)))
            unready = [c for c in containers if c.verdict != "healthy"]
            if returned == 0 and not unready:
                return ()
            if time.monotonic() > deadline:
                reason = _failure(stack, containers, f"not ready after {START_TIMEOUT_S:.0f} s")
                if returned is None or stack.demo or not _await_exchanges(unready):
                    raise StackError(reason)
                progress.say("stack", reason)
                return tuple(sorted({container.service for container in unready}))
            time.sleep(1)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        if process.stderr:
            process.stderr.close()


def _await_exchanges(containers: Iterable[Container]) -> bool:
    """Whether all of these may be unready for want of an exchange, and none for its settings."""
    return all(
        container.service in AWAIT_EXCHANGES and container.exit_status != BAD_SETTINGS_EXIT
        for container in containers
    )


def _stderr(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read().strip().rpartition("\n")[2]


def _failure(stack: ContainerStack, containers: list[Container], reason: str) -> str:
    """What went wrong, with the end of each failed service's log."""
    parts = [f"The containers did not become ready: {reason}"]
    for service, state in compose.states(containers).items():
        if state not in ("healthy", "created", "starting"):
            parts.append(
                f"{service} is {state}. The end of its log:\n{stack.project.logs(service)}"
            )
    return "\n".join(parts)


def _remove(project: Project) -> None:
    volumes = ("--volumes",) if project.demo else ()
    project.run("down", "--remove-orphans", *volumes, timeout_s=180)


def published(config: Mapping[str, Any]) -> dict[tuple[str, int], str]:
    """(service, port inside) -> `host:port` outside."""
    return {
        (name, entry["target"]): f"{entry.get('host_ip', '127.0.0.1')}:{entry['published']}"
        for name, service in config["services"].items()
        for entry in service.get("ports", ())
    }


SETTING_OF_PORT = {
    ("redis", 6379): "REDIS_PORT",
    ("aggr-influx", 8086): "INFLUX_PORT",
    ("aggr-server", 3000): "PORT",
    ("freqtrade", 8080): "FREQTRADE_PORT",
    ("freqtrade-ui", 80): "FREQTRADE_UI_PORT",
    ("health-monitor", 8090): "HEALTH_PORT",
    ("aggr-chronograf", 8888): "CHRONOGRAF_PORT",
    ("simulator", 18090): "SIMULATOR_PORT",
}


def needs(config: Mapping[str, Any]) -> list[ports.Need]:
    needs = []
    for (service, inside), address in published(config).items():
        host, _, port = address.rpartition(":")
        setting = SETTING_OF_PORT.get((service, inside), f"the port of {service}")
        needs.append(ports.Need(service, host, int(port), setting))
    return needs


def _usage(pid: int) -> Usage:
    """Of a container's first process and all below it, as this host sees them."""
    cpu_s, rss_bytes = 0.0, 0
    try:
        first = psutil.Process(pid)
        processes = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return Usage(0.0, 0)
    for process in processes:
        try:
            times = process.cpu_times()
            cpu_s += times.user + times.system
            rss_bytes += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return Usage(cpu_s, rss_bytes)
