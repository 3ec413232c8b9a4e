"""`docs/open-interest.md` says what the venues' files say."""

from __future__ import annotations

from pathlib import Path

from services.core.settings import OpenInterestSettings
from services.oi import store
from services.oi.venues import VENUES

TEXT = (Path(__file__).parents[3] / "docs/open-interest.md").read_text(encoding="utf-8")


def test_the_table_lists_every_venue_with_its_interval() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TEXT.splitlines()
        if line.startswith("| ")
    ]
    listed = {row[0]: int(row[1]) for row in rows[1:]}
    assert listed == {venue.name: venue.interval_s for venue in VENUES.values()}


def test_every_venue_whose_unit_is_certain_is_asked_unless_told_otherwise() -> None:
    certain = [venue.name for venue in VENUES.values() if venue.certain]
    assert list(OpenInterestSettings().oi_exchanges) == certain


def test_the_venues_of_the_sums_are_named() -> None:
    line = next(line for line in TEXT.splitlines() if line.startswith("- `FUTURES_AGG`"))
    assert all(name in line for name in store.FUTURES_VENUES)
    assert VENUES.keys() >= store.FUTURES_VENUES
