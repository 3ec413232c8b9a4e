from __future__ import annotations

import pytest

from tests.soak.samples import Sample, Usage
from tests.soak.verdict import Verdict, rows, stores

MINUTES = 60


def sample(
    minute: int,
    *,
    rss_mb: float = 100.0,
    descriptors: int = 20,
    pid: int = 1,
    logged: float = 0.0,
    service: str = "strategy-runner",
) -> Sample:
    usage = Usage(pid, minute * 60, int(rss_mb * 1e6), descriptors, 4, minute * 6.0)
    return Sample(60.0 * minute, {service: usage}, {service: int(logged)}, {"redis_keys": minute})


def judged(*samples: Sample) -> Verdict:
    hours = (samples[-1].at_s - samples[0].at_s) / 3600
    return Verdict(hours, list(rows(samples, 0.0)), stores(samples))


def test_a_service_that_stays_as_it_is_is_well() -> None:
    verdict = judged(*(sample(minute) for minute in range(MINUTES)))
    assert verdict.problems == []
    assert verdict.rows[0].cores == pytest.approx(0.1)
    assert verdict.stores == {"redis_keys": [0, MINUTES - 1]}
    assert "strategy-runner" in verdict.text


@pytest.mark.parametrize(
    ("grown", "what"),
    [
        ({"rss_mb": 2.0}, "MB per hour"),
        ({"descriptors": 3}, "descriptors per hour"),
    ],
)
def test_growth_beyond_the_bound_is_named(grown: dict[str, float], what: str) -> None:
    begin = {"rss_mb": 100.0, "descriptors": 20}
    verdict = judged(
        *(
            sample(minute, **{k: begin[k] + v * minute / 60 for k, v in grown.items()})  # type: ignore[arg-type]
            for minute in range(2 * MINUTES)
        )
    )
    [problem] = verdict.problems
    assert what in problem


def test_a_leak_of_a_database_is_told_from_its_filling_after_two_days() -> None:
    growing = [
        sample(minute, rss_mb=100 + minute, service="aggr-influx")
        for minute in range(0, 49 * 60, 5)
    ]
    assert judged(*growing[:200]).problems == []
    assert judged(*growing).problems != []


def test_what_logs_too_much_is_named() -> None:
    verdict = judged(*(sample(minute, logged=60e3 * minute) for minute in range(MINUTES)))
    assert verdict.problems == ["strategy-runner logs 86 MB a day"]


def test_a_life_that_nobody_ended_is_a_crash() -> None:
    lives = [sample(minute, pid=1 + (minute >= 30)) for minute in range(MINUTES)]
    assert judged(*lives).problems == ["strategy-runner: 2 lives, but 0 kills"]
    verdict = judged(*lives)
    verdict.kills["strategy-runner"] += 1
    assert verdict.problems == []


def test_broken_invariants_are_problems() -> None:
    verdict = judged(*(sample(minute) for minute in range(MINUTES)))
    verdict.wrong.append("3 bars differ")
    assert verdict.problems == ["3 bars differ"]
    assert verdict.as_dict()["problems"] == ["3 bars differ"]


def test_days_that_cannot_tell_count_as_growth() -> None:
    """After so long, only noise as large as the leak itself leaves it open."""
    levels = (100, 130, 90, 120, 105, 140, 95, 110, 135, 100, 130, 105, 125)
    noisy = [sample(minute, rss_mb=levels[minute // 60]) for minute in range(780)]
    [row] = judged(*noisy).rows
    assert row.rss is not None
    assert row.rss.against(1) == "open"
    assert "MB per hour" in judged(*noisy).problems[0]
    assert judged(*noisy[:600]).problems == []
