"""What FreqUI needs: every call it makes, from its own origin and from the page of freqtrade."""

from __future__ import annotations

import asyncio

import pytest
import requests

from scripts.stack import browser
from tests.browser.browser import Tab, browsing
from tests.integration.freqtrade.bot import PASSWORD, ROOT, Bot

ORIGINS = ("http://127.0.0.1:8081", "http://localhost:8081")
STRANGER = "http://evil.test"
READS = (
    "show_config",
    "status",
    "profit",
    "profit_all",
    "count",
    "balance",
    "trades",
    "whitelist",
    "blacklist",
    "locks",
    "logs",
    "performance",
    "entries",
    "exits",
    "mix_tags",
    "daily",
    "weekly",
    "monthly",
    "sysinfo",
    "health",
    "version",
    "plot_config",
    "pair_candles?pair=BTC/USDT:USDT&timeframe=1m&limit=10",
)


def api(bot: Bot, path: str) -> str:
    return f"http://127.0.0.1:{bot.port}/api/v1/{path}"


def preflight(bot: Bot, path: str, origin: str, method: str) -> requests.Response:
    """What a browser asks before a call with a login."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return requests.options(api(bot, path), headers=asked, timeout=10)


def admits(answer: requests.Response, origin: str) -> bool:
    """Whether a browser shows the answer to a page of `origin` that sent its login along."""
    headers = answer.headers
    return (
        headers.get("Access-Control-Allow-Origin") == origin
        and headers.get("Access-Control-Allow-Credentials") == "true"
        and "Origin" in headers.get("Vary", "")
    )


def log_in(bot: Bot, origin: str) -> dict[str, str]:
    answer = requests.post(
        api(bot, "token/login"),
        auth=("squeezeflow", PASSWORD),
        json={},
        headers={"Origin": origin},
        timeout=10,
    )
    assert answer.status_code == 200
    assert admits(answer, origin)
    tokens: dict[str, str] = answer.json()
    assert {"access_token", "refresh_token"} <= tokens.keys()
    return tokens


@pytest.mark.parametrize("origin", ORIGINS)
def test_the_login_and_every_page_work_from_the_separate_ui(bot: Bot, origin: str) -> None:
    for path, method in [("token/login", "POST"), *((path, "GET") for path in READS)]:
        asked = preflight(bot, path, origin, method)
        assert asked.status_code == 200, path
        assert admits(asked, origin), path
        assert method in asked.headers["Access-Control-Allow-Methods"]
        allowed = asked.headers["Access-Control-Allow-Headers"].lower()
        assert {"authorization", "content-type"} <= set(allowed.replace(" ", "").split(","))
    ping = requests.get(api(bot, "ping"), headers={"Origin": origin}, timeout=10)
    assert (ping.json(), admits(ping, origin)) == ({"status": "pong"}, True)
    login = {
        "Origin": origin,
        "Authorization": f"Bearer {log_in(bot, origin)['access_token']}",
    }
    for path in READS:
        answer = requests.get(api(bot, path), headers=login, timeout=20)
        assert answer.status_code == 200, path
        assert admits(answer, origin), path


def test_a_login_is_renewed_from_the_separate_ui(bot: Bot) -> None:
    origin = ORIGINS[0]
    token = log_in(bot, origin)["refresh_token"]
    headers = {"Origin": origin, "Authorization": f"Bearer {token}"}
    assert admits(preflight(bot, "token/refresh", origin, "POST"), origin)
    answer = requests.post(api(bot, "token/refresh"), json={}, headers=headers, timeout=10)
    assert answer.status_code == 200
    assert admits(answer, origin)
    assert answer.json()["access_token"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_wrong_password_is_told_to_the_separate_ui(bot: Bot, origin: str) -> None:
    answer = requests.post(
        api(bot, "token/login"),
        auth=("squeezeflow", "wrong"),
        json={},
        headers={"Origin": origin},
        timeout=10,
    )
    # Without these headers FreqUI would tell of a network error instead.
    assert (answer.status_code, admits(answer, origin)) == (401, True)


def test_a_page_of_anybody_else_sees_nothing(bot: Bot) -> None:
    for path, method in [("token/login", "POST"), *((path, "GET") for path in READS)]:
        asked = preflight(bot, path, STRANGER, method)
        assert asked.status_code == 400
        assert "Access-Control-Allow-Origin" not in asked.headers
    token = log_in(bot, ORIGINS[0])["access_token"]
    headers = {"Origin": STRANGER, "Authorization": f"Bearer {token}"}
    answer = requests.get(api(bot, "status"), headers=headers, timeout=10)
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", [p for p in READS if p != "health"])
def test_nothing_is_shown_without_a_login(bot: Bot, path: str) -> None:
    assert requests.get(api(bot, path), timeout=10).status_code == 401


def test_the_login_is_all_it_takes_in_a_browser(bot: Bot) -> None:
    """In a real browser where FreqUI's build is installed; else the page must tell so."""
    base = f"http://127.0.0.1:{bot.port}"
    version = requests.get(f"{base}/ui_version", timeout=10).json()["version"]
    page = requests.get(f"{base}/", timeout=10)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    if version == "not_installed":
        # Both are pages with status 200: only the version tells them apart.
        assert "install-ui" in page.text
        return
    assert "install-ui" not in page.text
    program = browser.find(ROOT / ".local")
    assert program, "Chromium is missing: run ./scripts/test.sh, which installs it"
    asyncio.run(in_a_browser(program, base))


async def in_a_browser(program: str, base: str) -> None:
    async with browsing(program) as tab:
        await see_the_bot(tab, base)


async def see_the_bot(tab: Tab, base: str) -> None:
    """Log in at the page of FreqUI, typing user and password only, and wait for the pairs."""
    await tab.size(1600, 1000)
    await tab.send("Page.navigate", url=f"{base}/login")
    await tab.until("document.querySelector('#url-input') !== null")
    assert await tab.evaluate("document.querySelector('#url-input').value") == base
    fields = {'input[placeholder="Freqtrader"]': "squeezeflow", 'input[type="password"]': PASSWORD}
    for selector, text in fields.items():
        await tab.click(selector)
        await tab.send("Input.insertText", text=text)
    await tab.click('button[type="submit"]')
    await tab.until("!location.pathname.startsWith('/login')")
    await tab.send("Page.navigate", url=f"{base}/trade")
    await tab.until("document.body?.innerText.includes('BTC/USDT:USDT')")
    text = await tab.text("body")
    assert "ETH/USDT:USDT" in text
    assert "Login failed" not in text
