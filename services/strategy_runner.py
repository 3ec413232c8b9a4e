"""strategy-runner: follows the bars and decides, `python -m services.strategy_runner`."""

from __future__ import annotations

import asyncio

from services.core.service import run
from services.core.settings import StrategySettings
from services.trading.app import SERVICE, App


async def main(settings: StrategySettings, stop: asyncio.Event) -> None:
    """Run until `stop` is set."""
    await App(settings).run(stop)


if __name__ == "__main__":
    run(SERVICE, StrategySettings, main)
