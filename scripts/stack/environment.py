"""The environment the local services run in."""

from __future__ import annotations

import os
from collections.abc import Mapping

from aggr_server.env import load
from scripts.stack import secret_files
from scripts.stack.layout import Layout
from scripts.stack.settings import StackSettings
from services.core.settings import MonitorSettings

MARK = "SQUEEZEFLOW_STACK"
"""Set to the project's folder in every process of the stack, so that `down` knows its own."""

# These would divert our programs, or make each of their starts compile every module anew.
_NOT_PASSED_ON = (
    "VIRTUAL_ENV",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONDONTWRITEBYTECODE",
    "LD_LIBRARY_PATH",
)


def build(layout: Layout, given: Mapping[str, str], settings: StackSettings) -> dict[str, str]:
    """Settings of all services: what the user gave, over defaults, under what must be so here."""
    environ = {k: v for k, v in given.items() if k not in _NOT_PASSED_ON}
    for key, value in _defaults(layout, settings).items():
        environ.setdefault(key, value)
    return environ | _fixed(layout) | (_demo(layout, settings, given) if layout.demo else {})


def _defaults(layout: Layout, settings: StackSettings) -> dict[str, str]:
    return {
        "STACK_SERVICES": ",".join(services(layout, settings)),
        "FREQTRADE_API_URL": f"http://{reachable(settings)}:{settings.freqtrade_port}",
        "AGGR_SERVER_URL": f"http://{reachable(settings)}:{settings.port}",
        "FREQTRADE__API_SERVER__LISTEN_IP_ADDRESS": settings.bind_address,
        "FREQTRADE__API_SERVER__LISTEN_PORT": str(settings.freqtrade_port),
        "FREQTRADE_DATA_DIR": str(layout.data / "freqtrade"),
        "AGGR_DATA_DIR": str(layout.data / "aggr-server"),
        **secret_files.file_settings(layout.secrets),
    }


def _fixed(layout: Layout) -> dict[str, str]:
    return {
        MARK: str(layout.root),
        "PYTHONPATH": f"{layout.root}{os.pathsep}{layout.root / 'aggr-server'}",
        "PYTHONUNBUFFERED": "1",
        "REDIS_HOST": "127.0.0.1",
        "INFLUX_HOST": "127.0.0.1",
        "HEARTBEAT_DIR": str(layout.run / "alive"),
        "SUPERVISOR_SOCKET": str(layout.socket),
        "SIMULATED_CLOCK": "",
        "DOCKER_HOST": "",
    }


def _demo(layout: Layout, settings: StackSettings, given: Mapping[str, str]) -> dict[str, str]:
    """Whatever `.env` says: the demo trades simulated markets with simulated money."""
    gateway = simulator_url(settings)
    return {
        "EXCHANGE_GATEWAY": gateway,
        "FREQTRADE__EXCHANGE__CCXT_CONFIG__URLS__API__fapiPublic": (
            f"{gateway}/fapi.binance.com/fapi/v1"
        ),
        "FREQTRADE__DRY_RUN": "true",
        "FREQTRADE_EXCHANGE_KEY": "",
        "FREQTRADE_EXCHANGE_KEY_FILE": "",
        "FREQTRADE_EXCHANGE_SECRET": "",
        "FREQTRADE_EXCHANGE_SECRET_FILE": "",
        "FREQTRADE__EXCHANGE__KEY": "",
        "FREQTRADE__EXCHANGE__SECRET": "",
        "FREQTRADE_DATA_DIR": str(layout.data / "freqtrade"),
        "AGGR_DATA_DIR": str(layout.data / "aggr-server"),
        "FREQTRADE_CONFIG": "",
        # Apart from the real ones, which they must not push out.
        "BACKUP_DIR": f"{given.get('BACKUP_DIR') or 'backups'}/demo",
        "SIMULATOR_DIR": str(layout.data / "simulator"),
        "AGGR_SYMBOLS": "BTC,ETH",
        "AGGR_EXCHANGES": "BINANCE,BINANCE_FUTURES,BYBIT,COINBASE,OKEX",
        "AGGR_MARKETS": "",
        "OI_EXCHANGES": "BINANCE_FUTURES,BYBIT,OKX",
    }


def services(layout: Layout, settings: StackSettings) -> tuple[str, ...]:
    """Services that must be up in this kind of stack."""
    always = load(MonitorSettings, {}).stack_services
    if layout.demo:
        return (*always, "simulator")
    return (*always, "backup") if with_backup(settings, demo=False) else always


def with_backup(settings: StackSettings, *, demo: bool) -> bool:
    """Whether a backup is made each day. A demo throws its data away."""
    return "backup" in settings.compose_profiles and not demo


def simulator_url(settings: StackSettings) -> str:
    """Where a program on this machine reaches the simulated exchanges."""
    return f"http://{reachable(settings)}:{settings.simulator_port}"


def reachable(settings: StackSettings) -> str:
    """The address under which a program on this machine reaches what is bound to BIND_ADDRESS."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.bind_address, settings.bind_address)
