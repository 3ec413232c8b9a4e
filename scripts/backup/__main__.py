"""The commands behind `backup_volumes.sh` and `restore_volumes.sh`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic

from aggr_server.env import SettingsError, load
from scripts.backup import jobs, restore
from scripts.backup.arguments import parser
from scripts.backup.container import ContainerSource, ContainerTarget
from scripts.backup.errors import BackupError
from scripts.backup.native import NativeSource, NativeTarget
from scripts.backup.offsite import OffsiteError
from scripts.backup.place import Source, Target
from scripts.backup.seal import Key
from scripts.backup.swarm import SwarmSource, SwarmTarget, require_down
from scripts.stack import containers, dotenv, native, secret_files, swarm
from scripts.stack.compose import Project, engine_answers
from scripts.stack.progress import Progress
from scripts.stack.running import StackError
from scripts.stack.settings import merged
from services.core.settings import BackupSettings

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Run a command; return the process's exit status."""
    chosen = parser().parse_args(arguments)
    progress = Progress()
    try:
        {"create": _create, "restore": _restore, "test": _test}[chosen.command](chosen, progress)
    except OffsiteError as error:
        print(error, file=sys.stderr)
        return jobs.ONLY_HERE_EXIT
    except (BackupError, StackError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _create(chosen: argparse.Namespace, progress: Progress) -> None:
    source, environ, demo = _of_stack(chosen.stack) if chosen.stack else _running()
    settings = _settings(environ)
    into = chosen.folder.absolute() if chosen.folder else _usual(settings, demo=demo)
    try:
        folder = jobs.back_up(
            source,
            ROOT,
            into,
            settings,
            progress.say,
            key=_key(chosen, settings),
            keep=chosen.keep,
            lines=chosen.lines,
        )
    except OffsiteError as error:
        print(error.backup)
        raise
    print(folder)


def _of_stack(stack: str) -> tuple[Source, Mapping[str, str] | None, bool]:
    """The same of a stack in Swarm, whose settings are this folder's."""
    if not swarm.services(stack):
        raise BackupError(
            f"No stack {stack} runs in a Swarm of which this machine is the manager. Its name is "
            "among those of: docker stack ls"
        )
    project = Project(ROOT, demo=False, environ={}, stack=stack)
    return SwarmSource(project, _settings().influx_database), None, False


def _running() -> tuple[Source, Mapping[str, str], bool]:
    """What runs, its settings, and whether it is a demo whose settings do not name its folder."""
    if stack := native.running(ROOT):
        return NativeSource(ROOT, stack.environ, jobs.influxd(ROOT)), stack.environ, False
    if engine_answers() and (inside := containers.running(ROOT)):
        database = inside.environ.get("INFLUX_DATABASE") or "significant_trades"
        return ContainerSource(inside.project, database), inside.environ, inside.demo
    raise BackupError(
        "The stack is not running. Start it first: ./scripts/up.sh, or name the one that runs in a "
        "Swarm: --stack NAME"
    )


def _usual(settings: BackupSettings, *, demo: bool) -> Path:
    """Where backups are, and those of the demo, which must not push out real ones."""
    folder = ROOT / settings.backup_dir
    return folder / "demo" if demo else folder


def _restore(chosen: argparse.Namespace, progress: Progress) -> None:
    if chosen.into and not (chosen.into.isidentifier() and chosen.into not in ("demo", "live")):
        raise BackupError(f"--into {chosen.into}: give a name of letters and digits like scratch.")
    began = monotonic()
    contents = restore.restore(
        chosen.backup.absolute(),
        _target(chosen, progress),
        lambda text: progress.say("restore", text),
        restore.Options(
            replace=chosen.replace,
            lines=chosen.lines,
            key=_key(chosen, _settings()),
            settings=ROOT if chosen.settings else None,
            processors=os.cpu_count() or 1,
        ),
    )
    progress.say(
        "restore",
        f"complete: {jobs.total(contents.counts)} values of before {contents.created} are there, "
        f"after {monotonic() - began:.0f} s",
    )


def _test(chosen: argparse.Namespace, progress: Progress) -> None:
    settings = _settings()
    folder, key = _usual(settings, demo=_demo_runs()), _key(chosen, settings)
    jobs.test(chosen.backup, folder, jobs.programs(ROOT), progress.say, key=key)


def _demo_runs() -> bool:
    stack = native.running(ROOT) or (containers.running(ROOT) if engine_answers() else None)
    return stack is not None and stack.demo


def _settings(environ: Mapping[str, str] | None = None) -> BackupSettings:
    """From the environment of a running stack, or else as its start would read them."""
    if environ is None:
        secrets = secret_files.file_settings(ROOT / "secrets")
        there = {name: path for name, path in secrets.items() if Path(path).exists()}
        environ = {**there, **merged(dotenv.read(ROOT / ".env"))}
    return load(BackupSettings, environ)


def _key(chosen: argparse.Namespace, settings: BackupSettings) -> Key | None:
    return Key.read(chosen.key_file) if chosen.key_file else jobs.key_of(settings)


def _target(chosen: argparse.Namespace, progress: Progress) -> Target:
    answers = not chosen.native and engine_answers()
    if chosen.docker and not answers:
        raise BackupError("No Docker engine answers. Start it, or restore with --native.")
    if answers:
        stack = containers.running(ROOT)
        if stack and not chosen.into:
            raise BackupError("The stack is running. Stop it first: ./scripts/down.sh")
        if chosen.stack:
            return _target_of_stack(chosen.stack, progress)
        project = containers.live(ROOT, chosen.into).project
        return ContainerTarget(project, lambda: containers.equip(project, progress))
    if chosen.stack:
        raise BackupError("--stack: no Docker engine answers. Run this on the Swarm's manager.")
    if native.running(ROOT) and not chosen.into:
        raise BackupError("The stack is running. Stop it first: ./scripts/down.sh")
    folder = ROOT / ".local" / (chosen.into or "live")
    return NativeTarget(folder, folder / "freqtrade", jobs.programs(ROOT))


def _target_of_stack(stack: str, progress: Progress) -> Target:
    require_down(stack)
    project = replace(containers.live(ROOT).project, stack=stack)
    told = merged(dotenv.read(ROOT / ".env")).get("AGGR_COLLECTORS")
    if told and not told.isdecimal():
        raise BackupError(f"AGGR_COLLECTORS={told} is no number of collectors. Correct it in .env.")
    collectors = int(told) if told else swarm.COLLECTORS
    return SwarmTarget(project, lambda: containers.equip(project, progress), collectors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
