"""The whole list: settings, account at the exchange, kill switch, running freqtrade."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis import RedisError

from scripts.live import settings_checks as written
from scripts.live.account import Account, NotAnswered, Rejected
from scripts.live.checklist import Item, fail, ok, warn
from scripts.live.config import Config
from scripts.stack.probes import fetch, redis_client
from services.core import halt, names
from services.core.settings import ExecutorSettings, MonitorSettings, StrategySettings

CLOCK_WARN_MS = 250
CLOCK_FAIL_MS = 1_000
COMPARED = ("dry_run", "margin_mode", "max_open_trades", "stake_amount")
"""Settings of which freqtrade tells what it runs with."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked. `config`: freqtrade's, as it would start now."""

    config: Config
    executor: ExecutorSettings
    strategy: StrategySettings
    monitor: MonitorSettings


def run(subject: Subject) -> list[Item]:
    """Every check, in the order in which they are best mended."""
    config = subject.config
    items = [
        written.mode(config),
        written.exchange(config),
        written.keys(config, subject.executor),
        *_of_account(subject),
        written.stop(config, subject.strategy),
        written.margin(config),
        written.protections(subject.executor),
        written.open_trades(config, subject.strategy),
        kill_switch(subject.monitor),
    ]
    return [*items, *freqtrade(subject)]


def _of_account(subject: Subject) -> Iterator[Item]:
    config = subject.config
    currency = str(config.get("stake_currency", ""))
    checks: dict[str, Callable[[Account], list[Item]]] = {
        "clock": lambda a: [clock(a)],
        "rights": rights,
        "account mode": lambda a: [modes(a)],
        "balance": lambda a: [
            written.balance(config, subject.strategy, a.available(currency)),
        ],
        "positions": lambda a: [positions(subject, a)],
    }
    key, secret = written.given(config, subject.executor)
    understood = written.exchange(config).state == "OK"
    account = Account(key, secret, config.get("exchange", {}).get("ccxt_config", {}))
    for name, check in checks.items():
        if not understood or (name != "clock" and not (key and secret)):
            yield fail(name, "not checked", "mend exchange and keys first")
            continue
        try:
            yield from check(account)
        except Rejected as error:
            remedy = "copy key and secret again; allow futures, and this machine's address"
            yield fail(name, f"the exchange rejects the key: {error}", remedy)
        except NotAnswered as error:
            yield fail(name, str(error), "see whether this machine reaches the exchange, try again")


def clock(account: Account) -> Item:
    """Orders carry a time; the exchange refuses those too far from its own."""
    measured = account.clock()
    found = f"{measured.offset_ms:+.0f} ms against the exchange"
    remedy = "let the host synchronise its clock: timedatectl set-ntp true"
    if abs(measured.offset_ms) >= CLOCK_FAIL_MS:
        return fail("clock", found, remedy)
    if abs(measured.offset_ms) - measured.round_trip_ms / 2 >= CLOCK_WARN_MS:
        return warn("clock", found, remedy)
    return ok("clock", found)


def rights(account: Account) -> list[Item]:
    """What somebody could do who stole the key."""
    may = account.restrictions()
    edit = "at the exchange, under API management, edit the key"
    items = []
    if taken := [r for r in ("enableWithdrawals", "enableInternalTransfer") if may.get(r)]:
        found = f"the key may move money out of the account ({', '.join(taken)})"
        items.append(fail("withdrawals", found, f"{edit}: take these rights away"))
    else:
        items.append(ok("withdrawals", "the key cannot withdraw"))
    if not may.get("enableFutures"):
        remedy = f"{edit}: enable futures (needs a futures account opened before the key)"
        items.append(fail("futures", "the key may not trade futures", remedy))
    else:
        items.append(ok("futures", "the key may trade them"))
    if not may.get("ipRestrict"):
        remedy = f"{edit}: restrict access to this machine's address"
        items.append(warn("address", "the key works from anywhere", remedy))
    else:
        items.append(ok("address", "the key is bound to addresses"))
    return items


def modes(account: Account) -> Item:
    """freqtrade refuses to start otherwise."""
    hedge, multi = account.modes()
    wrong = [n for n, on in (("hedge mode", hedge), ("multi-assets mode", multi)) if on]
    if wrong:
        remedy = "in the futures preferences choose one-way mode and single-asset mode"
        return fail("account mode", f"{' and '.join(wrong)} on", remedy)
    return ok("account mode", "one-way, single-asset")


def positions(subject: Subject, account: Account) -> Item:
    """All on the exchange are freqtrade's: it enters nothing while there is another one."""
    held = account.positions()
    known: dict[str, float] = {}
    if held and not written.is_dry_run(subject.config):
        for trade in _api(subject.monitor, "status"):
            symbol = f"{trade['base_currency']}{trade['quote_currency']}"
            sign = -1 if trade["is_short"] else 1
            known[symbol] = known.get(symbol, 0.0) + sign * trade["amount"]
    strange = [
        f"{amount:g} {symbol}"
        for symbol, amount in held.items()
        if abs(amount - known.get(symbol, 0.0)) > 1e-6 * abs(amount)
    ]
    if strange:
        remedy = "close them, or trade in a sub-account of its own"
        return fail("positions", f"not freqtrade's: {', '.join(strange)}", remedy)
    return ok("positions", f"{len(held)} open, all of them freqtrade's" if held else "none open")


def kill_switch(settings: MonitorSettings) -> Item:
    """Entries are allowed."""
    try:
        with redis_client(settings) as client:
            raw = client.get(names.HALT)
    except RedisError as error:
        return fail("kill switch", f"Redis does not answer: {error}", "./scripts/up.sh starts it")
    found = halt.decode(raw, time.time_ns() // 1_000_000) if isinstance(raw, bytes) else None
    if found is not None and found.halted:
        return fail("kill switch", halt.describe(found), "python3 scripts/kill_switch.py off")
    return ok("kill switch", "off")


def freqtrade(subject: Subject) -> list[Item]:
    """It answers, and runs with the configuration that was checked."""
    try:
        running = _api(subject.monitor, "show_config")
    except NotAnswered as error:
        return [fail("freqtrade", str(error), "./scripts/up.sh starts it, see its log")]
    wanted = {"dry_run": True, **subject.config}
    differing = [
        f"{name} {running.get(name)} instead of {wanted.get(name)}"
        for name in COMPARED
        if _comparable(running.get(name)) != _comparable(wanted.get(name))
    ]
    if differing:
        remedy = "start again with the new settings: ./scripts/down.sh && ./scripts/up.sh"
        return [fail("freqtrade", f"runs with {', '.join(differing)}", remedy)]
    if running.get("state") != "running":
        remedy = "press Start in its web interface"
        return [fail("freqtrade", f"its state is {running.get('state')}", remedy)]
    money = "simulated" if running["dry_run"] else "real"
    return [ok("freqtrade", f"running, with {money} money")]


def _comparable(value: Any) -> float | str:
    """A number, whichever way it is written, or the text."""
    try:
        return str(value) if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return str(value)


def _api(settings: MonitorSettings, path: str) -> Any:
    """An answer of freqtrade's API. Raises `NotAnswered`."""
    login = (settings.freqtrade_api_username, settings.freqtrade_api_password)
    try:
        answer: Mapping[str, Any] | list[Any] = fetch(
            f"{settings.freqtrade_api_url}/api/v1/{path}", login=login, timeout_s=5.0
        )
    except (OSError, ValueError) as error:
        raise NotAnswered(f"freqtrade does not answer: {error}") from error
    return answer
