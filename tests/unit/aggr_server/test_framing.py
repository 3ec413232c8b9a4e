from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from aggr_server.framing import HEAD_BYTES, MAGIC, Record, pack, scan

PAYLOADS = st.one_of(
    st.binary(max_size=60),
    # What looks like a record, or like the begin of one, inside another.
    st.binary(max_size=20).map(lambda inner: pack(Record(7, 7, inner))),
    st.just(MAGIC * 3),
)
SECONDS = st.integers(0, 2**40)


def row(payloads: list[bytes], begin: int = 0) -> list[Record]:
    return [Record(begin + n, 1_700_000_000 + n, payload) for n, payload in enumerate(payloads)]


def packed(records: list[Record]) -> bytes:
    return b"".join(map(pack, records))


@given(st.lists(PAYLOADS, max_size=6), SECONDS)
def test_what_was_packed_is_read_again(payloads: list[bytes], begin: int) -> None:
    records = row(payloads, begin)
    data = packed(records)
    found = scan(data)
    assert (found.records, found.end, found.skipped) == (records, len(data), 0)


@given(st.lists(PAYLOADS, min_size=1, max_size=4), st.data())
def test_a_torn_end_leaves_every_whole_record(payloads: list[bytes], data: st.DataObject) -> None:
    records = row(payloads)
    whole = packed(records)
    torn = data.draw(st.integers(0, len(whole)))
    found = scan(whole[:torn])
    count = len(found.records)
    assert found.records == records[:count]
    assert found.end == len(packed(records[:count]))
    assert count == len(records) or len(packed(records[: count + 1])) > torn


@given(st.lists(PAYLOADS, min_size=1, max_size=5), st.data())
def test_damaged_bytes_cost_the_records_they_are_in_and_no_other(
    payloads: list[bytes], data: st.DataObject
) -> None:
    records = row(payloads)
    whole = bytearray(packed(records))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    hit = next(n for n in range(len(records)) if len(packed(records[: n + 1])) > place)
    found = scan(bytes(whole))
    kept = [*records[:hit], *records[hit + 1 :]]
    # A record that lies inside a damaged one's payload may come to light; indices tell them apart.
    assert [r for r in found.records if r in records] == kept
    if hit < len(records) - 1 and kept == found.records:
        assert found.skipped == records[hit].size


@given(st.binary(max_size=400))
def test_garbage_holds_no_record(garbage: bytes) -> None:
    assert scan(garbage).records == []


def test_a_length_beyond_the_file_hides_nothing_behind_it() -> None:
    first, second = pack(Record(0, 10, b"abc")), pack(Record(1, 11, b"def"))
    broken = first[:4] + struct.pack("<I", 1_000_000) + first[8:]
    found = scan(broken + second)
    assert found.records == [Record(1, 11, b"def")]
    assert found.skipped == len(first)


def test_every_field_is_covered_by_the_check() -> None:
    frame = bytearray(pack(Record(5, 10, b"x", count=2)))
    for place in range(HEAD_BYTES):
        damaged = bytearray(frame)
        damaged[place] ^= 1
        assert scan(bytes(damaged)).records == [], place


def test_a_record_knows_what_it_covers() -> None:
    record = Record(9, 100, b"", count=4)
    assert (record.first, record.size) == (6, HEAD_BYTES)
    assert scan(pack(record)).records == [record]
