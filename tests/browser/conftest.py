from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripts.stack import browser
from tests.browser.browser import Tab, browsing
from tests.browser.stage import Stage, staged

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; one that is missing fails the tests that need it."""
    found = browser.find(ROOT / ".local")
    if found is None:
        raise RuntimeError(
            "Chromium is neither on PATH nor in .local: run ./scripts/test.sh, which installs it"
        )
    return found


@pytest.fixture
async def tab(chromium: str) -> AsyncIterator[Tab]:
    """A page as wide as a desktop; the test fails if it complained or asked for anything."""
    async with browsing(chromium) as page:
        await page.size(1600, 1000)
        yield page
        assert page.complaints == []
        assert all(address.startswith(("file:", "data:")) for address in page.asked), page.asked


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A server behind the live page that says what the test wants."""
    async with staged() as listening:
        yield listening


@pytest.fixture
async def desktop(chromium: str) -> AsyncIterator[Tab]:
    """A browser for the live page, 1440 by 900; the test fails if it complained."""
    async with browsing(chromium) as page:
        await page.size(1440, 900)
        yield page
        assert page.complaints == []
