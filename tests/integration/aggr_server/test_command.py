"""The command line, as a user types it."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aggr_server import wire
from aggr_server.influx import InfluxClient
from tests.integration.children import bare
from tests.integration.servers import free_port

ROOT = Path(__file__).resolve().parents[3]
TRADE = (
    b'{"e":"aggTrade","E":2,"s":"BTCUSDT","a":7,"p":"50000","q":"3","f":1,"l":1,"T":6,"m":true}\n'
)


def run(
    *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "aggr-server")])
    return subprocess.run(
        [sys.executable, "-m", "aggr_server", *arguments],
        input=stdin,
        capture_output=True,
        env={**bare(), "PYTHONPATH": paths, **(env or {})},
        timeout=50,
        check=False,
    )


def test_decode_prints_one_json_line_for_each_trade() -> None:
    done = run("decode", "BINANCE", stdin=b'1.5: {"e":"kline"}\n' + TRADE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {
        "market": "BINANCE:btcusdt",
        "ts_ms": 6,
        "side": "sell",
        "price": 50000.0,
        "size_base": 3.0,
        "notional": 150000.0,
        "liquidation": False,
        "id": "7",
    }


def test_decode_ends_quietly_when_nobody_reads_on() -> None:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "aggr-server")])
    process = subprocess.Popen(
        [sys.executable, "-m", "aggr_server", "decode", "BINANCE"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**bare(), "PYTHONPATH": paths},
    )
    assert process.stdout
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(TRADE * 2000, timeout=50)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "env", "status", "text"),
    [
        (("decode", "NOPE"), {}, 2, "exchange 'NOPE' is not known; known: "),
        (("decode", "FTX"), {}, 2, "FTX closed on 2022-11-11"),
        (("decode", "OKX", "--instruments", "/nothing"), {}, 2, "/nothing"),
        (("replay", "/nothing/trades.csv.gz"), {}, 2, "give --market EXCHANGE:symbol"),
        (("replay", "/nothing/OKX_BTC-USDT.csv"), {}, 2, "/nothing/OKX_BTC-USDT.csv"),
        ((), {"AGGR_EXCHANGES": "NOPE"}, 78, "AGGR_EXCHANGES: exchange 'NOPE' is not known"),
        ((), {"AGGR_INTERVAL": "0"}, 78, "AGGR_INTERVAL='0'"),
        ((), {"AGGR_SHARD": "2"}, 78, "AGGR_SHARD='2'"),
        ((), {"AGGR_SHARD": "3/2"}, 78, "AGGR_SHARD: '3/2' is no shard: write I/N"),
        ((), {"SIMULATED_CLOCK": "now"}, 78, "SIMULATED_CLOCK='now'"),
    ],
)
def test_a_wrong_word_gets_one_clear_line(
    arguments: tuple[str, ...], env: dict[str, str], status: int, text: str
) -> None:
    done = run(*arguments, env=env)
    assert done.returncode == status
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert text in lines[0]


@pytest.mark.parametrize("speed", ["0", "20"])
async def test_replayed_trades_end_as_bars_just_before_now(
    tmp_path: Path, connection_env: dict[str, str], influx: InfluxClient, speed: str
) -> None:
    rows = ["ts_ms,price,size_base,side,trade_id"]
    rows += [f"{1_723_161_257_100 + n * 500},{100 + n},2,buy,{n}" for n in range(21)]
    path = tmp_path / "BINANCE-USDM_BTCUSDT_20240808.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    done = run("replay", str(path), "--speed", speed, env=connection_env)
    assert done.returncode == 0, done.stderr
    assert b"replayed 21 trades of BINANCE_FUTURES:btcusdt: 11 bars" in done.stdout
    found = await influx.query("SELECT * FROM aggr_1s.trades_1s")
    assert [r["market"] for r in found] == ["BINANCE_FUTURES:btcusdt"] * 11
    assert [r["cbuy"] for r in found] == [2] * 10 + [1]
    assert [r["close"] for r in found] == [101.0 + 2 * n for n in range(10)] + [120.0]
    assert found[0]["vbuy"] == (100 + 101) * 2
    assert time.time() - 20 < found[-1]["time"] <= time.time()


async def test_replay_at_its_own_time_publishes_that_time(
    tmp_path: Path, connection_env: dict[str, str], redis_url: str
) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("ts_ms,price,size_base,side,trade_id\n1723161257100,100,2,sell,1\n")
    async with Redis.from_url(redis_url) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(wire.CHANNEL)
        await pubsub.get_message(timeout=5)
        arguments = ("--own-time", "--speed", "0", "--market", "OKX:BTC-USD-SWAP")
        done = run("replay", str(path), *arguments, env=connection_env)
        assert done.returncode == 0, done.stderr
        message = await pubsub.get_message(timeout=5)
    assert message
    (bar,) = wire.decode(message["data"]).bars
    assert (bar.market, bar.time, bar.vsell) == ("OKEX:BTC-USD-SWAP", 1723161257, 200.0)


def test_a_port_in_use_ends_the_service(connection_env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        done = run(env={**connection_env, "PORT": str(port)})
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert f"port {port} on 127.0.0.1 is in use" in line
    assert "PORT" in line
