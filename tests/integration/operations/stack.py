"""A stack of real servers with data in it, for the tests of backups."""

from __future__ import annotations

import sqlite3
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from scripts.backup.native import NativeSource
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.integration.servers import InfluxServer, RedisServer, programs

PASSWORD = "a long enough password"
DATABASE = "significant_trades"
KEY = "0123456789abcdef" * 4
SECONDS = 600
TRADES = 25


@dataclass(slots=True)
class Stack:
    """InfluxDB that asks for a login, Redis with a password, a database in use, and the settings
    that lead there."""

    root: Path
    redis: RedisServer
    influx: InfluxServer
    database: sqlite3.Connection

    @property
    def environ(self) -> dict[str, str]:
        """As the stack's services have it."""
        return {
            "REDIS_PORT": str(self.redis.port),
            "REDIS_PASSWORD": PASSWORD,
            "INFLUX_PORT": str(self.influx.port),
            "INFLUX_RPC_PORT": str(self.influx.rpc_port),
            "INFLUX_PASSWORD": PASSWORD,
            "FREQTRADE_DATA_DIR": str(self.root / "freqtrade"),
            "FREQTRADE_CONFIG": str(self.root / "config.json"),
            "AGGR_DATA_DIR": str(self.root / "aggr-server"),
        }

    @property
    def source(self) -> NativeSource:
        """What a backup is made of."""
        return NativeSource(self.root, self.environ, programs().influxd)

    def stop(self) -> None:
        """End the servers."""
        self.database.close()
        self.influx.stop()
        self.redis.stop()


def start(root: Path) -> Stack:
    """A filled stack."""
    redis = RedisServer(root / "redis", PASSWORD)
    influx = InfluxServer(root / "influx", auth=True)
    redis.start()
    influx.start()
    (root / "config.json").write_text('{"dry_run": true}\n')
    (root / "aggr-server" / "spool").mkdir(parents=True)
    (root / "aggr-server" / "spool" / "000001.log").write_bytes(b"a bar")
    _fill_influx(influx.port)
    stack = Stack(root, redis, influx, _fill_freqtrade(root / "freqtrade"))
    source = stack.source
    for number in range(500):
        source.redis("SET", f"squeezeflow:executed:{number}", str(number))
    source.redis("SET", "squeezeflow:heartbeat:x", "1", "PX", "600000")
    return stack


def silent(_: str) -> None:
    """For progress that nobody looks at."""


def write(port: int, policy: str, lines: str) -> None:
    """Points with times in seconds."""
    query = urllib.parse.urlencode(
        {"db": DATABASE, "rp": policy, "precision": "s", "u": "squeezeflow", "p": PASSWORD}
    )
    url = f"http://127.0.0.1:{port}/write?{query}"
    with urllib.request.urlopen(urllib.request.Request(url, lines.encode())) as answer:
        assert answer.status == 204


def _fill_influx(port: int) -> None:
    settings = InfluxSchemaSettings(influx_port=port, influx_password=PASSWORD)
    influx_init.ensure_user(settings, report=lambda _: None)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=lambda _: None)
    # Further back than any continuous query looks, so that nothing is added while tests count.
    start = int(time.time()) - 20 * 3600
    bars = "\n".join(
        f"trades_1s,market={market} open=1,high=2,low=1,close=2,vbuy={second}.25,cbuy=1i "
        f"{start + second}"
        for market in ("BINANCE:btcusdt", "BYBIT:BTC USDT,x=1")
        for second in range(SECONDS)
    ).replace("BTC USDT,x=1", r"BTC\ USDT\,x\=1")
    write(port, "aggr_1s", bars)
    text = r"a \"quoted\" text, with = and \\"
    write(port, "30_days", f'strategy_signals,symbol=BTCUSDT signal_id="{text}",score=7.5 {start}')
    days = "\n".join(
        f"open_interest,symbol=BTCUSDT open_interest={5 + day},whole=true {start - day * 86400}"
        for day in range(4)
    )
    write(port, "30_days", days)


def _fill_freqtrade(folder: Path) -> sqlite3.Connection:
    """A database whose rows are in the write-ahead log only, since it stays open."""
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "freqtrade.log").write_text("not worth keeping")
    (folder / "notes.json").write_text("{}")
    database = sqlite3.connect(folder / "tradesv3.sqlite")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE trades (id INTEGER PRIMARY KEY, enter_tag TEXT)")
    database.executemany(
        "INSERT INTO trades (enter_tag) VALUES (?)", [(f"signal-{n}",) for n in range(TRADES)]
    )
    database.commit()
    return database
