"""Command line of the collector."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvloop

from aggr_server import clock, decode, exchanges, log, shards
from aggr_server.collector import NothingToCollect
from aggr_server.discovery import chosen_adapters
from aggr_server.env import SettingsError, load
from aggr_server.recordings import RecordingError
from aggr_server.replay import replay
from aggr_server.segments import SpoolInUse, SpoolUnusable
from aggr_server.serve import PortInUse, serve
from aggr_server.settings import CollectorSettings
from aggr_server.timekeeping import ClockSetBack

BAD_USE_EXIT = 2
BAD_SETTINGS_EXIT = 78  # EX_CONFIG of sysexits.h


def main() -> int:
    """Run what the arguments say and return the exit status."""
    arguments = _parser().parse_args()
    try:
        if arguments.command == "decode":
            return _decode(arguments)
        settings = load(CollectorSettings)
        clock.adjust(settings.simulated_clock)
        log.setup("aggr-server", settings.aggr_log_level)
        if arguments.command == "replay":
            return _replay(settings, arguments)
        return _serve(settings)
    except SettingsError as error:
        return _fail(str(error), BAD_SETTINGS_EXIT)
    except KeyboardInterrupt:
        return 130


def _serve(settings: CollectorSettings) -> int:
    try:
        chosen_adapters(settings)
        _check_shard(settings)
    except ValueError as error:
        return _fail(str(error), BAD_SETTINGS_EXIT)
    failure, exit_status = "", 0
    try:
        uvloop.run(serve(settings))
    except* (PortInUse, SpoolInUse, ClockSetBack) as group:
        failure, exit_status = str(_first(group)), 1
    except* (NothingToCollect, SpoolUnusable) as group:
        failure, exit_status = str(_first(group)), BAD_SETTINGS_EXIT
    return _fail(failure, exit_status) if failure else 0


def _check_shard(settings: CollectorSettings) -> None:
    try:
        shards.parse(settings.aggr_shard)
    except ValueError as error:
        raise ValueError(f"AGGR_SHARD: {error}") from error


def _decode(arguments: argparse.Namespace) -> int:
    try:
        adapter = exchanges.get(arguments.exchange)
        known = (
            decode.read_instruments(adapter, arguments.instruments) if arguments.instruments else []
        )
    except (OSError, ValueError) as error:
        return _fail(str(error), BAD_USE_EXIT)
    try:
        decode.run(adapter, known, sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        # The reader has seen enough; keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _replay(settings: CollectorSettings, arguments: argparse.Namespace) -> int:
    try:
        done = uvloop.run(
            replay(
                settings,
                arguments.files,
                speed=arguments.speed,
                own_time=arguments.own_time,
                market=arguments.market,
            )
        )
    except RecordingError as error:
        return _fail(str(error), BAD_USE_EXIT)
    print(done)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aggr_server",
        description="Collects trades of many exchanges and reduces them to one-second bars. "
        "Without a command it serves; settings come from the environment.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="collect and serve (the default)")
    frames = commands.add_parser(
        "decode",
        help="print the trades in raw websocket frames",
        description="Reads frames from standard input, one a line, bare or recorded as "
        "'TIME: FRAME', binary ones as a Python literal b'...', and prints one JSON line for each "
        "trade and each forced order.",
    )
    frames.add_argument("exchange", help="for example BINANCE")
    frames.add_argument(
        "--instruments",
        type=Path,
        metavar="FILE",
        help="the exchange's own instrument list, for contract sizes",
    )
    recorded = commands.add_parser(
        "replay",
        help="feed recorded trades through the collector",
        description="Files: CSV with ts_ms,price,size_base,side,trade_id, gzip or plain.",
    )
    recorded.add_argument("files", nargs="+", type=Path, metavar="FILE.csv.gz")
    recorded.add_argument(
        "--speed", type=_speed, default=1.0, help="recorded seconds in a second; 0: no waiting"
    )
    recorded.add_argument(
        "--own-time", action="store_true", help="keep the recorded times instead of shifting to now"
    )
    recorded.add_argument(
        "--market",
        default="",
        metavar="EXCHANGE:symbol",
        help="the market of all files, where their names do not tell it",
    )
    return parser


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 <= speed < float("inf"):
        raise argparse.ArgumentTypeError("give 0 or a positive number")
    return speed


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _fail(text: str, status: int) -> int:
    for line in text.splitlines():
        print(f"aggr-server: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
