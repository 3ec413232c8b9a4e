from hypothesis import given
from hypothesis import strategies as st

from services.market.history import OI_KNOWN_AFTER_S, OI_STALE_S, OpenInterestSeries

moments = st.integers(0, 3 * OI_STALE_S)


def test_open_interest_is_what_was_known_at_the_second() -> None:
    series = OpenInterestSeries()
    for t, coins in ((100, 5.0), (160, 6.0), (160, 7.0), (150, 8.0)):
        series.add("V", t, coins)
    assert series.at(99 + OI_KNOWN_AFTER_S) == {}
    assert series.at(159 + OI_KNOWN_AFTER_S) == {"V": 5.0}
    assert series.at(160 + OI_KNOWN_AFTER_S) == {"V": 6.0}


def test_open_interest_older_than_half_an_hour_is_unknown() -> None:
    series = OpenInterestSeries()
    series.add("V", 100, 5.0)
    assert series.at(1900) == {"V": 5.0}
    assert series.at(1901) == {}


def test_values_that_are_no_amount_are_ignored() -> None:
    series = OpenInterestSeries()
    series.add("V", 100, float("nan"))
    series.add("V", 100, 0.0)
    assert series.at(100 + OI_KNOWN_AFTER_S) == {}


def test_forgetting_keeps_what_later_seconds_need() -> None:
    series = OpenInterestSeries()
    for t in range(0, 7200, 600):
        series.add("V", t, t + 1.0)
    series.forget_before(7200)
    assert series.at(5400 + OI_KNOWN_AFTER_S) == {"V": 5401.0}
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
        known = t - OI_KNOWN_AFTER_S
        newest = {v: max((s for s in ts if s <= known), default=None) for v, ts in kept.items()}
        fresh = {v: s + 1.0 for v, s in newest.items() if s is not None and t - s <= OI_STALE_S}
        assert series.at(t) == fresh


@given(
    st.lists(st.tuples(moments, st.integers(0, OI_KNOWN_AFTER_S)), max_size=8),
    st.lists(moments, min_size=1),
)
def test_it_means_the_same_live_whenever_the_sample_came(
    samples: list[tuple[int, int]], asked: list[int]
) -> None:
    offline, live = OpenInterestSeries(), OpenInterestSeries()
    taken = sorted({t: delay for t, delay in samples}.items())
    for t, _ in taken:
        offline.add("V", t, t + 1.0)
    for now in sorted(asked):  # a second is evaluated once it is over
        while taken and sum(taken[0]) <= now + 1:
            t, _ = taken.pop(0)
            live.add("V", t, t + 1.0)
        assert live.at(now) == offline.at(now)


def test_what_arrived_while_the_rest_was_read_is_added_to_it() -> None:
    stored, arrived = OpenInterestSeries(), OpenInterestSeries()
    stored.add("V", 100, 5.0)
    for t, coins in ((100, 9.0), (160, 6.0)):
        arrived.add("V", t, coins)
    arrived.add("W", 150, 7.0)
    stored.extend(arrived)
    assert stored.at(159) == {"V": 5.0}
    assert stored.at(170) == {"V": 6.0, "W": 7.0}
