"""The newest view of every symbol."""

from __future__ import annotations

import msgspec

from services.core.views import View, Views
from services.dashboard.views import STALE_MS, NewestViews

NOW_MS = 1_795_400_000_000


def message(t: int, ts_ms: int, state: str = "RESET", symbol: str = "BTCUSDT") -> bytes:
    view = View(symbol=symbol, base=symbol[:3], t=t, state=state)
    return msgspec.json.encode(Views(replica="a", ts_ms=ts_ms, views=[view]))


def states(views: NewestViews) -> dict[str, str]:
    return {symbol: view.state for symbol, (view, _) in views.newest().items()}


def test_each_symbol_has_the_view_of_the_replica_that_leads_it() -> None:
    views = NewestViews(lambda: NOW_MS)
    views.on_message(message(5, NOW_MS))
    views.on_message(message(5, NOW_MS, "ENTRY", "ETHUSDT"))

    assert states(views) == {"BTCUSDT": "RESET", "ETHUSDT": "ENTRY"}


def test_an_older_view_of_another_replica_does_not_replace_a_newer_one() -> None:
    views = NewestViews(lambda: NOW_MS)
    views.on_message(message(5, NOW_MS, "ENTRY"))
    views.on_message(message(4, NOW_MS, "RESET"))

    assert states(views) == {"BTCUSDT": "ENTRY"}


def test_what_has_not_been_told_for_long_is_not_shown() -> None:
    now = NOW_MS
    views = NewestViews(lambda: now)
    views.on_message(message(5, NOW_MS))
    now = NOW_MS + STALE_MS
    assert states(views) == {"BTCUSDT": "RESET"}

    now += 1
    assert states(views) == {}


def test_an_unreadable_message_changes_nothing() -> None:
    views = NewestViews(lambda: NOW_MS)
    views.on_message(message(5, NOW_MS))
    views.on_message(b'{"replica": 5}')

    assert states(views) == {"BTCUSDT": "RESET"}
