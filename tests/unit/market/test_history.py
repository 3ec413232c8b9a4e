from hypothesis import given
from hypothesis import strategies as st

from services.market.history import OI_STALE_S, OpenInterestSeries

moments = st.integers(0, 3 * OI_STALE_S)


def test_open_interest_is_what_was_known_at_the_second() -> None:
    series = OpenInterestSeries()
    for t, coins in ((100, 5.0), (160, 6.0), (160, 7.0), (150, 8.0)):
        series.add("V", t, coins)
    assert series.at(99) == {}
    assert series.at(159) == {"V": 5.0}
    assert series.at(160) == {"V": 6.0}


def test_open_interest_older_than_half_an_hour_is_unknown() -> None:
    series = OpenInterestSeries()
    series.add("V", 100, 5.0)
    assert series.at(1900) == {"V": 5.0}
    assert series.at(1901) == {}


def test_values_that_are_no_amount_are_ignored() -> None:
    series = OpenInterestSeries()
    series.add("V", 100, float("nan"))
    series.add("V", 100, 0.0)
    assert series.at(100) == {}


def test_forgetting_keeps_what_later_seconds_need() -> None:
    series = OpenInterestSeries()
    for t in range(0, 7200, 600):
        series.add("V", t, t + 1.0)
    series.forget_before(7200)
    assert series.at(5400) == {"V": 5401.0}
    assert series.at(7200) == {"V": 6601.0}


@given(st.lists(st.tuples(st.sampled_from("ABC"), moments)), st.lists(moments, min_size=1))
def test_what_is_known_does_not_depend_on_what_was_asked_before(
    samples: list[tuple[str, int]], asked: list[int]
) -> None:
    series = OpenInterestSeries()
    kept: dict[str, list[int]] = {}
    for n in range(max(len(samples), len(asked))):
        if n < len(samples):
            venue, t = samples[n]
            series.add(venue, t, t + 1.0)
            if t > max(kept.setdefault(venue, []), default=-1):
                kept[venue].append(t)
        t = asked[n % len(asked)]
        newest = {v: max((s for s in times if s <= t), default=None) for v, times in kept.items()}
        fresh = {v: s + 1.0 for v, s in newest.items() if s is not None and t - s <= OI_STALE_S}
        assert series.at(t) == fresh
