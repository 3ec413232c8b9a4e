"""strategy-runner: follows the bars and decides, `python -m services.strategy_runner`."""

from __future__ import annotations

import asyncio

from aggr_server import clock
from services.core.service import run
from services.core.settings import StrategySettings
from services.trading.app import SERVICE, App


async def main(settings: StrategySettings, stop: asyncio.Event) -> None:
    """Run until `stop` is set."""
    clock.adjust(settings.simulated_clock)
    await App(settings).run(stop)


if __name__ == "__main__":
    run(SERVICE, StrategySettings, main)
