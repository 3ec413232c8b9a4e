"""The whole process: started, watched, killed, started again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from aggr_server.influx import InfluxClient
from services.simulator.venues import INSTRUMENTS
from tests.integration.servers import free_port

ROOT = Path(__file__).parents[3]

SOCKETS: dict[str, list[Any]] = {
    "stream.binance.com/ws": [
        {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "ethusdt@aggTrade"], "id": 1},
        {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 2},
    ],
    "fstream.binance.com/market/ws": [
        {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade", "ethusdt@aggTrade"], "id": 1}
    ],
    "stream.bybit.com/v5/public/spot": [
        {"op": "subscribe", "args": ["publicTrade.BTCUSDT", "publicTrade.ETHUSDT"]}
    ],
    "stream.bybit.com/v5/public/linear": [
        {"op": "subscribe", "args": ["publicTrade.BTCUSDT", "publicTrade.ETHUSDT"]}
    ],
    "ws.okx.com/ws/v5/public": [
        {
            "op": "subscribe",
            "args": [
                {"channel": "trades", "instId": f"{base}-USDT{end}"}
                for base in ("BTC", "ETH")
                for end in ("", "-SWAP")
            ],
        }
    ],
    "ws-feed.exchange.coinbase.com": [
        {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channels": ["matches"]}
    ],
}

Received = dict[str, dict[Any, tuple[int, str, str]]]
"""Market -> id -> (ts_ms, price, native size)."""


class Collector:
    """Subscribes to everything and keeps what it hears."""

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        self.heard: Received = defaultdict(dict)

    async def listen(self) -> None:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            for path, messages in SOCKETS.items():
                tasks.create_task(self._listen(session, path, messages))

    async def _listen(self, session: aiohttp.ClientSession, path: str, messages: list[Any]) -> None:
        async with session.ws_connect(f"{self.gateway}/{path}") as socket:
            for message in messages:
                await socket.send_str(msgspec.json.encode(message).decode())
            async for frame in socket:
                self._take(path, frame.json())

    def _take(self, path: str, frame: dict[str, Any]) -> None:
        if frame.get("e") in ("aggTrade", "trade"):
            exchange = "BINANCE" if path.startswith("stream.") else "BINANCE_FUTURES"
            number = frame["t"] if frame["e"] == "trade" else frame["a"]
            market = f"{exchange}:{frame['s'].lower()}"
            self.heard[market][number] = (frame["T"], frame["p"], frame["q"])
        elif str(frame.get("topic")).startswith("publicTrade"):
            suffix = "-SPOT" if path.endswith("spot") else ""
            for row in frame["data"]:
                market = f"BYBIT:{row['s']}{suffix}"
                self.heard[market][row["seq"]] = (row["T"], row["p"], row["v"])
        elif frame.get("arg", {}).get("channel") == "trades" and "data" in frame:
            for row in frame["data"]:
                found = (int(row["ts"]), row["px"], row["sz"])
                self.heard[f"OKEX:{row['instId']}"][int(row["tradeId"])] = found
        elif frame.get("type") == "match":
            ms = int(frame["time"][20:23])
            market = f"COINBASE:{frame['product_id']}"
            self.heard[market][frame["trade_id"]] = (ms, frame["price"], frame["size"])


class Process:
    """`python -m services.simulator`, and its control interface."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.port = free_port()
        self.gateway = f"http://127.0.0.1:{self.port}"
        self._log = folder / "simulator.log"
        self._environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'aggr-server'}",
            "SIMULATOR_PORT": str(self.port),
            "SIMULATOR_DIR": str(folder / "simulator"),
            "HEARTBEAT_DIR": str(folder / "alive"),
        }
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "services.simulator"],
                cwd=ROOT,
                env=self._environment,
                stderr=log,
            )

    def end(self, number: signal.Signals) -> int:
        assert self._child is not None
        self._child.send_signal(number)
        return self._child.wait(10)

    def log(self) -> str:
        return self._log.read_text()

    async def ask(self, path: str) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.gateway}/{path}") as response,
        ):
            return response.status, await response.json()

    async def until(self, path: str, met: Any) -> Any:
        """Ask again and again until the answer meets a condition."""
        async with asyncio.timeout(40):
            while True:
                try:
                    status, body = await self.ask(path)
                except aiohttp.ClientConnectionError:
                    pass
                else:
                    if met(status, body):
                        return body
                await asyncio.sleep(0.1)


