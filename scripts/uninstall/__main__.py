"""Lists what the stack has on this machine, and deletes it with --yes.

Never deleted: .env, config.json, this folder's sources, images of others, and the backups, unless
--backups is given too. Refuses while trades with real money are open: they would stay at the
exchange, and nobody would look after them.

Exit status: 0 listed or deleted, 1 refused or not all could be deleted, 2 an argument is wrong.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.doctor.site import Site, examine
from scripts.doctor.stack import supervised
from scripts.doctor.store import size
from scripts.stack.compose import engine_answers
from scripts.stack.running import StackError
from scripts.uninstall import engine, positions
from scripts.uninstall.engine import Holdings

ROOT = Path(__file__).resolve().parents[2]
MB = 10**6
BACKUPS = "squeezeflow-*"
PARTS = {
    "live": "data of local processes: bars, trades, state",
    "demo": "data of the demo",
    "log": "logs",
    "run": "generated configuration",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes. `held`: None if no engine answers."""

    site: Site
    held: Holdings | None
    folders: tuple[tuple[Path, str], ...]
    backups: tuple[Path, ...]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="uninstall.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--yes", action="store_true", help="delete what is listed")
    parser.add_argument("--backups", action="store_true", help="the backups too")
    parser.add_argument(
        "--force", action="store_true", help="even while trades with real money are open"
    )
    chosen = parser.parse_args(arguments)
    try:
        plan = _plan(examine(ROOT), backups=chosen.backups)
        print("\n".join(_told(plan)))
        if not (plan.folders or plan.backups or _has(plan.held)):
            return 0
        if not chosen.yes:
            also = " --backups" if chosen.backups else ""
            print(
                f"\nNothing was deleted. To delete all of this: ./scripts/uninstall.sh --yes{also}"
            )
            return 0
        return _carry_out(plan, force=chosen.force)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1


def _plan(site: Site, *, backups: bool) -> Plan:
    held = None
    if engine_answers():
        engine.require_no_swarm()
        held = engine.holdings(site.root)
    if held and held.elsewhere:
        raise StackError(
            f"A stack of the same name was started from {', '.join(sorted(held.elsewhere))}; the "
            "volumes are its own. Run ./scripts/uninstall.sh there."
        )
    kept = (site.root / (site.setting("BACKUP_DIR") or "backups")).absolute()
    return Plan(
        site,
        held,
        tuple(_folders(site, held)),
        tuple(sorted(kept.glob(BACKUPS))) if backups else (),
    )


def _folders(site: Site, held: Holdings | None) -> Iterator[tuple[Path, str]]:
    for name, what in PARTS.items():
        if (path := site.local / name).is_dir():
            yield path, what
    if site.local.is_dir():
        yield site.local, "all else that was installed or generated"
    if (secrets := site.root / "secrets").is_dir():
        yield secrets, "passwords, and the exchange's keys, which you cannot get back from here"
    for volume in held.volumes if held else ():
        if volume.device and Path(volume.device).is_dir():
            yield Path(volume.device), f"behind the volume {volume.name}"


def _has(held: Holdings | None) -> bool:
    return held is not None and any((held.containers, held.volumes, held.networks, held.images))


def _told(plan: Plan) -> Iterator[str]:
    if not (plan.folders or plan.backups or _has(plan.held)):
        yield "Nothing of the stack is on this machine but its sources"
        yield from _unknown(plan)
        return
    yield "This would be deleted:"
    if supervised(plan.site):
        yield "  the running local processes, which are stopped first"
    if plan.held:
        yield from _of_engine(plan.held)
    sizes = {path: size(path) for path, _ in plan.folders}
    for path, what in plan.folders:
        # What is listed by itself does not count twice.
        own = sizes[path] - sum(sizes[p] for p in sizes if path in p.parents)
        yield f"  folder     {path}  {own / MB:,.0f} MB  {what}"
    for path in plan.backups:
        total = size(path) if path.is_dir() else path.lstat().st_size
        yield f"  backup     {path}  {total / MB:,.0f} MB"
    yield "This would stay: .env, freqtrade/config/config.json, the sources, images of others" + (
        "" if plan.backups else ", the backups"
    )
    for setting in ("FREQTRADE_DATA_DIR", "AGGR_DATA_DIR"):
        if path_given := plan.site.setting(setting):
            yield f"and {path_given}, which {setting} names: delete it yourself"
    yield from _unknown(plan)


def _unknown(plan: Plan) -> Iterator[str]:
    if plan.held is None and shutil.which("docker"):
        yield "and what Docker may hold of it, whose engine does not answer this user"


def _of_engine(held: Holdings) -> Iterator[str]:
    for container in held.containers:
        yield f"  container  {container['Name'].lstrip('/')}  {container['State']['Status']}"
    for volume in held.volumes:
        yield f"  volume     {volume.name}  {volume.size}".rstrip()
    for name in held.networks:
        yield f"  network    {name}"
    for name in held.images:
        yield f"  image      {name}"


def _require_flat(plan: Plan) -> None:
    """Raises `StackError` unless it is certain that no trade with real money is open."""
    remedy = "Close it first (freqtrade's forceexit), or say --force and look after it yourself."
    open_pairs: list[str] = []
    given = plan.site.setting("FREQTRADE_DATA_DIR")
    folders = [plan.site.local / "live" / "freqtrade", plan.site.root / "freqtrade" / "user_data"]
    try:
        for folder in (*folders, *([Path(given)] if given else [])):
            open_pairs += positions.of(folder)
        if plan.held:
            open_pairs += engine.open_positions(plan.held)
    except (sqlite3.Error, OSError, StackError) as error:
        raise StackError(
            f"Whether trades with real money are open cannot be known: {error} Nothing was "
            "deleted. See at the exchange; if there are none, say --force."
        ) from error
    if open_pairs:
        raise StackError(
            f"Trades with real money are open: {', '.join(open_pairs)}. Nothing was deleted. "
            f"{remedy}"
        )


def _carry_out(plan: Plan, *, force: bool) -> int:
    """Stop, then delete. A trade may be opened up to the very moment of the stop."""
    if not force:
        _require_flat(plan)
    if (plan.site.local / "venv" / "bin" / "python").exists():
        # Ends besides what watches over the containers, which would start them anew.
        _down(plan.site.root)
    if plan.held:
        engine.stop(engine.holdings(plan.site.root))
        plan = replace(plan, held=engine.holdings(plan.site.root))
    if not force:
        _require_flat(plan)
    if plan.held:
        engine.delete(plan.held)
    return _delete(plan)


def _delete(plan: Plan) -> int:
    paths = (*(path for path, _ in plan.folders), *plan.backups)
    failed = [reason for path in paths if (reason := _removed(path))]
    for reason in failed:
        print(reason, file=sys.stderr)
    print("Not all could be deleted." if failed else "Deleted.")
    return 1 if failed else 0


def _down(root: Path) -> None:
    done = subprocess.run([str(root / "scripts" / "down.sh")], check=False, timeout=300)
    if done.returncode:
        raise StackError("The stack could not be stopped; nothing was deleted.")


def _removed(path: Path) -> str:
    """Delete it; the reason if that fails. Of a link only the link goes."""
    try:
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
    except OSError as error:
        return f"{path}: {error.strerror}. Delete it as root: sudo rm -r {path}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
