"""The live page of the real health-monitor, on a real Redis and InfluxDB, in a real browser."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from services.core.records import Signal
from services.core.views import Position, View
from tests.browser import stage as said
from tests.browser.browser import Tab
from tests.browser.rig import Rig
from tests.browser.test_live_page_states import figures
from tests.browser.truth import truths
from tests.signals import entry_fields

LIVE_MS = 2_000.0
VALUE = "document.querySelector('[data-figure=\"{}\"]')?.dataset.value"


def watching(base: str, t: int, price: float) -> View:
    """Nothing goes on."""
    return showing(said.view(price=price))(base, t, price)


def showing(view: View) -> Callable[[str, int, float], View]:
    """The same for every base; the CVDs tell the second."""

    def of(base: str, t: int, price: float) -> View:
        return replace(
            view, base=base, symbol=f"{base}USDT", t=t, c_spot=float(t), c_perp=-float(t)
        )

    return of


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Started once: the tests change what it tells."""
    rig = Rig(tmp_path_factory.mktemp("live-page"), watching)
    try:
        rig.start()
        yield rig
    finally:
        rig.stop()


@pytest.fixture(autouse=True)
def told(rig: Rig) -> None:
    """Every test begins with a feed that runs and nothing going on."""
    rig.paused.clear()
    rig.view = watching
    rig.freqtrade.open, rig.freqtrade.closed = [], []


@pytest.mark.alone
async def test_live_prices_are_shown_within_two_seconds(desktop: Tab, rig: Rig) -> None:
    await desktop.go(rig.url)
    assert await desktop.marked("chart") < LIVE_MS
    assert await desktop.marked("live") < LIVE_MS
    await desktop.until("document.querySelector('#price').dataset.value > 0")
    await desktop.until("document.title.includes('BTC') && !document.title.includes('no data')")
    await desktop.until("document.title.includes('Watching')")


async def test_both_cvds_the_divergence_and_open_interest_are_drawn(desktop: Tab, rig: Rig) -> None:
    await desktop.go(rig.url)
    await desktop.marked("live")
    legend = "[...document.querySelectorAll('.legend')]"
    await desktop.until(f"!{legend}.some((each) => each.innerText.includes('\u2013'))")
    legends = await desktop.evaluate(f"{legend}.map((each) => each.innerText)")
    heads = ("Price", "CVD", "Divergence 30 min", "Open interest", "Liquidations")
    assert all(text.startswith(head) for text, head in zip(legends, heads, strict=True)), legends
    assert "spot" in legends[1]
    assert "perp" in legends[1]
    assert "(4 h" in await desktop.text("#seen")
    newest = await desktop.text(".legend")
    await desktop.until(f"document.querySelector('.legend').innerText !== {newest!r}")


async def test_a_squeeze_is_followed_to_its_trade(desktop: Tab, rig: Rig) -> None:
    await desktop.go(rig.url)
    await desktop.marked("live")
    for score in (1.25, 3.5, 6.5):
        rig.view = showing(said.reset(score))
        await desktop.until(f"{VALUE.format('view.score')} === '{score}'")
        await desktop.until(f"{VALUE.format('board.BTCUSDT.score')} === '{score}'")
    assert "Reset, long" in await desktop.text(".phase")
    price = rig.coins["BTC"].close
    await rig.signal(entry("squeeze-1", price))
    await desktop.key("s")
    await desktop.until(f"{VALUE.format('signal.squeeze-1.score')} === '6.5'")
    rig.view = showing(in_position(price))
    rig.freqtrade.open = [open_trade("squeeze-1", price)]
    await desktop.key("p")
    await desktop.until(f"{VALUE.format('trade.7.open_rate')} === '{price!r}'")
    await desktop.until("document.querySelector('.phase').innerText.includes('In position, long')")
    marked = "document.querySelector('#chart-text').innerText.includes('1 signals and 1 trades')"
    await desktop.until(marked)
    await desktop.until("document.title.includes('In position')")


async def test_a_key_shows_the_other_symbol(desktop: Tab, rig: Rig) -> None:
    await desktop.go(rig.url)
    await desktop.marked("live")
    await desktop.key("2")
    await desktop.until("document.querySelector('#symbol').innerText === 'ETHUSDT'")
    await desktop.until("document.querySelector('#chart-text').innerText.startsWith('ETHUSDT')")
    price = float((await figures(desktop))["price"])
    assert price == pytest.approx(rig.coins["ETH"].close, rel=0.01)


async def test_a_phone_shows_it_without_scrolling_sideways(desktop: Tab, rig: Rig) -> None:
    await desktop.size(390, 844, phone=True)
    await desktop.go(rig.url)
    await desktop.marked("live")
    tabs = await desktop.evaluate(
        "[...document.querySelectorAll('#tabs button')].map((e) => e.dataset.tab)"
    )
    for tab in tabs:
        await desktop.evaluate(f"document.querySelector('#tabs [data-tab={tab}]').click()")
        await desktop.settled()
        assert await desktop.evaluate("document.documentElement.scrollWidth") <= 390, tab
        shown = f"getComputedStyle(document.querySelector('[data-panel={tab}]')).display"
        assert await desktop.evaluate(shown) == "flex"


