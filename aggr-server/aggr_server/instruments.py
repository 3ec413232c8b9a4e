"""Instruments as the venues last listed them, kept on disk for a start without REST."""

from __future__ import annotations

import re
from logging import getLogger
from pathlib import Path

import msgspec

from aggr_server.exchanges.base import Instrument
from aggr_server.files import replace_file
from aggr_server.log import kv

_UNSAFE = re.compile(r"[^A-Z0-9_]")
_log = getLogger(__name__)


class Listed(msgspec.Struct):
    """What a venue listed. `asked_ms`: when, UTC."""

    asked_ms: int
    instruments: list[Instrument]


_decoder = msgspec.json.Decoder(Listed)


class InstrumentCache:
    """One file `EXCHANGE.json` for each venue in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, exchange: str) -> Listed | None:
        """The newest list known; None if there is none that can be read."""
        path = self._path(exchange)
        try:
            return _decoder.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("instruments on disk not readable %s", kv(file=path, error=error))
            return None

    def save(self, exchange: str, instruments: list[Instrument], asked_ms: int) -> None:
        """Keep a list. A disk that does not take it is only a warning: the venue has it too."""
        path = self._path(exchange)
        try:
            replace_file(path, msgspec.json.encode(Listed(asked_ms, instruments)))
        except OSError as error:
            _log.warning("instruments not kept on disk %s", kv(file=path, error=error))

    def _path(self, exchange: str) -> Path:
        return self._folder / f"{_UNSAFE.sub('_', exchange.upper())}.json"
