"""The live page against a server that says what a test wants it to say."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from services.core.records import Alert
from services.dashboard.protocol import (
    Alerts,
    Close,
    Fresh,
    Revised,
    SignalRow,
    Signals,
    TradeRow,
    Trades,
    Trouble,
)
from tests.browser import stage as said
from tests.browser.browser import Tab
from tests.browser.stage import SYMBOLS, Stage, now_ms

AXE = Path(__file__).with_name("vendored") / "axe.min.js"
SERIOUS = "['serious', 'critical'].includes(found.impact)"
FIGURES = "Object.fromEntries([...document.querySelectorAll('[data-figure]')].map(" \
    "(e) => [e.dataset.figure, e.dataset.value]))"  # fmt: skip


async def opened(tab: Tab, stage: Stage) -> int:
    """The page, watching, with the seconds up to now. Returns the newest."""
    await tab.go(stage.url)
    await stage.watching.wait()
    await tab.marked("chart")
    t = now_ms() // 1000 - 1
    await stage.say(said.board(), said.strategy(said.view()), said.second(t))
    await tab.marked("live")
    return t


async def figures(tab: Tab) -> dict[str, str]:
    found: dict[str, str] = await tab.evaluate(FIGURES)
    return found


def trades(**changes: Any) -> Trades:
    values: dict[str, Any] = {
        "ts_ms": now_ms(),
        "problem": "",
        "open": [trade(2)],
        "closed": [trade(1, closed_ms=now_ms() - 60_000, close_rate=64_100.0)],
        "currency": "USDT",
        "equity": 10_001.5,
        "profit_today": -3.25,
        "halted": False,
        "halted_reason": "",
        "real_money": False,
    }
    return Trades(**{**values, **changes})


def trade(trade_id: int, **changes: Any) -> TradeRow:
    values: dict[str, Any] = {
        "trade_id": trade_id,
        "symbol": SYMBOLS[0],
        "side": "long",
        "leverage": 3.0,
        "stake": 100.0,
        "amount": 0.0047,
        "opened_ms": now_ms() - 600_000,
        "open_rate": 64_000.0,
        "closed_ms": None,
        "close_rate": None,
        "current_rate": 64_050.0,
        "stop_rate": 62_900.0,
        "profit": 0.23,
        "profit_ratio": 0.0023,
        "exit_reason": "",
        "signal_id": f"signal-{trade_id}",
    }
    return TradeRow(**{**values, **changes})


def signal(signal_id: str, status: str = "opened") -> SignalRow:
    return SignalRow(
        signal_id=signal_id, ts_ms=now_ms() - 600_000, symbol=SYMBOLS[0], action="LONG",
        event="ENTRY", score=6.25, entry_price=64_000.0, invalidation_price=63_800.0,
        stop_price=62_900.0, parts={}, status=status, reasoning="gap 4.4 z over 30 min",
    )  # fmt: skip


async def test_without_data_each_panel_says_what_is_missing(desktop: Tab, stage: Stage) -> None:
    stage.past = said.nothing
    await desktop.go(stage.url)
    await stage.watching.wait()
    await stage.say(trades(open=[], closed=[], equity=None, profit_today=None), said.strategy(None))
    await desktop.until("document.querySelector('#trades').innerText.includes('No trade yet')")
    for panel, words in {
        "#method": "No strategy-runner tells about this symbol",
        "#venues": "Is aggr-server up?",
    }.items():
        assert words in await desktop.text(panel)
    assert await desktop.text("#price") == "\u2013"
    assert (await figures(desktop))["equity"] == ""
    assert await desktop.text("#account b") == "\u2013"


async def test_the_score_builds_up_and_says_what_it_lacks(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    assert "Why not yet" in await desktop.text(".waits-box")
    assert "gap, 30 min" in await desktop.text(".waits-box")
    assert await desktop.text(".stepper [aria-current=step]") == "Context"
    for score in (1.5, 5.75):
        await stage.say(said.board("RESET", score, 1), said.strategy(said.reset(score)))
        await desktop.until(f"document.querySelector('.total').dataset.value === '{score}'")
    assert await desktop.text(".stepper [aria-current=step]") == "Reset"
    assert "Reset, long" in await desktop.text(".phase")
    assert "All conditions hold" in await desktop.text(".waits-box")
    found = await figures(desktop)
    assert found["view.score"] == found["score"] == found["board.BTCUSDT.score"] == "5.75"
    parts = said.reset(5.75).parts
    assert {name: found[f"view.parts.{name}"] for name in parts} == {
        name: str(points) for name, points in parts.items()
    }
    assert await desktop.text("#announcer")


async def test_a_warm_up_says_until_when(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    warm_at = now_ms() // 1000 + 4_000
    await stage.say(said.strategy(said.view("WARMUP", warm_at_t=warm_at)))
    clock = time.strftime("%H:%M", time.gmtime(warm_at))
    await desktop.until(f"document.querySelector('.does').innerText.includes('{clock} UTC')")


async def test_old_values_are_dimmed_and_say_so(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    old_ms = now_ms() - 60_000
    await stage.say(said.second(old_ms // 1000))
    await stage.say(Fresh(block="strategy", symbol=SYMBOLS[0], ts_ms=old_ms))
    await desktop.until("document.querySelector('.method').classList.contains('stale')")
    assert "old:" in await desktop.text("#method-h .age")
    await desktop.until("document.querySelector('#link').dataset.state === 'old'")
    assert "no bars" in await desktop.text("#link")
    await stage.say(Fresh(block="strategy", symbol=SYMBOLS[0], ts_ms=now_ms()))
    await desktop.until("!document.querySelector('.method').classList.contains('stale')")


async def test_a_lost_connection_is_told_and_what_was_missed_is_fetched(
    desktop: Tab, stage: Stage
) -> None:
    t = await opened(desktop, stage)
    asked = len(stage.asked)
    await stage.drop()
    await desktop.until(
        "document.querySelector('#link').dataset.state === 'lost'"
        " && document.querySelector('#notices').innerText.includes('No connection')"
        " && document.title.startsWith('(no data)')"
    )
    await stage.watching.wait()
    await stage.say(said.second(t + 5))
    await desktop.until("document.querySelector('#notices').innerText === ''")
    assert any(query["step"] == "1" for query in stage.asked[asked:])


async def test_a_login_that_has_ended_leads_to_the_login_page(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    await stage.drop(Close.LOGIN)
    await desktop.until("location.pathname === '/login' && document.readyState === 'complete'")
    await desktop.go(f"{stage.url}/login?wrong=1")
    await desktop.until("document.querySelector('#wrong')?.innerText.includes('not the password')")
    await desktop.go(f"{stage.url}/login?wait=42")
    await desktop.until("document.querySelector('#wrong')?.innerText.includes('42 s')")


async def test_the_kill_switch_real_money_and_trouble_stand_out(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    problem = "freqtrade does not answer"
    await stage.say(
        trades(halted=True, halted_reason="told by the operator", problem=problem, real_money=True),
        Trouble(ts_ms=now_ms(), problems={"InfluxDB": "connection refused"}),
    )
    await desktop.until("document.querySelector('#notices').innerText.includes('InfluxDB')")
    notices = await desktop.text("#notices")
    assert "Kill switch on" in notices
    assert "told by the operator" in notices
    assert problem in notices
    assert await desktop.text("#mode") == "real money"
    assert await desktop.text("#halt") == "kill switch on"


async def test_keys_switch_symbols_bars_and_views(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    for key, symbol in (("2", SYMBOLS[1]), ("]", SYMBOLS[2]), ("]", SYMBOLS[0]), ("[", SYMBOLS[2])):
        await desktop.key(key)
        await desktop.until(f"document.querySelector('#symbol').innerText === '{symbol}'")
    assert stage.watched == [*SYMBOLS, SYMBOLS[0], SYMBOLS[2]]
    await desktop.key("/")
    await desktop.key("E")
    await desktop.key("Enter")
    await desktop.until("document.querySelector('#symbol').innerText === 'ETHUSDT'")
    await desktop.key(".")
    await desktop.until("document.querySelector('#steps [aria-pressed=true]').innerText === '5m'")
    await desktop.key("s")
    assert await desktop.text("#trades-tabs [aria-pressed=true]") == "Signals"
    await desktop.key("?")
    assert await desktop.evaluate("document.querySelector('#help').open")
    await desktop.key("Escape")
    await desktop.until("!document.querySelector('#help').open")


async def test_a_week_is_seen_by_zooming_out_and_bars_grow(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    await desktop.evaluate("document.querySelector('#chart').focus()")
    seen = "document.querySelector('#seen').innerText"
    for _ in range(40):
        await desktop.key("-")
        await desktop.until("!document.querySelector('#chart').classList.contains('loading')")
        if re.search(r"\((6|7|8) d", await desktop.evaluate(seen)):
            break
    assert max(int(query["step"]) for query in stage.asked) >= 900
    earliest = min(int(query["from"]) for query in stage.asked)
    assert earliest < time.time() - 7 * 86_400
    await desktop.key("0")
    await desktop.until("document.querySelector('#seen').innerText.includes('(4 h')")


async def test_older_bars_come_when_the_view_is_moved_left(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    first = min(int(query["from"]) for query in stage.asked)
    await desktop.evaluate("document.querySelector('#chart').focus()")
    for _ in range(60):
        await desktop.key("ArrowLeft")
        if min(int(query["from"]) for query in stage.asked) < first:
            break
    assert min(int(query["from"]) for query in stage.asked) < first
    assert await desktop.evaluate("!document.querySelector('#to-now').hidden")
    await desktop.key("End")
    await desktop.until("document.querySelector('#to-now').hidden")


async def test_a_revised_past_is_asked_for_again(desktop: Tab, stage: Stage) -> None:
    t = await opened(desktop, stage)
    asked = len(stage.asked)
    await stage.say(Revised(symbol=SYMBOLS[0], ts_ms=now_ms(), from_t=t - 900))
    await desktop.until("!document.querySelector('#chart').classList.contains('loading')")
    while len(stage.asked) == asked:
        await desktop.settled()
    assert stage.asked[-1]["symbol"] == SYMBOLS[0]


async def test_a_signal_and_its_trade_are_marked_and_listed(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    await stage.say(trades(), Signals(ts_ms=now_ms(), rows=[signal("signal-2")]))
    await desktop.until("document.querySelectorAll('#trades tbody tr').length === 2")
    found = await figures(desktop)
    assert found["trade.2.profit"] == "0.23"
    assert found["trade.1.close_rate"] == "64100"
    assert found["profit_today"] == "-3.25"
    await desktop.key("s")
    assert "gap 4.4 z" in await desktop.text("#trades")
    assert (await figures(desktop))["signal.signal-2.score"] == "6.25"


async def test_text_from_outside_is_not_run(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    evil = "<img src=x onerror=document.title='run'><script>document.title='run'</script>"
    alert = Alert(level="critical", code=evil, text=evil, ts_ms=now_ms())
    await stage.say(Alerts(ts_ms=now_ms(), open=[alert], rows=[alert]))
    await desktop.until("document.querySelector('#alerts').innerText.includes('onerror')")
    assert await desktop.evaluate("document.querySelector('#alerts img, #alerts script') === null")
    assert await desktop.evaluate("document.title") != "run"


async def serious(tab: Tab) -> list[str]:
    """What axe finds that people would stumble over."""
    await tab.evaluate(AXE.read_text(encoding="utf-8") + "; 0")
    found: list[str] = await tab.evaluate(
        "axe.run({resultTypes: ['violations']}).then((said) => said.violations"
        f".filter((found) => {SERIOUS}).map((found) => found.id + ': '"
        " + found.nodes.map((node) => node.target.join(' ') + ' '"
        " + (node.any[0]?.message ?? '')).join(', ')))"
    )
    return found


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
async def test_it_is_accessible(desktop: Tab, stage: Stage, size: tuple[int, int]) -> None:
    await desktop.size(*size, phone=size[0] == 390)
    await opened(desktop, stage)
    alert = Alert(level="warning", code="gap", text="BYBIT is silent", ts_ms=now_ms())
    await stage.say(
        said.board("RESET", 2.5, 1), said.strategy(said.reset(2.5)), trades(halted=True),
        Signals(ts_ms=now_ms(), rows=[signal("signal-2"), signal("signal-1", "expired")]),
        Alerts(ts_ms=now_ms(), open=[alert], rows=[alert]),
    )  # fmt: skip
    await desktop.until("document.querySelector('.total')?.dataset.value === '2.5'")
    tabs = json.loads(await desktop.evaluate(
        "JSON.stringify([...document.querySelectorAll('#tabs button')].map(b => b.dataset.tab))"
    ))  # fmt: skip
    for each in tabs if size[0] == 390 else tabs[:1]:
        await desktop.evaluate(f"document.querySelector('#tabs [data-tab={each}]').click()")
        assert await serious(desktop) == [], each
        assert await desktop.evaluate("document.documentElement.scrollWidth") <= size[0]
    await desktop.evaluate("document.querySelector('#help-open').click()")
    assert await serious(desktop) == []


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
async def test_the_login_is_accessible(desktop: Tab, stage: Stage, size: tuple[int, int]) -> None:
    await desktop.size(*size, phone=size[0] == 390)
    await desktop.go(f"{stage.url}/login?wrong=1")
    await desktop.until("document.querySelector('#wrong')?.innerText !== ''")
    assert await serious(desktop) == []
    assert await desktop.evaluate("document.documentElement.scrollWidth") <= size[0]


async def test_a_phone_can_be_touched(desktop: Tab, stage: Stage) -> None:
    await desktop.size(390, 844, phone=True)
    await opened(desktop, stage)
    await stage.say(trades())
    await desktop.until("document.querySelectorAll('#trades tbody tr').length === 2")
    small: list[str] = await desktop.evaluate(
        "[...document.querySelectorAll('#tabs button')].flatMap((tab) => { tab.click();"
        " return [...document.querySelectorAll('button, summary')].filter((e) => {"
        " const { width, height } = e.getBoundingClientRect();"
        " return width && (height < 44 || width < 44); }).map((e) => e.outerHTML); })"
    )
    assert small == []


async def test_the_desktop_does_not_scroll(desktop: Tab, stage: Stage) -> None:
    await opened(desktop, stage)
    await stage.say(said.board("RESET", 2.5, 1), said.strategy(said.reset(2.5)), trades())
    await desktop.settled()
    assert await desktop.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    ) == [1440, 900]