async def test_every_number_is_what_the_sources_say(desktop: Tab, rig: Rig) -> None:
    price = rig.coins["BTC"].close
    await rig.signal(entry("figures-1", price))
    held = open_trade("figures-1", price, 9)
    rig.freqtrade.open = [held, open_trade("figures-0", price, 8)]
    await desktop.go(rig.url)
    await desktop.until(f"{VALUE.format('trade.8.open_rate')} === '{price!r}'")
    rig.freqtrade.open, rig.freqtrade.closed = [held], [closed_trade(price)]
    for seen, window_s in ((said.reset(4.75), 60), (in_position(price), 900)):
        rig.view = showing(seen)
        await desktop.go(rig.url)
        await desktop.marked("live")
        await desktop.evaluate(
            f"document.querySelector('#venues-tabs [data-choice=\"{window_s}\"]').click()"
        )
        await desktop.until(f"{VALUE.format('trade.8.profit')} === '1.75'")
        await desktop.until(f"{VALUE.format('equity')} === '{rig.freqtrade.total}'")
        await paused(desktop, rig)
        await compare(await figures(desktop), await truths(rig, window_s))
        await desktop.evaluate("document.querySelector('#venues-tabs [data-choice=oi]').click()")
        await compare(await figures(desktop), await truths(rig, window_s))
        await desktop.key("s")
        await compare(await figures(desktop), await truths(rig, window_s))
        rig.paused.clear()


async def compare(shown: dict[str, str], truth: dict[str, Any]) -> None:
    """Every figure shown is known to a source, and is what it says."""
    assert len(shown) > 60
    assert sorted(set(shown) - set(truth)) == []
    wrong = {}
    for name, value in shown.items():
        expected = truth[name]
        if name.startswith("service."):
            # Looked at anew every two seconds, by both.
            right = value != "" and abs(float(value) - expected) < 10_000
        elif expected is None or value == "":
            right = expected is None and value == ""
        else:
            # Flows are sent in whole cents.
            right = float(value) == pytest.approx(expected, rel=1e-9, abs=0.006)
        if not right:
            wrong[name] = (value, expected)
    assert wrong == {}


async def paused(tab: Tab, rig: Rig) -> None:
    """Stop the feed and wait until all of it is shown."""
    rig.paused.set()
    await asyncio.sleep(rig.period_s)
    newest = rig.told["BTCUSDT"].c_spot
    await tab.until(f"{VALUE.format('view.c_spot')} === '{newest:.0f}'")
    # Volumes by venue are told every other second.
    await asyncio.sleep(2 * rig.period_s)


def entry(signal_id: str, price: float) -> Signal:
    """A long entry of now."""
    return Signal(
        **entry_fields(
            said.now_ms(), signal_id=signal_id, entry_price=price, max_deviation=0.002,
            invalidation_price=price * 0.996, stop_price=price * 0.98, ttl=60, confidence=0.74,
            coverage=0.97, reasoning="gap 4.4 z over 30 min",
        )
    )  # fmt: skip


def open_trade(signal_id: str, price: float, trade_id: int = 7) -> dict[str, object]:
    """As freqtrade tells it."""
    return {
        "trade_id": trade_id, "pair": "BTC/USDT:USDT", "is_short": False, "is_open": True,
        "open_timestamp": said.now_ms(), "open_rate": price, "amount": 0.0047, "leverage": 3.0,
        "stake_amount": 100.0, "enter_tag": f"sf:{signal_id}", "current_rate": price * 1.001,
        "profit_abs": 0.27, "profit_ratio": 0.0027, "stop_loss_abs": price * 0.98,
    }  # fmt: skip


def in_position(price: float) -> View:
    """Holding the trade."""
    position = Position(
        trade_id=7, signal_id="squeeze-1", direction=1, entry_t=int(time.time()) - 3,
        entry_price=price, invalidation_price=price * 0.996, reversal=0.125, reversal_needed=0.5,
        score=6.5,
    )  # fmt: skip
    return said.view("IN_POSITION", direction=1, position=position, score=6.5, waits=[])


def closed_trade(price: float) -> dict[str, object]:
    """One that has won."""
    return {
        **open_trade("figures-0", price, 8), "is_open": False, "current_rate": None,
        "open_timestamp": said.now_ms() - 900_000, "close_timestamp": said.now_ms(),
        "close_rate": price * 1.006, "close_profit": 0.0175, "close_profit_abs": 1.75,
        "exit_reason": "flow_reversal",
    }  # fmt: skip
