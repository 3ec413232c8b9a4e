from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.notices import Kind, Level, Notice
from services.notify.planner import BURST, MINUTE_MS, OLD_MS, Message, Planner
from services.notify.quiet import parse

NOON_MS = int(datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp() * 1000)
NIGHT_MS = NOON_MS + 11 * 60 * MINUTE_MS
MORNING_MS = NOON_MS + 19 * 60 * MINUTE_MS
NIGHT = parse("22:00-07:00")


def notice(
    key: str,
    ts_ms: int = NOON_MS,
    level: Level = "info",
    kind: Kind = "opened",
    pnl: float | None = None,
) -> Notice:
    return Notice(key, kind, level, "info", f"title {key}", f"body {key}", ts_ms, pnl, "USDT")


def send_all(planner: Planner, now_ms: int) -> list[Message]:
    sent = []
    while (message := planner.next(now_ms)) is not None:
        planner.sent(message, now_ms)
        sent.append(message)
    return sent


def test_notices_are_told_one_by_one_in_their_order() -> None:
    planner = Planner(10)
    for key in "abc":
        planner.add(notice(key))
    assert [m.title for m in send_all(planner, NOON_MS)] == ["title a", "title b", "title c"]
    assert len(planner) == 0


def test_a_message_stays_planned_until_it_was_sent() -> None:
    planner = Planner(10)
    planner.add(notice("a"))
    assert planner.next(NOON_MS) == planner.next(NOON_MS)
    assert "a" in planner


def test_a_flood_becomes_one_summary_with_counts_and_profit() -> None:
    planner = Planner(10)
    for number in range(40):
        planner.add(notice(f"o{number}", NOON_MS + number))
    planner.add(notice("c1", NOON_MS + 50, kind="closed", pnl=4.5))
    planner.add(notice("c2", NOON_MS + 51, kind="closed", pnl=-6.0))
    (message,) = send_all(planner, NOON_MS + 100)
    assert message.title == "42 messages: 40 opened, 2 closed (-1.50 USDT)"
    lines = message.body.splitlines()
    assert lines[0] == "From 2026-01-10 12:00:00 UTC to 2026-01-10 12:00:00 UTC."
    assert lines[-2:] == ["12:00:00 title c2: body c2", "and 32 more"]
    assert len(lines) == 12
    assert len(message.body) < 2000  # Discord takes no more


def test_M3_twenty_faults_at_once_and_their_ends_are_told_one_by_one() -> None:
    planner = Planner(10)
    kinds: list[tuple[Kind, int]] = [("alert", 0), ("over", 5_000)]
    for kind, passed_ms in kinds:
        for number in range(20):
            planner.add(notice(f"{kind}{number}", NOON_MS + passed_ms, "critical", kind))
        sent = send_all(planner, NOON_MS + passed_ms)
        assert [m.title for m in sent] == [f"title {kind}{number}" for number in range(20)]


def test_a_trickle_beyond_the_limit_waits_and_is_told_together() -> None:
    planner = Planner(10)
    sent = []
    for second in range(180):
        planner.add(notice(str(second), NOON_MS + second * 1000))
        sent += [(second, m) for m in send_all(planner, NOON_MS + second * 1000)]
    # Forty at once, and one more every six seconds.
    alone = [second for second, m in sent if len(m.notices) == 1]
    assert alone == list(range(47))
    together = [len(m.notices) for _, m in sent[48:]]
    assert together == [6] * len(together)
    told = [n.key for _, m in sent for n in m.notices]
    assert told == [str(n) for n in range(len(told))]


def test_critical_notices_go_first_and_past_a_flood_of_others() -> None:
    planner = Planner(3)
    for number in range(3 * BURST):
        planner.add(notice(f"a{number}"))
    send_all(planner, NOON_MS)
    planner.add(notice("low"))
    planner.add(notice("high", level="critical", kind="alert"))
    assert [m.title for m in send_all(planner, NOON_MS)] == ["title high"]
    assert "low" in planner


def test_a_flood_of_critical_ones_is_bounded_too() -> None:
    planner = Planner(3)
    sent = []
    for second in range(60):
        planner.add(notice(str(second), NOON_MS + second * 1000, "critical", "alert"))
        sent += send_all(planner, NOON_MS + second * 1000)
    assert len(sent) <= 3 * BURST + 3


