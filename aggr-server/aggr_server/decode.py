"""`decode`: what the trades and forced orders in raw frames are."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

import msgspec

from aggr_server.exchanges.base import UNREADABLE, Adapter, Instrument, Liquidation, Trade
from aggr_server.markets import sizes

_NOT_RECEIVED = re.compile(rb"^wss?://\S+ <-")
_TIME = re.compile(rb"^\d+(?:\.\d+)?: ")
_LITERAL = re.compile(rb"""^b(['"]).*\1$""")
SHOWN_ERRORS = 5


class DecodedEvent(msgspec.Struct):
    """One line of output."""

    market: str
    ts_ms: int
    side: str
    price: float
    size_base: float | None
    notional: float | None
    liquidation: bool
    id: str | None


class Decoder:
    """Frames of one exchange to events; complaints go to `errors`, one line each."""

    def __init__(
        self, adapter: Adapter, instruments: Iterable[Instrument] = (), errors: TextIO | None = None
    ) -> None:
        self.unreadable = 0
        self._adapter = adapter
        self._parse = adapter.session()
        self._known: dict[str, list[Instrument]] = {}
        for instrument in instruments:
            self._known.setdefault(instrument.wire, []).append(instrument)
        self._errors = errors or sys.stderr
        self._warned: set[str] = set()

    def decode(self, lines: Iterable[bytes]) -> Iterator[DecodedEvent]:
        """Every trade and forced order in `lines`: frames, or `TIME: FRAME` as recorded.

        All lines are taken to be of one connection.
        """
        for number, line in enumerate(lines, start=1):
            frame = line.strip()
            if not frame or _NOT_RECEIVED.match(frame):
                continue
            try:
                events = self._parse(_bare(frame))
            except UNREADABLE as error:
                self._complain(number, error)
                continue
            for event in events:
                if isinstance(event, Trade | Liquidation):
                    yield self._describe(event)

    def _describe(self, event: Trade | Liquidation) -> DecodedEvent:
        instrument = self._instrument(event)
        market = self._adapter.market(instrument)
        found = sizes(instrument, event.price, event.size)
        if found is None and market not in self._warned:
            self._warned.add(market)
            print(
                f"decode: contract size of {market} is not known: size_base and notional stay "
                "empty; give the exchange's instrument list by --instruments",
                file=self._errors,
            )
        base, notional = found or (None, None)
        return DecodedEvent(
            market=market,
            ts_ms=event.ts_ms,
            side="buy" if event.is_buy else "sell",
            price=event.price,
            size_base=base,
            notional=notional,
            liquidation=isinstance(event, Liquidation),
            id=str(event.id) if isinstance(event, Trade) else None,
        )

    def _instrument(self, event: Trade | Liquidation) -> Instrument:
        assumed = self._adapter.assume(event.wire, event)
        candidates = self._known.get(event.wire, [])
        same = [i for i in candidates if i.symbol == assumed.symbol]
        return (same or candidates or [assumed])[0]

    def _complain(self, number: int, error: Exception) -> None:
        self.unreadable += 1
        if self.unreadable <= SHOWN_ERRORS:
            print(f"decode: line {number} not understood: {error}", file=self._errors)


def _bare(line: bytes) -> bytes:
    """The frame in a recorded line; binary ones are written as Python literals, `b'\\x1f..'`.

    Raises `ValueError`.
    """
    frame = _TIME.sub(b"", line, count=1)
    if not _LITERAL.match(frame):
        return frame
    try:
        value = ast.literal_eval(frame.decode())
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"no bytes literal: {error}") from error
    return value if isinstance(value, bytes) else frame


def read_instruments(adapter: Adapter, path: Path) -> list[Instrument]:
    """Instruments from a file with the exchange's own answers, one a line or one in all.

    Raises `OSError`, `ValueError`.
    """
    data = path.read_bytes()
    try:
        return adapter.instruments(data).instruments
    except msgspec.MsgspecError as whole_error:
        lines = [line for line in data.splitlines() if line.strip()]
        try:
            return [i for line in lines for i in adapter.instruments(line).instruments]
        except msgspec.MsgspecError:
            raise ValueError(
                f"{path} is not the instrument list of {adapter.name}: {whole_error}; get it from "
                + " or ".join(request.url for request in adapter.discovery)
            ) from whole_error


def run(adapter: Adapter, instruments: list[Instrument], source: BinaryIO, out: BinaryIO) -> None:
    """Decode `source` line by line to `out`."""
    decoder = Decoder(adapter, instruments)
    encode = msgspec.json.Encoder().encode
    for event in decoder.decode(source):
        out.write(encode(event) + b"\n")
    if decoder.unreadable > SHOWN_ERRORS:
        print(f"decode: {decoder.unreadable} lines not understood in all", file=sys.stderr)
    out.flush()
