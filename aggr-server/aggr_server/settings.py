"""Every setting of the collector, and the connection settings all services share."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from aggr_server.env import Secret

SimulatedClock = Annotated[
    str,
    Meta(
        pattern=r"^(\d+\*\d+(\.\d+)?)?$",
        description="for tests only: ANCHOR_MS*SPEED lets time pass SPEED times faster from "
        "that UTC millisecond on; empty: the real time",
    ),
]
Port = Annotated[int, Meta(ge=1, le=65535, description="a TCP port, 1 to 65535")]


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """Where Redis, InfluxDB and the exchanges are."""

    redis_host: str = "127.0.0.1"
    redis_port: Port = 6379
    redis_db: Annotated[int, Meta(ge=0, le=15, description="Redis database number, 0 to 15")] = 0
    redis_password: Secret = ""
    influx_host: str = "127.0.0.1"
    influx_port: Port = 8086
    influx_database: str = "significant_trades"
    influx_username: str = "squeezeflow"
    influx_password: Secret = ""
    exchange_gateway: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s]+)?$",
            description="base URL in front of every exchange, the exchange's host becoming the "
            "first part of the path; empty: exchanges are reached directly",
        ),
    ] = ""


class CollectorSettings(Connections, frozen=True, kw_only=True):
    """Settings of aggr-server."""

    port: Port = 3000
    bind_address: str = "127.0.0.1"
    aggr_log_level: Annotated[
        str,
        Meta(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR"),
    ] = "INFO"
    aggr_collector: Annotated[
        str,
        Meta(pattern="^[a-z0-9-]{1,32}$", description="name of this collector, unique per host"),
    ] = "aggr-1"
    aggr_symbols: Annotated[
        tuple[str, ...], Meta(description="base symbols to collect, comma-separated")
    ] = ("BTC", "ETH")
    aggr_exchanges: Annotated[
        tuple[str, ...], Meta(description="exchanges to collect; empty: every one that is known")
    ] = ()
    aggr_markets: Annotated[
        tuple[str, ...],
        Meta(description="exact markets, EXCHANGE:symbol, instead of the discovery by symbol"),
    ] = ()
    aggr_interval: Annotated[
        int, Meta(ge=1, le=60, description="length of the collected bars in seconds")
    ] = 1
    aggr_grace_ms: Annotated[
        int,
        Meta(ge=0, le=5000, description="milliseconds to wait for trades after a second has ended"),
    ] = 200
    aggr_batch_size: Annotated[
        int, Meta(ge=1, description="trades handled in one go before others get a turn")
    ] = 100
    aggr_buffer_size: Annotated[
        int,
        Meta(ge=60, description="seconds of bars kept in memory for late trades"),
    ] = 300
    aggr_recover_s: Annotated[
        int,
        Meta(
            ge=0,
            le=86400,
            description="how many seconds back missed trades are fetched from the exchanges; "
            "0: never",
        ),
    ] = 14400
    aggr_shard: Annotated[
        str,
        Meta(
            pattern=r"^[1-9]\d*/[1-9]\d*$",
            description="I/N: this collector takes the I-th of N parts of the markets; 1/1: all",
        ),
    ] = "1/1"
    aggr_data_dir: Annotated[
        str,
        Meta(description="folder for what must survive a restart: spool, gaps, contract sizes"),
    ] = ".local/data/aggr-server"
    aggr_spool_max_bytes: Annotated[
        int,
        Meta(
            ge=1 << 20,
            description="bytes the spool may take on disk, at least 1048576; when it is full, the "
            "oldest bars that InfluxDB has not taken are given up and recorded as gaps",
        ),
    ] = 2 << 30
    simulated_clock: SimulatedClock = ""
    influx_batch_size: Annotated[
        int, Meta(ge=1, le=10000, description="points in one write to InfluxDB")
    ] = 100
    influx_flush_interval: Annotated[
        int, Meta(ge=1, le=60, description="seconds between two writes to InfluxDB")
    ] = 1