def test_old_notices_are_summarised_and_new_ones_told_singly() -> None:
    planner = Planner(10)
    for number in range(5):
        planner.add(notice(f"old{number}", NOON_MS - OLD_MS - 1 - number))
    planner.add(notice("new"))
    summary, single = send_all(planner, NOON_MS)
    assert summary.title == "5 messages: 5 opened"
    assert single.title == "title new"


def test_a_single_late_notice_says_when_it_was() -> None:
    planner = Planner(10)
    planner.add(notice("a"))
    (message,) = send_all(planner, NOON_MS + 2 * OLD_MS)
    assert message.body == "body a (at 2026-01-10 12:00:00 UTC)"


def test_in_quiet_hours_only_what_is_critical_goes_out_the_rest_after_them() -> None:
    planner = Planner(10, NIGHT)
    planner.add(notice("low", NIGHT_MS))
    planner.add(notice("middle", NIGHT_MS, "warning", "alert"))
    planner.add(notice("high", NIGHT_MS, "critical", "alert"))
    planner.add(notice("ended", NIGHT_MS, "critical", "over"))
    assert [m.title for m in send_all(planner, NIGHT_MS)] == ["title high", "title ended"]
    (summary,) = send_all(planner, MORNING_MS)
    assert summary.title == "2 messages: 1 opened, 1 alerts"


def test_beyond_its_capacity_the_oldest_of_the_least_critical_are_counted_only() -> None:
    planner = Planner(10, NIGHT, capacity=3)
    planner.add(notice("high", NIGHT_MS - 9, "critical", "alert"))
    assert [planner.add(notice(str(n), NIGHT_MS + n)) for n in range(2)] == [None, None]
    assert planner.add(notice("2", NIGHT_MS + 2)) == notice("0", NIGHT_MS)
    planner.lost()
    assert len(planner) == 5
    assert [m.title for m in send_all(planner, NIGHT_MS)] == ["title high"]
    (message,) = send_all(planner, MORNING_MS)
    assert message.title == "4 messages: 2 opened"
    assert message.body.splitlines()[-1].startswith("2 more were left out")
    assert len(planner) == 0


def test_the_clock_set_back_does_not_stop_messages() -> None:
    planner = Planner(1)
    for number in range(BURST):
        planner.add(notice(str(number), NOON_MS + 60 * MINUTE_MS))
    assert len(send_all(planner, NOON_MS + 60 * MINUTE_MS)) == BURST
    planner.add(notice("b"))
    assert send_all(planner, NOON_MS) == []
    assert len(send_all(planner, NOON_MS + MINUTE_MS)) == 1


@pytest.mark.parametrize("quiet", [None, NIGHT])
@given(seed=st.integers(0, 10_000), limit=st.integers(1, 20))
def test_every_notice_is_told_exactly_once_and_no_minute_has_too_many(
    quiet: None, seed: int, limit: int
) -> None:
    chance, planner, now_ms = random.Random(seed), Planner(limit, quiet), NIGHT_MS - 30_000
    sent: list[tuple[int, Message]] = []
    for number in range(chance.randrange(200)):
        now_ms += chance.choice([0, 0, 10, 1000, 20_000])
        level: Level = chance.choice(["info", "warning", "critical"])
        planner.add(notice(str(number), now_ms - chance.choice([0, 5, 2 * OLD_MS]), level, "alert"))
        if chance.random() < 0.5:
            sent += [(now_ms, m) for m in send_all(planner, now_ms)]
    for _ in range(3):
        now_ms = max(now_ms, MORNING_MS) + MINUTE_MS
        sent += [(now_ms, m) for m in send_all(planner, now_ms)]
    told = [n.key for _, m in sent for n in m.notices]
    assert len(told) == len(set(told))
    assert len(planner) == 0
    for critical in (False, True):
        times = [at for at, m in sent if m.critical is critical]
        for begin, first in enumerate(times):
            for count, last in enumerate(times[begin:], 1):
                assert count <= BURST * limit + (last - first) * limit / MINUTE_MS + 1e-6
