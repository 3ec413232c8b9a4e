from __future__ import annotations

from collections import Counter

from tests.soak.trouble import EXCHANGES, FIRST, REST, troubles


def test_an_hour_has_six_troubles_ten_minutes_apart_that_strike_what_matters_most() -> None:
    made = troubles(1, 3600, 600)
    assert [trouble.at_s for trouble in made] == [300, 900, 1500, 2100, 2700, 3300]
    struck = Counter(trouble.what for trouble in made)
    assert struck == {EXCHANGES: 2, **dict.fromkeys(FIRST, 1)}


def test_a_day_strikes_every_service_often() -> None:
    struck = Counter(trouble.what for trouble in troubles(2, 86_400, 600))
    assert sum(struck.values()) == 144
    assert struck[EXCHANGES] == 48
    assert min(struck[service] for service in (*FIRST, *REST)) >= 11


def test_the_order_is_drawn_from_the_seed() -> None:
    assert troubles(3, 9000, 600) == troubles(3, 9000, 600)
    assert troubles(3, 9000, 600) != troubles(4, 9000, 600)
