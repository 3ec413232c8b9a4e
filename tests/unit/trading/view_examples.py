"""One message of views for every state of the method: `python -m tests.unit.trading.view_examples`.

Writes them to where the tests of the live page look for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from services.core.views import View, Views
from services.strategy.types import State
from tests.unit.strategy.scenarios import LEAD_S
from tests.unit.trading.played import Played

FOLDER = Path(__file__).parents[1] / "dashboard" / "fixtures" / "views"


def examples() -> Iterator[tuple[str, Views]]:
    """Name and message, in the order of a trade's life: S3, a long with rising open interest."""
    at = Played("S3")
    begin = at.start + LEAD_S
    at.trader.live = False
    yield "loading", _message(at)
    at.trader.live = True
    at.to(at.start + 7_234)
    yield "warmup", _message(at)
    for name, t in (("quiet", begin - 600), ("watching", begin + 1_150)):
        at.to(t)
        yield name, _message(at)
    at.to(begin + 2_700)
    yield "divergence", _message(at)
    at.to(begin + 3_050)
    yield "reset", _message(at)
    yield "blocked", _blocked(at)
    at.until(State.ENTRY_READY)
    at.step()
    yield "entry_ready", _message(at)
    at.fill()
    at.to(begin + 3_600)
    yield "in_position", _message(at)
    at.until(State.CLOSING)
    at.step()
    yield "closing", _message(at)
    at.close()
    at.to(at.t + 60)
    yield "cooldown", _message(at)
    yield "short", _short()


def _blocked(at: Played) -> Views:
    """Everything that holds entries back whatever the set-up."""
    at.leads = False
    at.portfolio.halted = "entries halted by operator: maintenance"
    at.portfolio.daily_loss_reached = True
    at.portfolio.reserved = frozenset({"ETHUSDT", "SOLUSDT", "XRPUSDT"})
    message = _message(at)
    at.leads, at.portfolio.halted, at.portfolio.daily_loss_reached = True, "", False
    at.portfolio.reserved = frozenset()
    return message


def _short() -> Views:
    """A short position in the burst of S5."""
    at = Played("S5")
    at.to(at.start + LEAD_S + 2_700)
    at.until(State.ENTRY_READY)
    at.fill()
    at.to(at.t + 300)
    return _message(at)


def _message(at: Played) -> Views:
    view: View = at.view()
    return Views(replica="example", ts_ms=at.now_ms(), views=[view])


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, message in examples():
        text = msgspec.json.format(msgspec.json.encode(message), indent=1)
        (FOLDER / f"{name}.json").write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
