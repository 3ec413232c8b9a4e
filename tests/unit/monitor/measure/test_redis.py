"""Redis' figures, from its own words."""

from __future__ import annotations

from services.monitor.measure.redis import LastMinute, shares

INFO = {"used_memory": 600, "maxmemory": 800, "connected_clients": 25, "maxclients": 1000}


def test_memory_and_clients_are_shares_of_their_limits() -> None:
    assert {r.name: r.value for r in shares(INFO)} == {
        "redis_memory_percent": 75.0,
        "redis_clients_percent": 2.5,
    }


def test_without_a_limit_there_is_no_share() -> None:
    assert shares({"used_memory": 600, "maxmemory": 0, "connected_clients": 25}) == []


def test_a_counter_tells_its_growth_of_the_last_minute() -> None:
    count = LastMinute()
    seen = [count.growth(total, now_s) for now_s, total in
            ((0, 500), (30, 520), (61, 520), (90, 520), (95, 530), (200, 530))]  # fmt: skip
    assert seen == [0, 20, 20, 0, 10, 0]


def test_a_server_that_was_restarted_counts_from_nothing() -> None:
    count = LastMinute()
    assert [count.growth(500, 0), count.growth(3, 10), count.growth(4, 20)] == [0, 3, 4]
