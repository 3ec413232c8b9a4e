from __future__ import annotations

from aggr_server import epitaph as of
from aggr_server.epitaph import decode, encode, epitaph
from aggr_server.framing import Record
from aggr_server.wire import Bar, ClosedSecond, Gap


def bar(second: int, market: str = "A:x") -> Bar:
    return Bar(second, market, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 1, 1, 0.0, 0.0)


def record(
    index: int,
    second: int,
    *bars: Bar,
    amended: list[Bar] | None = None,
    gaps: list[Gap] | None = None,
) -> Record:
    closed = ClosedSecond("c", "e", 1, second, 0, None, list(bars), amended or [], gaps or [])
    return Record(index, second, encode(closed))


def overflow(from_s: int, to_s: int, market: str = "A:x") -> Gap:
    return Gap(market, from_s, to_s, "overflow")


def test_lost_bars_become_gaps_of_their_markets() -> None:
    records = [
        record(4, 100, bar(100), bar(100, "B:y")),
        record(5, 101, bar(101)),
        record(6, 102),
    ]
    stone, new = epitaph(records, 4)
    assert (stone.first, stone.index, stone.second) == (4, 6, 102)
    assert new == [overflow(100, 102), overflow(100, 101, "B:y")]
    left = decode(stone.payload)
    assert (left.bars, left.amended, left.gaps) == ([], [], new)


def test_lost_amendments_are_gaps_where_the_bars_are() -> None:
    _, new = epitaph([record(0, 1000, bar(1000), amended=[bar(500), bar(501)])], 0)
    assert new == [overflow(500, 502), overflow(1000, 1001)]


def test_gaps_that_the_records_carried_survive_in_their_last_form() -> None:
    carried = Gap("A:x", 90, 95, "disconnect")
    records = [
        record(0, 100, gaps=[Gap("A:x", 90, 99, "disconnect")]),
        record(1, 101, gaps=[carried]),
    ]
    stone, new = epitaph(records, 0)
    assert new == []
    assert decode(stone.payload).gaps == [carried]


def test_an_earlier_epitaph_grows_instead_of_piling_up() -> None:
    first, _ = epitaph([record(n, 100 + n, bar(100 + n)) for n in range(3)], 0)
    second, new = epitaph([first, record(3, 103, bar(103), bar(103, "B:y"))], first.first)
    assert (second.first, second.index) == (0, 3)
    assert new == [overflow(103, 104), overflow(103, 104, "B:y")]
    assert sorted(decode(second.payload).gaps, key=lambda g: g.market) == [
        overflow(100, 104),
        overflow(103, 104, "B:y"),
    ]


def test_far_apart_losses_stay_apart_until_there_are_too_many() -> None:
    records = [record(n, n * 1000, bar(n * 1000)) for n in range(of.MAX_GAPS + 1)]
    few, _ = epitaph(records[:5], 0)
    assert len(decode(few.payload).gaps) == 5
    many, new = epitaph(records, 0)
    assert len(new) == of.MAX_GAPS + 1
    assert decode(many.payload).gaps == [overflow(0, of.MAX_GAPS * 1000 + 1)]


def test_a_payload_of_another_kind_is_passed_over() -> None:
    stone, new = epitaph([Record(0, 100, b"\xc1"), record(1, 101, bar(101))], 0)
    assert (stone.index, new) == (1, [overflow(101, 102)])