@pytest.fixture
def process(connection_env: dict[str, str], tmp_path: Path) -> Any:
    process = Process(connection_env, tmp_path)
    process.start()
    yield process
    process.end(signal.SIGKILL)


async def listening(process: Process) -> tuple[Collector, asyncio.Task[None]]:
    await process.until("control/status", lambda status, _: status == 200)
    collector = Collector(process.gateway)
    return collector, asyncio.create_task(collector.listen())


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_trading_begins_with_history_and_survives_being_killed(
    process: Process, influx: InfluxClient
) -> None:
    collector, task = await listening(process)
    await process.until("health", lambda status, _: status == 200)
    before = await process.until("control/status", lambda _, body: body["trades_sent"] > 700)
    live_from = before["live_from"]
    assert sorted(before["subscribed"]) == sorted(i.market for i in INSTRUMENTS)
    await assert_equal_to_ledger(process, collector, live_from, before["second"] + 1)
    await assert_history(influx, live_from)

    process.end(signal.SIGKILL)
    await ended(task)
    process.start()
    collector, task = await listening(process)
    after = await process.until("control/status", lambda _, body: body["trades_sent"] > 700)
    assert after["live_from"] == live_from
    assert "history written" not in process.log().split("trading resumed")[1]
    _, ledger = await process.ask(f"control/ledger?from={live_from}&to={after['second'] + 1}")
    uncertain = ledger["uncertain"]
    assert uncertain == list(range(uncertain[0], uncertain[-1] + 1))
    for rows in ledger["markets"].values():
        ids = [row["id"] for row in rows if not row["liquidation"]]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    # Sockets opened somewhere in the first certain seconds; they are whole afterwards.
    await assert_equal_to_ledger(process, collector, uncertain[-1] + 3, after["second"] + 1)
    await ended(task)
    assert process.end(signal.SIGTERM) == 0
    process.start()


async def assert_equal_to_ledger(
    process: Process, collector: Collector, start: int, end: int
) -> None:
    assert end > start
    _, ledger = await process.ask(f"control/ledger?from={start}&to={end}")
    for instrument in INSTRUMENTS:
        rows = [r for r in ledger["markets"][instrument.market] if not r["liquidation"]]
        heard = collector.heard[instrument.market]
        first, last = rows[0]["id"], rows[-1]["id"]
        assert sorted(n for n in heard if first <= n <= last) == [r["id"] for r in rows]
        for row in rows:
            ts_ms, price, size = heard[row["id"]]
            assert ts_ms % 1000 == row["ts_ms"] % 1000
            assert price == row["price"]
            coins = float(size) * 10.0**-instrument.contract_decimals
            assert coins == pytest.approx(float(row["size_base"]), rel=1e-12)


async def assert_history(influx: InfluxClient, live_from: int) -> None:
    for policy, seconds in (("1s", 4.5 * 3600), ("1m", 24 * 60)):
        rows = await influx.query(
            f"SELECT count(close), last(close) FROM aggr_{policy}.trades_{policy} "
            f"WHERE time < {live_from}s GROUP BY market"
        )
        assert {row["market"] for row in rows} == {i.market for i in INSTRUMENTS}
        assert all(row["count"] > 0.85 * seconds for row in rows)
    kinds = await influx.query("SELECT last(kind) AS kind FROM markets GROUP BY market")
    assert {row["market"]: row["kind"] for row in kinds} == {i.market: i.kind for i in INSTRUMENTS}
    interest = await influx.query(
        "SELECT count(coins) FROM open_interest GROUP BY exchange, symbol"
    )
    assert len(interest) == 6


async def test_another_seed_is_refused_in_one_line(
    connection_env: dict[str, str], tmp_path: Path
) -> None:
    process = Process(connection_env, tmp_path)
    process.start()
    await process.until("control/status", lambda status, _: status == 200)
    process.end(signal.SIGTERM)
    other = Process({**connection_env, "SIMULATOR_SEED": "2"}, tmp_path)
    other.start()
    assert other._child is not None
    assert other._child.wait(20) == 78
    last = other.log().strip().splitlines()[-1]
    assert last.startswith("simulator: SIMULATOR_SEED=2, but the ledger")
