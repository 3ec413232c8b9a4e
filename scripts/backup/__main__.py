"""The commands behind `backup_volumes.sh` and `restore_volumes.sh`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from scripts.backup.container import ContainerSource, ContainerTarget
from scripts.backup.create import create
from scripts.backup.manifest import BackupError, Counts
from scripts.backup.native import NativeSource, NativeTarget
from scripts.backup.place import Source, Target
from scripts.backup.restore import restore
from scripts.stack import containers, debian, native
from scripts.stack.compose import engine_answers
from scripts.stack.progress import Progress
from scripts.stack.running import StackError

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Run a command; return the process's exit status."""
    chosen = _parser().parse_args(arguments)
    progress = Progress()
    try:
        if chosen.command == "create":
            _create(chosen, progress)
        else:
            _restore(chosen, progress)
    except (BackupError, StackError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser(
        "create",
        prog="backup_volumes.sh",
        description="Back up InfluxDB, Redis and freqtrade of the running stack. Prints the folder "
        "of the backup.",
    )
    make.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="left out: BACKUP_DIR, or ./backups"
    )
    put = commands.add_parser(
        "restore",
        prog="restore_volumes.sh",
        description="Verify a backup and restore it into the stack of this folder, which must be "
        "stopped and empty. Start it afterwards with ./scripts/up.sh.",
    )
    put.add_argument("backup", type=Path, metavar="BACKUP", help="folder of the backup")
    put.add_argument(
        "--into",
        metavar="NAME",
        default="",
        help="restore into a stack of that name beside the real one, for example scratch",
    )
    put.add_argument("--replace", action="store_true", help="throw away the data that is there now")
    mode = put.add_mutually_exclusive_group()
    mode.add_argument("--native", action="store_true", help="local processes, even with an engine")
    mode.add_argument("--docker", action="store_true", help="containers, or fail")
    return parser


def _create(chosen: argparse.Namespace, progress: Progress) -> None:
    source, environ = _source()
    into = chosen.folder or ROOT / (environ.get("BACKUP_DIR") or "backups")
    folder, contents = create(source, into.absolute(), lambda text: progress.say("backup", text))
    size = sum(size for size, _ in contents.files.values())
    progress.say(
        "backup", f"{_total(contents.counts)} values, {contents.redis_keys} keys, {size:,} bytes"
    )
    print(folder)


def _source() -> tuple[Source, Mapping[str, str]]:
    """What runs, and its settings."""
    if stack := native.running(ROOT):
        return NativeSource(ROOT, stack.environ, _programs()), stack.environ
    if engine_answers() and (inside := containers.running(ROOT)):
        database = inside.environ.get("INFLUX_DATABASE") or "significant_trades"
        return ContainerSource(inside.project, database), inside.environ
    raise BackupError("The stack is not running. Start it first: ./scripts/up.sh")


def _restore(chosen: argparse.Namespace, progress: Progress) -> None:
    if chosen.into and not (chosen.into.isidentifier() and chosen.into not in ("demo", "live")):
        raise BackupError(f"--into {chosen.into}: give a name of letters and digits like scratch.")
    target = _target(chosen)
    contents = restore(
        chosen.backup.absolute(),
        target,
        lambda text: progress.say("restore", text),
        replace=chosen.replace,
    )
    progress.say(
        "restore",
        f"complete: {_total(contents.counts)} values of before {contents.created} are there",
    )


def _target(chosen: argparse.Namespace) -> Target:
    answers = not chosen.native and engine_answers()
    if chosen.docker and not answers:
        raise BackupError("No Docker engine answers. Start it, or restore with --native.")
    if answers:
        stack = containers.running(ROOT)
        if stack and not chosen.into:
            raise BackupError("The stack is running. Stop it first: ./scripts/down.sh")
        return ContainerTarget(containers.live(ROOT, chosen.into).project)
    if native.running(ROOT) and not chosen.into:
        raise BackupError("The stack is running. Stop it first: ./scripts/down.sh")
    folder = ROOT / ".local" / (chosen.into or "live")
    return NativeTarget(folder, folder / "freqtrade", _programs())


def _programs() -> debian.Programs:
    programs = debian.find(ROOT / ".local")
    if programs is None:
        raise BackupError(
            "influxd and redis-server are neither in PATH nor in .local. Install them: "
            "apt-get install influxdb redis-server"
        )
    return programs


def _total(counts: Counts) -> str:
    return f"{sum(number for fields in counts.values() for number in fields.values()):,}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
