"""Every setting of the services. Those of the collector are in `aggr_server.settings`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from aggr_server.env import Secret
from aggr_server.settings import Connections, Port, SimulatedClock

LogLevel = Annotated[
    str, Meta(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR")
]
Seconds = Annotated[int, Meta(ge=1, le=3600, description="seconds, 1 to 3600")]


class ServiceSettings(Connections, frozen=True, kw_only=True):
    """What every service of this package reads."""

    log_level: LogLevel = "INFO"
    heartbeat_dir: Annotated[
        str, Meta(description="folder of the heartbeat files that health checks look at")
    ] = "/tmp/squeezeflow"


class FreqtradeSettings(ServiceSettings, frozen=True, kw_only=True):
    """How freqtrade's REST API is reached."""

    freqtrade_api_url: Annotated[
        str, Meta(pattern=r"^https?://\S+$", description="base URL of freqtrade, http://host:port")
    ] = "http://127.0.0.1:8080"
    freqtrade_api_username: str = "squeezeflow"
    freqtrade_api_password: Secret = ""


class StrategySettings(FreqtradeSettings, frozen=True, kw_only=True):
    """Settings of strategy-runner."""

    aggr_symbols: Annotated[
        tuple[str, ...], Meta(description="base symbols to trade, comma-separated")
    ] = ("BTC", "ETH")
    squeezeflow_run_interval: Annotated[
        int, Meta(ge=1, le=300, description="seconds between two decision cycles")
    ] = 1
    squeezeflow_data_interval: Annotated[
        int, Meta(ge=1, le=300, description="seconds between two intakes of new bars")
    ] = 1
    squeezeflow_enable_1s_mode: Annotated[
        bool, Meta(description="true: signals live 5 s and are refreshed each second; false: 600 s")
    ] = True
    squeezeflow_max_symbols: Annotated[
        int, Meta(ge=1, le=200, description="symbols one replica decides for, at most")
    ] = 3
    squeezeflow_parallel_processing: Annotated[
        bool, Meta(description="true: symbols are loaded side by side at start")
    ] = True
    squeezeflow_lookback_hours: Annotated[
        int, Meta(ge=4, le=24, description="hours of one-second bars in the window, at least 4")
    ] = 4
    squeezeflow_backfill: Annotated[
        bool,
        Meta(description="true: missing minutes are filled from Binance's candles, as a makeshift"),
    ] = False
    squeezeflow_timeframe: Annotated[
        str,
        Meta(pattern="^(1m|5m|15m|30m)$", description="candle of the price patterns: 1m to 30m"),
    ] = "5m"
    squeezeflow_1s_batch_size: Annotated[
        int, Meta(ge=1, le=10000, description="seconds replayed at start before others get a turn")
    ] = 100
    squeezeflow_execution_exchange: Annotated[
        str, Meta(description="exchange whose perpetual supplies the reference price")
    ] = "BINANCE_FUTURES"
    squeezeflow_div_gap_z: Annotated[
        float,
        Meta(
            ge=1, le=10, description="gap of the legs that makes a divergence, in scales, 1 to 10"
        ),
    ] = 3.0
    squeezeflow_min_score: Annotated[
        float, Meta(ge=0, le=10, description="points an entry needs, 0 to 10")
    ] = 4.0
    squeezeflow_oi_required: Annotated[
        bool, Meta(description="true: no entry unless open interest rises with the setup")
    ] = False
    squeezeflow_cost_mult: Annotated[
        float,
        Meta(ge=0, le=100, description="five-minute range an entry needs, in round-trip costs"),
    ] = 0.0
    squeezeflow_round_trip_cost: Annotated[
        float,
        Meta(ge=0, le=0.1, description="fees and slippage of entry and exit, share of the price"),
    ] = 0.0012
    squeezeflow_max_hold_s: Annotated[
        int, Meta(ge=0, le=604800, description="seconds until a position is closed; 0: no limit")
    ] = 0
    squeezeflow_cooldown_s: Annotated[
        int, Meta(ge=0, le=86400, description="seconds without entry in a symbol after a position")
    ] = 900
    squeezeflow_catastrophic_stop: Annotated[
        bool, Meta(description="false: positions have no stop on the exchange")
    ] = True
    squeezeflow_gap_exit: Annotated[
        bool, Meta(description="true: a position is closed after 600 s without trustworthy data")
    ] = True
    squeezeflow_max_leverage: Annotated[
        int, Meta(ge=1, le=5, description="largest leverage of a signal, 1 to 5")
    ] = 5
    squeezeflow_max_open_positions: Annotated[
        int, Meta(ge=1, le=100, description="positions open at once, over all symbols")
    ] = 3
    squeezeflow_max_daily_loss: Annotated[
        float,
        Meta(gt=0, le=1, description="loss of a UTC day that ends its entries, share of equity"),
    ] = 0.06
    squeezeflow_log_level: LogLevel = "INFO"
    freqtrade_enable_integration: Annotated[
        bool, Meta(description="true: open positions are read from freqtrade; false: signals only")
    ] = True
    simulated_clock: SimulatedClock = ""


class InfluxSchemaSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of influx-init."""

    influx_retention_1s: Annotated[
        str,
        Meta(
            pattern="^[1-9][0-9]*[hdw]$",
            description="how long one-second bars are kept, 6h or more, such as 24h, 7d or 4w",
        ),
    ] = "24h"


class ExecutorSettings(Connections, frozen=True, kw_only=True):
    """Settings of freqtrade's start script and of the strategy that executes the signals."""

    freqtrade_api_username: str = "squeezeflow"
    freqtrade_api_password: Annotated[
        Secret, Meta(description="password of freqtrade's API, 12 characters or more")
    ] = ""
    freqtrade_jwt_secret: Annotated[
        Secret, Meta(description="key that signs the API's login tokens, 32 characters or more")
    ] = ""
    freqtrade_exchange_key: Annotated[
        Secret, Meta(description="API key of the exchange; needed for real money only")
    ] = ""
    freqtrade_exchange_secret: Annotated[
        Secret, Meta(description="the secret that belongs to the API key of the exchange")
    ] = ""
    freqtrade_config: Annotated[
        str, Meta(description="freqtrade's config file; empty: config/config.json of the project")
    ] = ""
    freqtrade_data_dir: Annotated[
        str,
        Meta(description="folder of freqtrade's database and logs; empty: its user_data folder"),
    ] = ""
    freqtrade_max_leverage: Annotated[
        int, Meta(ge=1, le=125, description="largest leverage of a trade, whatever a signal says")
    ] = 5
    freqtrade_risk_frac: Annotated[
        float,
        Meta(ge=0, le=1, description="most that a trade may lose up to its invalidation price"),
    ] = 0.0
    freqtrade_max_daily_loss: Annotated[
        float,
        Meta(gt=0, le=1, description="loss of a UTC day that ends its entries, share of equity"),
    ] = 0.06
    freqtrade_cooldown_min: Annotated[
        int,
        Meta(ge=0, le=1440, description="minutes without entry in a pair after a trade; 0: off"),
    ] = 5
    freqtrade_max_stops: Annotated[
        int, Meta(ge=0, le=100, description="trades ended by their stop that lock entries; 0: off")
    ] = 3
    freqtrade_max_drawdown: Annotated[
        float,
        Meta(ge=0, le=1, description="drawdown that locks entries, share of the account; 0: off"),
    ] = 0.1
    freqtrade_protection_window_min: Annotated[
        int, Meta(ge=1, le=43200, description="minutes in which stops and drawdown are counted")
    ] = 1440
    freqtrade_protection_lock_min: Annotated[
        int, Meta(ge=1, le=43200, description="minutes for which stops and drawdown lock entries")
    ] = 720


class OpenInterestSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of oi-tracker."""

    aggr_symbols: Annotated[
        tuple[str, ...], Meta(description="base symbols to trade, comma-separated")
    ] = ("BTC", "ETH")
    oi_exchanges: Annotated[
        tuple[str, ...], Meta(description="venues to ask for open interest, comma-separated")
    ] = (
        "BINANCE_FUTURES",
        "BYBIT",
        "OKX",
        "DERIBIT",
        "PHEMEX",
        "BITFINEX",
        "BITGET",
        "KUCOIN",
        "HUOBI",
        "GATEIO",
        "HYPERLIQUID",
        "GEMINI",
        "KRAKEN",
        "DYDX",
        "CRYPTOCOM",
        "MEXC",
    )
    oi_interval_s: Annotated[
        int,
        Meta(ge=5, le=900, description="least seconds between two samples of a venue, 5 to 900"),
    ] = 60
    simulated_clock: SimulatedClock = ""


class MonitorSettings(FreqtradeSettings, frozen=True, kw_only=True):
    """Settings of system-monitor and health-monitor."""

    aggr_server_url: Annotated[
        str, Meta(pattern=r"^https?://\S+$", description="base URL of aggr-server")
    ] = "http://127.0.0.1:3000"
    bind_address: str = "127.0.0.1"
    health_port: Port = 8090
    monitor_interval_s: Annotated[
        int, Meta(ge=1, le=60, description="seconds between two samples of resources")
    ] = 5
    supervisor_socket: Annotated[
        str, Meta(description="socket of the local process supervisor; empty: there is none")
    ] = ""
    docker_host: Annotated[
        str, Meta(description="Docker API to watch containers by; empty: there is none")
    ] = ""
    stack_services: Annotated[
        tuple[str, ...], Meta(description="services that must be up, comma-separated")
    ] = (
        "redis",
        "aggr-influx",
        "aggr-server",
        "strategy-runner",
        "freqtrade",
        "oi-tracker",
        "system-monitor",
        "health-monitor",
    )


class HealthMonitorSettings(MonitorSettings, frozen=True, kw_only=True):
    """Settings of health-monitor alone: of the live page."""

    aggr_symbols: Annotated[
        tuple[str, ...], Meta(description="base symbols to trade, comma-separated")
    ] = ("BTC", "ETH")
    squeezeflow_execution_exchange: Annotated[
        str, Meta(description="exchange whose perpetual supplies the reference price")
    ] = "BINANCE_FUTURES"
    page_published_on: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses and names under which the page is reached, comma-separated; "
            "it asks for its password unless all are loopback; empty: BIND_ADDRESS"
        ),
    ] = ()
    page_password: Annotated[
        Secret, Meta(description="password of the page, where it is not on loopback alone")
    ] = ""


class SystemMonitorSettings(MonitorSettings, frozen=True, kw_only=True):
    """Settings of system-monitor alone."""

    monitor_disk_paths: Annotated[
        tuple[str, ...], Meta(description="paths whose disks are watched, comma-separated")
    ] = ("/",)
    monitor_proc_path: Annotated[
        str, Meta(description="where the machine's /proc is found, from within a container too")
    ] = "/proc"
    backup_dir: Annotated[
        str, Meta(description="folder of the backups, relative to the project's")
    ] = "./backups"
    alert_rules: Annotated[
        str, Meta(description="file of rules of your own that go before the shipped ones")
    ] = "services/monitor/rules.toml"
    notify_urls: Annotated[
        Secret,
        Meta(description="Apprise URLs that trades and alerts are sent to; empty: to nobody"),
    ] = ""
    notify_level: Annotated[
        Literal["info", "warning", "critical"],
        Meta(description="lowest level of an alert that is sent: info, warning or critical"),
    ] = "warning"
    notify_max_per_minute: Annotated[
        int,
        Meta(
            ge=1,
            le=60,
            description="messages a minute to a channel in the long run, 1 to 60; four times as "
            "many may go out at once",
        ),
    ] = 10
    notify_quiet_hours: Annotated[
        str,
        Meta(
            pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d( [\w+/-]+)?)?$",
            description="HH:MM-HH:MM and, unless UTC is meant, a time zone, as in "
            "22:00-07:00 Europe/Berlin; only critical messages are sent then; empty: none",
        ),
    ] = ""
    deadman_url: Annotated[
        Secret,
        Meta(
            pattern=r"^(https?://\S+)?$",
            description="address outside this machine that is asked as long as the monitor works, "
            "https://...; empty: none",
        ),
    ] = ""
    deadman_interval_s: Annotated[
        int, Meta(ge=1, le=300, description="seconds between two calls of that address, 1 to 300")
    ] = 60


class BackupSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of the backups and of the service that makes them each day."""

    backup_dir: Annotated[
        str, Meta(description="folder of the backups, relative to the project's")
    ] = "./backups"
    backup_at: Annotated[
        str,
        Meta(
            pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
            description="time of the daily backup, HH:MM in UTC",
        ),
    ] = "02:30"
    backup_keep: Annotated[
        int, Meta(ge=0, le=10000, description="backups that are kept, the newest ones; 0: all")
    ] = 7
    backup_keep_days: Annotated[
        int,
        Meta(ge=0, le=3650, description="days after which even these go, but the newest; 0: never"),
    ] = 0
    backup_lines: Annotated[
        bool, Meta(description="true: InfluxDB is saved as line protocol too; takes long")
    ] = False
    backup_key: Annotated[
        Secret, Meta(description="what encrypts the backups, 32 characters or more; empty: nothing")
    ] = ""
    backup_offsite_command: Annotated[
        str, Meta(description="command that is given the path of each finished backup; empty: none")
    ] = ""
    backup_test_days: Annotated[
        int, Meta(ge=0, le=365, description="days between two test restores; 0: none")
    ] = 7


class SimulatorSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of the simulated market."""

    bind_address: str = "127.0.0.1"
    simulator_port: Port = 18090
    simulator_seed: Annotated[int, Meta(ge=0, description="seed of the market model")] = 1
    simulator_load: Annotated[
        float, Meta(ge=0.1, le=10, description="trades per second, in multiples of the usual")
    ] = 1.0
    simulator_dir: Annotated[
        str, Meta(description="folder of the ledger and of the state that survives a restart")
    ] = ".local/demo/simulator"
    simulator_venues: Annotated[
        tuple[str, ...], Meta(description="venues to simulate, comma-separated")
    ] = ("BINANCE", "BINANCE_FUTURES", "BYBIT", "OKEX", "COINBASE")
    simulator_history: Annotated[
        bool, Meta(description="true: the day before trading begins is written into InfluxDB")
    ] = True
    simulated_clock: SimulatedClock = ""
