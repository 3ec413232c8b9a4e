"""The command lines of `backup_volumes.sh` and `restore_volumes.sh`."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """For `create`, `restore` and `test`."""
    top = argparse.ArgumentParser(prog="backup", description="Backups that provably restore.")
    commands = top.add_subparsers(dest="command", required=True)
    _create(commands.add_parser("create", prog="backup_volumes.sh", description=_create.__doc__))
    _restore(
        commands.add_parser("restore", prog="restore_volumes.sh", description=_restore.__doc__)
    )
    _test(commands.add_parser("test", prog="backup_volumes.sh --test", description=_test.__doc__))
    return top


def _create(make: argparse.ArgumentParser) -> None:
    """Back up the databases, freqtrade and the collector of the running stack. Prints the folder
    of the backup. Ends with status 3 if that is complete but could not be handed on.
    With --test as its first word it tests the newest backup instead."""
    make.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="left out: BACKUP_DIR, or ./backups"
    )
    make.add_argument(
        "--keep",
        type=_count,
        metavar="N",
        help="remove all but the newest N afterwards; 0: none; left out: BACKUP_KEEP",
    )
    make.add_argument("--lines", action="store_true", help="InfluxDB as line protocol too")
    make.add_argument(
        "--stack",
        metavar="NAME",
        default="",
        help="back up the Swarm stack NAME, on its manager",
    )
    _key_file(make, "encrypt with the key in FILE")


def _restore(put: argparse.ArgumentParser) -> None:
    """Verify a backup and restore it into the stack of this folder, which must be stopped and
    empty. Start it afterwards with ./scripts/up.sh."""
    put.add_argument("backup", type=Path, metavar="BACKUP", help="folder of the backup")
    where = put.add_mutually_exclusive_group()
    where.add_argument(
        "--into",
        metavar="NAME",
        default="",
        help="restore into a stack of that name beside the real one, for example scratch",
    )
    put.add_argument("--replace", action="store_true", help="throw away the data that is there now")
    put.add_argument(
        "--lines", action="store_true", help="InfluxDB from line protocol, not its own format"
    )
    put.add_argument(
        "--settings", action="store_true", help="put back .env and secrets, as far as missing"
    )
    where.add_argument(
        "--stack",
        metavar="NAME",
        default="",
        help="restore into the volumes of the Swarm stack NAME, on its manager",
    )
    _key_file(put, "decrypt with the key in FILE")
    mode = put.add_mutually_exclusive_group()
    mode.add_argument("--native", action="store_true", help="local processes, even with an engine")
    mode.add_argument("--docker", action="store_true", help="containers, or fail")


def _test(test: argparse.ArgumentParser) -> None:
    """Restore a backup into scratch servers and compare what they hold with its manifest."""
    test.add_argument("backup", nargs="?", type=Path, metavar="BACKUP", help="left out: the newest")
    _key_file(test, "decrypt with the key in FILE")


def _key_file(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument(
        "--key-file", type=Path, metavar="FILE", help=f"{text}; left out: secrets/backup_key"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("0 or more")
    return number
