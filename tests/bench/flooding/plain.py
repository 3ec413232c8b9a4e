"""The plainest correct collector: `websockets`, `json`, a dictionary of bars, no storage.

`python -m tests.bench.flooding.plain SHAPE MARKETS GATEWAY` prints `ready`; then, for each line on
standard input, how many trades its bars hold.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from websockets.asyncio.client import connect

from tests.bench.flooding.shapes import SHAPES, Shape

Bars = dict[tuple[str, int], list[float]]
Trade = tuple[str, int, float, float, bool]


def _binance(message: Any) -> list[Trade]:
    if message.get("e") != "aggTrade":
        return []
    price, size = float(message["p"]), float(message["q"])
    return [(message["s"], message["T"], price, size * price, not message["m"])]


def _okex(message: Any) -> list[Trade]:
    return [
        (t["instId"], int(t["ts"]), float(t["px"]), float(t["sz"]) * 0.01 * float(t["px"]),
         t["side"] == "buy")
        for t in message.get("data", [])
    ]  # fmt: skip


_PARSE = {"BINANCE_FUTURES": _binance, "OKEX": _okex}


async def _collect(shape: Shape, url: str, bars: Bars) -> None:
    parse = _PARSE[shape.exchange]
    async with connect(url, compression=None, max_size=None, proxy=None) as websocket:
        for text in shape.subscribe():
            await websocket.send(text)
        print("ready", flush=True)
        async for frame in websocket:
            for market, ts_ms, price, notional, is_buy in parse(json.loads(frame)):
                key = (market, ts_ms // 1000)
                bar = bars.get(key)
                if bar is None:
                    bar = bars[key] = [price, price, price, price, 0.0, 0.0, 0, 0]
                bar[1] = max(bar[1], price)
                bar[2] = min(bar[2], price)
                bar[3] = price
                bar[4 if is_buy else 5] += notional
                bar[6 if is_buy else 7] += 1


async def _main(name: str, markets: int, gateway: str) -> None:
    shape, bars = SHAPES[name](markets), Bars()
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(_collect(shape, f"{gateway}/{shape.websocket_host}", bars))
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(sum(int(bar[6] + bar[7]) for bar in bars.values()), flush=True)
    task.cancel()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
