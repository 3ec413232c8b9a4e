"""Checks of what is written in configuration and settings; nobody is asked."""

from __future__ import annotations

import math
from typing import Any

from scripts.live.checklist import Item, fail, ok, warn
from scripts.live.config import Config
from services.core.settings import ExecutorSettings, StrategySettings

LARGEST_SIZE_FACTOR = 1.5
"""By which a signal may raise `stake_amount`."""


def mode(config: Config) -> Item:
    """Tells whether money is real; neither is wrong."""
    if is_dry_run(config):
        return ok("mode", "simulated money; FREQTRADE__DRY_RUN=false in .env makes it real")
    return ok("mode", "real money")


def is_dry_run(config: Config) -> bool:
    """Whether money is simulated; so if nothing is said."""
    return config.get("dry_run", True) is not False


def exchange(config: Config) -> Item:
    """The one whose keys can be checked, and the market the strategy is made for."""
    name, market = config.get("exchange", {}).get("name"), config.get("trading_mode")
    if name != "binance":
        remedy = "check its key by hand: no withdrawals, bound to this machine's address"
        return fail("exchange", f"{name} is not known to this check", remedy)
    if market != "futures":
        return fail("exchange", f"trading_mode is {market}", 'set "trading_mode": "futures"')
    return ok("exchange", "binance, futures")


def keys(config: Config, settings: ExecutorSettings) -> Item:
    """Both are there. Their values are never shown."""
    pairs = zip(("KEY", "SECRET"), given(config, settings), strict=True)
    missing = [name for name, value in pairs if not value]
    if missing:
        files = " and ".join(f"secrets/freqtrade_exchange_{name.lower()}" for name in missing)
        names = " and ".join(f"FREQTRADE_EXCHANGE_{name}" for name in missing)
        return fail("keys", f"{names} missing", f"write what the exchange gave you into {files}")
    return ok("keys", "key and secret are present")


def given(config: Config, settings: ExecutorSettings) -> tuple[str, str]:
    """Key and secret, from their files or freqtrade's own settings."""
    inner = config.get("exchange", {})
    key = settings.freqtrade_exchange_key or inner.get("key", "")
    return str(key), str(settings.freqtrade_exchange_secret or inner.get("secret", ""))


def stop(config: Config, settings: StrategySettings) -> Item:
    """Every position has a stop that rests on the exchange and is filled at any price."""
    types: dict[str, Any] = config.get("order_types", {})
    if types.get("stoploss_on_exchange") is not True:
        remedy = 'set "stoploss_on_exchange": true under order_types in config.json'
        return fail("stop on exchange", "off: nothing protects while this host is down", remedy)
    if types.get("stoploss") != "market":
        remedy = 'set "stoploss": "market" under order_types in config.json'
        return fail("stop on exchange", "a limit order, which a fast market skips", remedy)
    if not settings.squeezeflow_catastrophic_stop:
        remedy = "set SQUEEZEFLOW_CATASTROPHIC_STOP=true in .env"
        return fail("stop on exchange", "signals carry no stop", remedy)
    return ok("stop on exchange", "market order, at the price of the signal")


def margin(config: Config) -> Item:
    """A position can lose its own margin only."""
    found = config.get("margin_mode") or "not set"
    if found != "isolated":
        return fail("margin", found, 'set "margin_mode": "isolated" in config.json')
    return ok("margin", "isolated: a position can lose its own margin only")


def protections(settings: ExecutorSettings) -> Item:
    """Losses lock entries."""
    off = [
        name
        for name in ("freqtrade_cooldown_min", "freqtrade_max_stops", "freqtrade_max_drawdown")
        if not getattr(settings, name)
    ]
    if off:
        names = ", ".join(name.upper() for name in off)
        return fail("protections", f"{names} off", "remove them from .env for the defaults")
    return ok(
        "protections",
        f"{settings.freqtrade_cooldown_min} min between trades of a pair, entries locked after "
        f"{settings.freqtrade_max_stops} stops, {settings.freqtrade_max_drawdown:.0%} drawdown or "
        f"{settings.freqtrade_max_daily_loss:.0%} lost in a day",
    )


def open_trades(config: Config, settings: StrategySettings) -> Item:
    """freqtrade takes as many positions as the strategy opens."""
    wanted, slots = settings.squeezeflow_max_open_positions, slots_of(config)
    found = f"max_open_trades {slots:g}, SQUEEZEFLOW_MAX_OPEN_POSITIONS {wanted}"
    if slots < wanted:
        remedy = "raise max_open_trades in config.json, or lower the other one in .env"
        return fail("open trades", found, remedy)
    return ok("open trades", found)


def slots_of(config: Config) -> float:
    """Trades freqtrade keeps open at once; infinite for -1."""
    slots = float(config.get("max_open_trades", 0))
    return math.inf if slots < 0 else slots


def balance(config: Config, settings: StrategySettings, available: float) -> Item:
    """The largest stakes fit: of one trade at least, of all that may be open rather."""
    currency, stake = str(config.get("stake_currency", "")), config.get("stake_amount")
    usable = available * float(config.get("tradable_balance_ratio", 0.99))
    found = f"{available:.2f} {currency} free"
    if not isinstance(stake, int | float):
        remedy = 'set "stake_amount" to an amount you can do without, in config.json'
        return warn("balance", f"{found}, stake_amount {stake}: all of it is traded", remedy)
    largest = stake * LARGEST_SIZE_FACTOR
    slots = min(slots_of(config), settings.squeezeflow_max_open_positions)
    found += f", a stake is up to {largest:.2f}, {slots:g} at once"
    remedy = "transfer more to the futures wallet, or lower stake_amount in config.json"
    if usable < largest:
        return fail("balance", found, remedy)
    return warn("balance", found, remedy) if usable < largest * slots else ok("balance", found)
