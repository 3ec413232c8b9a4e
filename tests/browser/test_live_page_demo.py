"""The live page in a real browser, on the whole stack with the simulated market."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.wire import TIMEFRAMES
from services.core import names
from services.core.records import OpenInterestTotal, Signal
from services.core.settings import FreqtradeSettings
from services.freqtrade_client import FreqtradeClient, Trade
from tests.browser.browser import Tab
from tests.browser.test_live_page_states import figures
from tests.integration.clones import clone_into
from tests.integration.servers import free_port
from tests.operator.place import PORTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LIVE_MS = 2_000.0
SQUEEZE_S = 600.0
"""The first squeeze of the simulated market opens and closes its trade well before."""

PHASES = ("Reset", "Entry ready", "In position", "Closing", "Cooldown")
"""What the first squeeze goes through; its divergence is in the hours before the start."""

SHOWN = "document.querySelector('[data-figure=\"{}\"]') !== null"
SEEN = """(() => {
  const value = (name) => document.querySelector(`[data-figure="${name}"]`)?.dataset.value ?? "";
  return [document.querySelector(".phase .line")?.innerText ?? "", value("view.score")];
})()"""


class Demo:
    """A clone of the project with the demo running in it, on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = clone_into(folder)
        self.ports = {name: free_port() for name in PORTS}
        lines = [f"{name}={port}\n" for name, port in self.ports.items()]
        (self.folder / ".env").write_text("".join(lines))

    def run(self, script: str, *arguments: str) -> None:
        """Run one of the project's commands. Raises `AssertionError` with what it said."""
        env = {k: v for k, v in os.environ.items() if k not in PORTS}
        done = subprocess.run(
            [str(self.folder / "scripts" / script), *arguments],
            env=env, capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def url(self) -> str:
        """The live page."""
        return f"http://127.0.0.1:{self.ports['HEALTH_PORT']}/"

    def secret(self, name: str) -> str:
        """A password that the first start has made."""
        return (self.folder / "secrets" / name).read_text().strip()

    @property
    def connections(self) -> Connections:
        """How Redis and InfluxDB are reached."""
        return Connections(
            redis_port=self.ports["REDIS_PORT"],
            redis_password=self.secret("redis_password"),
            influx_port=self.ports["INFLUX_PORT"],
            influx_password=self.secret("influx_password"),
        )

    async def trades(self) -> list[Trade]:
        """Closed trades, as freqtrade has them."""
        settings = FreqtradeSettings(
            freqtrade_api_url=f"http://127.0.0.1:{self.ports['FREQTRADE_PORT']}",
            freqtrade_api_password=self.secret("freqtrade_api_password"),
        )
        async with FreqtradeClient(settings) as client:
            return await client.trades()


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """Started as the README says; in a short path, as the supervisor's socket must fit it."""
    folder = Path(tempfile.mkdtemp(prefix="sf-"))
    demo = Demo(folder)
    try:
        demo.run("up.sh", "--demo", "--native")
        yield demo
    finally:
        demo.run("down.sh")
        shutil.rmtree(folder)


async def followed(tab: Tab) -> list[tuple[str, str]]:
    """Phases and scores, each once in the order shown, until the first trade has closed."""
    seen: list[tuple[str, str]] = []
    deadline = time.monotonic() + SQUEEZE_S
    while not any(phase == "Cooldown" for phase, _ in seen):
        assert time.monotonic() < deadline, seen
        line, score = await tab.evaluate(SEEN)
        phase = next((name for name in PHASES if name in line), line)
        now = (phase, score)
        if not seen or seen[-1] != now:
            seen.append(now)
        await asyncio.sleep(0.2)
    return seen


async def test_a_squeeze_is_seen_to_build_up_and_to_be_traded(desktop: Tab, demo: Demo) -> None:
    await desktop.go(demo.url)
    assert await desktop.marked("chart") < LIVE_MS
    assert await desktop.marked("live") < LIVE_MS

    seen = await followed(desktop)

    phases = [phase for phase in dict.fromkeys(phase for phase, _ in seen) if phase]
    assert phases == [phase for phase in PHASES if phase in phases]
    assert {"Reset", "In position", "Cooldown"} <= set(phases)
    scores = [float(score) for phase, score in seen if phase == "Reset" and score]
    assert len(set(scores)) > 3
    assert max(scores) >= 4.0
    await desktop.key("p")
    await desktop.until("document.querySelectorAll('#trades tbody tr').length > 0")
    await compare_trades(desktop, demo)
    await desktop.key("s")
    await compare_signals(desktop, demo)
    await compare_market(desktop, demo)


async def compare_trades(tab: Tab, demo: Demo) -> None:
    """Figures of closed trades are freqtrade's own."""
    (trade, *_) = await demo.trades()
    await tab.until(SHOWN.format(f"trade.{trade.trade_id}.close_rate"))
    shown = await figures(tab)
    wanted: dict[str, Any] = {
        "open_rate": trade.open_rate,
        "close_rate": trade.close_rate,
        "stake": trade.stake_amount,
        "leverage": trade.leverage,
        "profit": trade.close_profit_abs,
        "profit_ratio": trade.close_profit,
    }
    found = {name: float(shown[f"trade.{trade.trade_id}.{name}"]) for name in wanted}
    assert found == pytest.approx(wanted)


async def compare_signals(tab: Tab, demo: Demo) -> None:
    """Figures of the entry are those of the signal in Redis."""
    connections = demo.connections
    async with Redis(port=connections.redis_port, password=connections.redis_password) as redis:
        told = [
            msgspec.json.decode(raw, type=Signal)
            for raw in await redis.lrange(names.history("BTCUSDT"), 0, -1)
        ]
    entry = next(signal for signal in told if signal.event == "ENTRY")
    await tab.until(SHOWN.format(f"signal.{entry.signal_id}.score"))
    shown = await figures(tab)
    for name in ("score", "entry_price", "invalidation_price"):
        value = getattr(entry, name)
        assert float(shown[f"signal.{entry.signal_id}.{name}"]) == pytest.approx(value)


async def compare_market(tab: Tab, demo: Demo) -> None:
    """The price is one that was stored in these seconds; open interest is Redis's."""
    connections = demo.connections
    first_s = int(time.time()) - 3
    price = float((await figures(tab))["board.BTCUSDT.price"])
    await asyncio.sleep(4)  # until what was shown then is stored
    where = f'"{TIMEFRAMES[0].retention_policy}"."{TIMEFRAMES[0].measurement}"'
    async with InfluxClient(connections) as influx:
        rows = await influx.query(
            f"SELECT close FROM {where} WHERE market = 'BINANCE_FUTURES:btcusdt' "
            f"AND time >= {first_s - 60}s AND time <= {first_s + 4}s"
        )
    assert price in [row["close"] for row in rows[-30:]]
    await tab.evaluate("document.querySelector('#venues-tabs [data-choice=oi]').click()")
    await tab.until(SHOWN.format("oi.coins"))
    async with Redis(port=connections.redis_port, password=connections.redis_password) as redis:
        for _ in range(20):
            raw: Any = await redis.get(names.open_interest_total("BTC"))
            coins = (await figures(tab))["oi.coins"]
            total = msgspec.json.decode(raw, type=OpenInterestTotal)
            if float(coins) == total.coins:
                return
            await asyncio.sleep(0.5)  # it was measured anew between the two looks
    raise AssertionError((coins, total))
