"""The commands behind `up.sh` and `down.sh`."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, TracebackType

from scripts.stack import browser, dotenv, native, retired, sources
from scripts.stack.progress import Progress
from scripts.stack.running import Options, Running, StackError, Started

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED_EXIT = 130
ANEW = "to run with them: ./scripts/down.sh, then ./scripts/up.sh"


def main(arguments: list[str]) -> int:
    """Run a command; return the process's exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    # A terminal that closes and a service manager that stops us are told apart from Ctrl-C by no
    # one: whatever was started must not stay behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if chosen.command == "down":
            return _down()
        if chosen.command == "install":
            native.install(ROOT, Progress())
            if chosen.browser:
                browser.ensure(ROOT / ".local", Progress())
            return 0
        return _up(chosen)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED_EXIT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser(
        "up", prog="up.sh", description="Start the whole stack and print the addresses to open."
    )
    up.add_argument(
        "--demo", action="store_true", help="simulated exchanges and money; no internet, no keys"
    )
    up.add_argument(
        "--check",
        action="store_true",
        help="with --demo: wait for a whole trade, compare the bars, report, exit 0 if all is well",
    )
    up.add_argument("--json", type=Path, metavar="FILE", help="write the check's report to FILE")
    mode = up.add_mutually_exclusive_group()
    mode.add_argument("--native", action="store_true", help="local processes, even with an engine")
    mode.add_argument("--docker", action="store_true", help="containers, or fail")
    install = commands.add_parser(
        "install", description="Fetch Redis, InfluxDB and freqtrade, no more."
    )
    install.add_argument("--browser", action="store_true", help="and Chromium, for the tests")
    commands.add_parser("down", prog="down.sh", description="Stop everything that `up.sh` started.")
    return parser


def _up(chosen: argparse.Namespace) -> int:
    if (chosen.check or chosen.json) and not chosen.demo:
        raise StackError("--check compares with the simulated market: use it together with --demo.")
    if chosen.json and not chosen.check:
        raise StackError("--json writes the report of --check: use both.")
    options = Options(
        root=ROOT,
        demo=chosen.demo,
        check=chosen.check,
        report=chosen.json and chosen.json.absolute(),
        mode="docker" if _use_containers(chosen) else "native",
    )
    progress = Progress()
    _warn(progress)
    started: Started = _way(options.mode).up(options, progress)
    if started.fresh:
        started.start_seconds = progress.seconds
        sources.remember(ROOT)
    progress.say("stack", _verdict(started))
    if sources.outdated(ROOT):
        progress.say("stack", f"sources or settings have changed since its start; {ANEW}")
    if not options.check:
        _explain(started.stack)
        return 0
    with _Guard(started, progress):
        from scripts.stack.check import check

        result = check(started, options, progress)
    _explain(started.stack)
    return result


def _verdict(started: Started) -> str:
    if started.waiting:
        return (
            f"up; not ready, but going on trying: {', '.join(started.waiting)}. See whether this "
            "host reaches the exchanges: ./scripts/doctor.sh"
        )
    return "all services are ready" if started.fresh else "is running already"


def _warn(progress: Progress) -> None:
    """Say what does not keep the stack from starting, but is not as it should be."""
    from scripts.doctor import machine
    from scripts.doctor.site import examine

    for line in retired.lines(dotenv.read(ROOT / ".env")):
        progress.say("settings", line)
    for finding in machine.check(examine(ROOT)):
        if finding.state in ("warn", "fail"):
            progress.say(finding.name, f"{finding.found}; {finding.remedy}")


class _Guard:
    """Stops a stack that this command has started if the command is interrupted."""

    def __init__(self, started: Started, progress: Progress) -> None:
        self._started, self._progress = started, progress

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, _: object, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._started.fresh:
            self._progress.say("stack", "interrupted; stopping what was started")
            self._started.stack.stop()


def _down() -> int:
    ended = native.down(ROOT)
    if _engine_answers():
        ended += _way("docker").down(ROOT)
    print(f"Stopped {ended} processes." if ended else "Nothing was running.", file=sys.stderr)
    return 0


def _use_containers(chosen: argparse.Namespace) -> bool:
    if chosen.native or native.running(ROOT):
        return False
    answers = _engine_answers()
    if chosen.docker and not answers:
        raise StackError(
            "No Docker engine answers (docker info fails). Start it, or leave --docker out to run "
            "the services as local processes."
        )
    return answers


def _engine_answers() -> bool:
    try:
        done = subprocess.run(
            ["docker", "info"], capture_output=True, timeout=15, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _way(mode: str) -> ModuleType:
    if mode == "native":
        return native
    from scripts.stack import containers

    return containers


def _explain(stack: Running) -> None:
    print()
    width = max(len(address.title) for address in stack.addresses)
    for address in stack.addresses:
        login = f"   ({address.login})" if address.login else ""
        print(f"  {address.title:<{width}}  {address.url}{login}")
    print()
    print("Stop it with ./scripts/down.sh")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
