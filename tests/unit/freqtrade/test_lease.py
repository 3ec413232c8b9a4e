"""Who may enter trades, as one executor knows it."""

from __future__ import annotations

from pathlib import Path

from squeezeflow.lease import NOT_KNOWN, Answer, Lease, owner_of


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def may_take(lease: Lease) -> bool:
    """Whether the next turn may take a lease that nobody has."""
    return lease.arguments[3] == "1"


def test_lease_is_not_held_before_redis_has_said_so() -> None:
    lease = Lease("a")
    assert not lease.held
    assert lease.token == 0
    assert lease.problem == ""
    assert may_take(lease)


def test_holder_knows_its_token_and_value() -> None:
    lease = Lease("a")
    assert lease.answered(Answer(7, "a:7", 30_000))
    assert (lease.held, lease.token, lease.value, lease.problem) == (True, 7, "a:7", "")
    assert not lease.answered(Answer(7, "a:7", 30_000))
    assert lease.arguments[:2] == ("a", "7")


def test_second_says_who_enters_and_for_how_long() -> None:
    lease = Lease("b", Clock())
    assert lease.answered(Answer(0, "a:7", 12_000))
    assert not lease.held
    assert lease.problem == "another executor (a) may enter, its lease ends in 12 s"
    assert not lease.answered(Answer(0, "a:7", 11_000))


def test_lease_lost_with_all_of_redis_data_is_left_to_its_holder() -> None:
    clock = Clock()
    lease = Lease("b", clock)
    lease.answered(Answer(0, "a:7", 12_000))
    clock.now += 11.9
    lease.answered(Answer(0, "", 0))
    assert not may_take(lease)
    clock.now += 0.1
    assert may_take(lease)


def test_holder_takes_it_back_at_once_but_not_after_it_was_deposed() -> None:
    clock = Clock()
    lease = Lease("a", clock)
    lease.answered(Answer(7, "a:7", 30_000))
    assert may_take(lease)
    assert lease.answered(Answer(0, "b:8", 30_000))
    assert not may_take(lease)
    assert lease.token == 0
    clock.now += 30
    assert may_take(lease)


def test_process_deposed_by_one_on_the_same_data_says_so() -> None:
    lease = Lease("a", Clock())
    lease.answered(Answer(7, "a:7", 30_000))
    lease.answered(Answer(0, "a:8", 30_000))
    assert "a, on the same data" in lease.problem


def test_lease_that_redis_would_not_renew_is_not_held_and_nobody_elses() -> None:
    lease = Lease("a", Clock())
    lease.answered(Answer(7, "a:7", 30_000))
    assert lease.answered(NOT_KNOWN)
    assert not lease.held
    assert (lease.other, lease.problem) == ("", "Redis does not tell who may enter")
    assert lease.answered(Answer(7, "a:7", 30_000))
    assert (lease.held, lease.problem) == (True, "")


def test_data_keeps_its_name(tmp_path: Path) -> None:
    name = owner_of(tmp_path)
    assert owner_of(tmp_path) == name
    (tmp_path / "other").mkdir()
    assert owner_of(tmp_path / "other") != name


def test_unusable_name_is_replaced(tmp_path: Path) -> None:
    for content in (b"", b"\xff\xfe", b"a:b\n", b"a\x00b"):
        (tmp_path / ".executor_id").write_bytes(content)
        name = owner_of(tmp_path)
        assert len(name) == 36
        assert owner_of(tmp_path) == name
