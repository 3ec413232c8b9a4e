"""What system-monitor measures of a running freqtrade."""

from __future__ import annotations

import asyncio

from services.core.settings import FreqtradeSettings
from services.freqtrade_client import FreqtradeClient
from services.monitor.measure.trading import Freqtrade
from tests.integration.freqtrade.bot import PASSWORD, Bot


def monitored(bot: Bot) -> dict[str, str]:
    """`name:subject` of each reading that something is wrong -> its detail."""
    settings = FreqtradeSettings(
        freqtrade_api_url=f"http://127.0.0.1:{bot.port}", freqtrade_api_password=PASSWORD
    )

    async def ask() -> dict[str, str]:
        async with FreqtradeClient(settings) as client:
            return {r.key: r.detail for r in await Freqtrade(client).readings() if r.value}

    return asyncio.run(ask())
