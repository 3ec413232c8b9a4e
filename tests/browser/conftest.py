from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripts.stack import browser
from tests.browser.browser import Tab, browsing

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
