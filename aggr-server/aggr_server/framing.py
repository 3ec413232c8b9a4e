"""Records of the spool: how one lies in a file, and how it is found behind damaged bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import msgspec

MAGIC = b"SQF1"
_HEAD = struct.Struct("<4sIIQQI")
_COVERED = struct.Struct("<QQI")
HEAD_BYTES = _HEAD.size
MAX_PAYLOAD = 1 << 26


class Record(msgspec.Struct, frozen=True):
    """`payload` is a closed second; or it stands for `count` of them that had to be given up.

    `index` counts closed seconds and never goes back; it is that of the last one covered.
    `second`: when that one opened, UTC.
    """

    index: int
    second: int
    payload: bytes
    count: int = 1

    @property
    def first(self) -> int:
        """Index of the first closed second this record covers."""
        return self.index - self.count + 1

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return HEAD_BYTES + len(self.payload)


class Scan(msgspec.Struct):
    """What was found. `end`: offset behind the last whole record. `skipped`: damaged bytes before
    it."""

    records: list[Record]
    end: int
    skipped: int


def pack(record: Record) -> bytes:
    """The bytes of one record."""
    crc = _crc(record.index, record.second, record.count, record.payload)
    head = _HEAD.pack(MAGIC, len(record.payload), crc, record.index, record.second, record.count)
    return head + record.payload


def scan(data: bytes) -> Scan:
    """Read whole records; damaged bytes between them are passed over."""
    records: list[Record] = []
    end = skipped = 0
    for start, record in _found(data):
        skipped += start - end
        end = start + record.size
        records.append(record)
    return Scan(records, end, skipped)


def _found(data: bytes) -> Iterator[tuple[int, Record]]:
    offset = data.find(MAGIC)
    while offset >= 0:
        record = _at(data, offset)
        if record is None:
            # Not by the length that is written there: it may be what is damaged.
            offset = data.find(MAGIC, offset + 1)
            continue
        yield offset, record
        behind = offset + record.size
        offset = behind if data.startswith(MAGIC, behind) else data.find(MAGIC, behind)


def _at(data: bytes, offset: int) -> Record | None:
    if len(data) - offset < HEAD_BYTES:
        return None
    _, length, crc, index, second, count = _HEAD.unpack_from(data, offset)
    start = offset + HEAD_BYTES
    if length > MAX_PAYLOAD or start + length > len(data):
        return None
    payload = data[start : start + length]
    if crc != _crc(index, second, count, payload) or not 1 <= count <= index + 1:
        return None
    return Record(index, second, payload, count)


def _crc(index: int, second: int, count: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_COVERED.pack(index, second, count)))
