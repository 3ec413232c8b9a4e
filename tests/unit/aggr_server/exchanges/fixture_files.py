"""Reads the fixtures of an exchange; their README says what they are."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from aggr_server import exchanges
from aggr_server.exchanges.base import (
    USD_QUOTES,
    Ack,
    Adapter,
    Event,
    Greeting,
    Instrument,
    Leaving,
    Liquidation,
    Rejection,
    Reply,
    Request,
    Trade,
)
from aggr_server.markets import sizes

FOLDER = Path(__file__).parent / "fixtures"
NAMES = list(exchanges.known())


class Step(msgspec.Struct):
    """A request to expect, and the venue's answer."""

    url: str
    answer: msgspec.Raw
    method: str = "GET"
    body: str = ""

    def is_for(self, request: Request) -> bool:
        return (self.url, self.method, self.body) == (request.url, request.method, request.body)


class Recovery(msgspec.Struct):
    """A window asked from REST."""

    market: str
    from_ms: int
    to_ms: int
    steps: list[Step]
    trades: list[dict[str, Any]]
    liquidations: list[dict[str, Any]] | None = None
    since_ms: int = 0


class Fixtures:
    """Those of one exchange."""

    def __init__(self, name: str) -> None:
        self.adapter = exchanges.get(name)
        self.folder = FOLDER / type(self.adapter).__module__.rpartition(".")[2]

    @property
    def frames(self) -> list[bytes]:
        return [_frame(line) for line in self._lines("frames.jsonl")]

    @property
    def events(self) -> list[list[dict[str, Any]]]:
        """For each frame what it says."""
        return [msgspec.json.decode(line) for line in self._lines("events.jsonl")]

    @property
    def instruments(self) -> list[Instrument]:
        found = []
        for path in self.answers():
            found += self.adapter.instruments(path.read_bytes()).instruments
        return found

    @property
    def recoveries(self) -> dict[str, Recovery]:
        return {
            path.name: msgspec.json.decode(path.read_bytes(), type=Recovery)
            for path in sorted(self.folder.glob("past*.json"))
        }

    def answers(self) -> list[Path]:
        """The files with answers to `discovery`."""
        return sorted(self.folder.glob("instruments*.json"))

    def described(self, kind: str) -> Iterator[dict[str, Any]]:
        """Expected events of a kind: trade, liquidation, ack ..."""
        for events in self.events:
            yield from (event for event in events if kind in event)

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


@cache
def of(name: str) -> Fixtures:
    """The fixtures of the exchange `name`."""
    return Fixtures(name)


def _frame(line: str) -> bytes:
    if line.startswith(("b'", 'b"')):
        value = ast.literal_eval(line)
        assert isinstance(value, bytes)
        return value
    return line.encode()


class Markets:
    """Which instrument an event belongs to."""

    def __init__(self, adapter: Adapter, instruments: Iterable[Instrument]) -> None:
        self._adapter = adapter
        self._by_wire: dict[str, list[Instrument]] = {}
        for instrument in instruments:
            self._by_wire.setdefault(instrument.wire, []).append(instrument)

    def of(self, event: Trade | Liquidation) -> Instrument:
        """The listed instrument; where several share a wire symbol, the one `assume` tells."""
        listed = self._by_wire.get(event.wire, [])
        assert listed, f"instruments*.json does not list {event.wire}"
        symbol = self._adapter.assume(event.wire, event).symbol
        return ([i for i in listed if i.symbol == symbol] or listed)[0]

    def describe(self, event: Event) -> dict[str, Any]:
        """An event as the fixtures write it."""
        match event:
            case Trade():
                return {"trade": self._name(event), **self.amounts(event)}
            case Liquidation():
                return {"liquidation": self._name(event), **self.amounts(event)}
            case Ack():
                return {"ack": True}
            case Greeting():
                return {"greeting": True}
            case Reply():
                return {"reply": event.text}
            case Leaving():
                return {"leaving": event.reason}
            case Rejection():
                optional = {"wire": event.wire, "kind": event.kind}
                return {"rejection": event.reason, **{k: v for k, v in optional.items() if v}}

    def _name(self, event: Trade | Liquidation) -> str:
        return self._adapter.market(self.of(event))

    def amounts(self, event: Trade | Liquidation) -> dict[str, Any]:
        """Time, side, price, sizes; and id and order of a trade, if it has them."""
        found = sizes(self.of(event), event.price, event.size)
        assert found is not None, f"the contract size of {event.wire} is not known"
        base, notional = found
        described = {
            "ts_ms": event.ts_ms,
            "side": "buy" if event.is_buy else "sell",
            "price": event.price,
            "base": base,
            "notional": notional,
        }
        if isinstance(event, Trade):
            described |= {"id": str(event.id)} if event.id != "" else {}
            described |= {"order": event.order} if event.order else {}
        return described


def families(instruments: Iterable[Instrument]) -> set[str]:
    """Families of sizes among dollar markets of known size."""
    return {
        "spot" if i.kind == "spot" else "inverse" if i.inverse else "linear"
        for i in instruments
        if i.quote in USD_QUOTES and i.contract_size is not None
    }


def parse_all(adapter: Adapter, frames: Sequence[bytes]) -> list[list[Event]]:
    """What the frames of one connection say."""
    parse = adapter.session()
    return [list(parse(frame)) for frame in frames]


if __name__ == "__main__":  # pragma: no cover
    # What the adapter makes of its frames, to compare with the documentation line by line.
    shown = of(sys.argv[1])
    markets = Markets(shown.adapter, shown.instruments)
    for events in parse_all(shown.adapter, shown.frames):
        print(msgspec.json.encode([markets.describe(event) for event in events]).decode())
