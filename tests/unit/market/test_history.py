from services.market.history import OpenInterestSeries


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
