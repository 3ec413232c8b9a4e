"""Which seconds were published and not heard."""

from __future__ import annotations

from aggr_server.wire import ClosedSecond
from services.dashboard.sequence import Sequences


def message(seq: int, second: int, collector: str = "aggr-1", epoch: str = "a") -> ClosedSecond:
    return ClosedSecond(collector, epoch, seq, second, 0, None, [])


def test_messages_in_a_row_miss_nothing() -> None:
    sequences = Sequences()
    sequences.follow(message(5, 100))

    assert [sequences.follow(message(5 + i, 100 + i)) for i in range(1, 4)] == [None] * 3


def test_a_hole_is_read_from_the_last_second_heard_on() -> None:
    sequences = Sequences()
    sequences.follow(message(5, 100))

    # Its amendments of the second before may have been in what was missed.
    assert sequences.follow(message(8, 103)) == (100, 103)


def test_a_repeated_message_misses_nothing_and_a_later_one_goes_on() -> None:
    sequences = Sequences()
    sequences.follow(message(5, 100))

    assert sequences.follow(message(5, 100)) is None
    assert sequences.follow(message(6, 101)) is None


def test_a_collector_that_started_anew_may_have_published_until_its_end() -> None:
    sequences = Sequences()
    sequences.follow(message(5, 100))

    assert sequences.follow(message(1, 110, epoch="b")) == (100, 110)


def test_each_collector_counts_for_itself() -> None:
    sequences = Sequences()
    sequences.follow(message(5, 100))
    sequences.follow(message(70, 100, collector="aggr-2"))

    assert sequences.follow(message(6, 101)) is None
    assert sequences.follow(message(71, 101, collector="aggr-2")) is None


def test_after_a_pause_the_second_before_the_first_one_may_have_been_missed() -> None:
    sequences = Sequences()
    sequences.follow(message(5, 100))
    sequences.forget()

    assert sequences.follow(message(90, 185)) == (184, 185)
