"""What is left of closed seconds that had to be given up: gaps instead of bars. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from logging import getLogger

import msgspec

from aggr_server.framing import Record
from aggr_server.log import kv
from aggr_server.wire import Bar, ClosedSecond, Gap

OVERFLOW = "overflow"
"""Reason of the gaps: InfluxDB did not take the bars before there was no more room for them."""

JOIN_S = 60
"""Lost bars of a market that are no further apart than this make one gap."""

MAX_GAPS = 5000
"""An epitaph with more gaps than this makes one of all gaps of a market."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ClosedSecond)
_log = getLogger(__name__)


def encode(closed: ClosedSecond) -> bytes:
    """The payload of a record."""
    return _encoder.encode(closed)


def decode(payload: bytes) -> ClosedSecond:
    """Inverse of `encode`. Raises `msgspec.MsgspecError`."""
    return _decoder.decode(payload)


def epitaph(records: Sequence[Record], first: int) -> tuple[Record, list[Gap]]:
    """One record that stands for `records` from index `first` on, and the gaps that are new.

    Gaps that the records carried are in it as well. `records` must not be empty.
    """
    carried: dict[tuple[str, str, int], Gap] = {}
    lost: dict[str, set[int]] = {}
    for record in records:
        closed = _try(record)
        carried.update(((g.market, g.reason, g.from_s), g) for g in closed.gaps)
        for bar in _bars(closed):
            lost.setdefault(bar.market, set()).add(bar.time)
    new = [gap for market, seconds in lost.items() for gap in _joined(market, seconds)]
    earlier = [gap for gap in carried.values() if gap.reason == OVERFLOW]
    for gap in earlier:
        del carried[gap.market, gap.reason, gap.from_s]
    last = records[-1]
    gaps = [*carried.values(), *merged([*earlier, *new])]
    closed = ClosedSecond("", "", 0, last.second, 0, None, [], [], gaps)
    first = min(first, last.index)
    return Record(last.index, last.second, encode(closed), last.index - first + 1), new


def _try(record: Record) -> ClosedSecond:
    try:
        return decode(record.payload)
    except msgspec.MsgspecError as error:
        _log.error("spool record not understood %s", kv(second=record.second, error=error))
        return ClosedSecond("", "", 0, record.second, 0, None, [])


def _bars(closed: ClosedSecond) -> Iterable[Bar]:
    yield from closed.bars
    yield from closed.amended


def _joined(market: str, seconds: set[int]) -> Iterable[Gap]:
    ordered = sorted(seconds)
    from_s = last = ordered[0]
    for second in ordered[1:]:
        if second - last > JOIN_S:
            yield Gap(market, from_s, last + 1, OVERFLOW)
            from_s = second
        last = second
    yield Gap(market, from_s, last + 1, OVERFLOW)


def merged(gaps: list[Gap]) -> list[Gap]:
    """As few overflow gaps as say the same, keeping the begin of the first of those joined."""
    reach = JOIN_S if len(gaps) <= MAX_GAPS else 1 << 62
    open_: dict[str, Gap] = {}
    done: list[Gap] = []
    for gap in sorted(gaps, key=lambda g: (g.market, g.from_s)):
        before = open_.get(gap.market)
        if before is not None and gap.from_s - before.to_s <= reach:
            to_s = max(before.to_s, gap.to_s)
            open_[gap.market] = Gap(gap.market, before.from_s, to_s, OVERFLOW)
        else:
            if before is not None:
                done.append(before)
            open_[gap.market] = gap
    return [*done, *open_.values()]
