"""`health_check.py --live` against a real freqtrade, Redis and the exchange's private API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis

from scripts.live.checklist import Item
from services.core import names
from services.core.records import Halt
from tests.integration.freqtrade.bot import ROOT, Bot
from tests.integration.freqtrade.live_exchange import LiveExchange
from tests.integration.servers import RedisServer

pytestmark = pytest.mark.timeout(300)

POINTS = [
    "mode",
    "exchange",
    "keys",
    "clock",
    "withdrawals",
    "futures",
    "address",
    "account mode",
    "balance",
    "positions",
    "stop on exchange",
    "margin",
    "protections",
    "open trades",
    "kill switch",
    "freqtrade",
]


@pytest.fixture(scope="module")
def dry_run() -> bool:
    """Trading simulated money with keys is the state before going live."""
    return True


class Check:
    """The command with the settings of a running freqtrade."""

    def __init__(self, bot: Bot) -> None:
        # Protections are off in the tests' freqtrade.
        kept = {k: v for k, v in bot.environ.items() if not k.startswith("FREQTRADE_")}
        ours = ("FREQTRADE__", "FREQTRADE_EXCHANGE", "FREQTRADE_API_PASSWORD")
        kept |= {k: v for k, v in bot.environ.items() if k.startswith(ours)}
        self.environ = {**kept, "FREQTRADE_API_URL": f"http://127.0.0.1:{bot.port}"}

    def __call__(self, **changes: str) -> tuple[int, dict[str, Item]]:
        """Status and points by name."""
        result = self.run("--json", **changes)
        items = msgspec.json.decode(result.stdout, type=list[Item])
        return result.returncode, {item.name: item for item in items}

    def run(self, *options: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """The command, run."""
        script = str(ROOT / "scripts" / "health_check.py")
        return subprocess.run(
            [sys.executable, script, "--live", "--environment", *options],
            env={**self.environ, **changes},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def check(running_bot: Bot, exchange: LiveExchange) -> Iterator[Check]:
    """The command; the exchange is as new for each test."""
    yield Check(running_bot)
    exchange.reset()


def test_everything_in_order_passes_without_showing_the_keys(
    check: Check, exchange: LiveExchange
) -> None:
    result = check.run()
    lines = result.stdout.splitlines()
    assert result.stderr == ""
    assert [line.partition(":")[0] for line in lines[:-1]] == [f"OK    {name}" for name in POINTS]
    assert lines[0].startswith("OK    mode: simulated money")
    assert lines[-1] == "Ready for real money."
    assert result.returncode == 0
    assert exchange.key not in result.stdout
    assert exchange.secret not in result.stdout


def allow(right: str, value: bool) -> Callable[[LiveExchange], None]:
    """Sets what the key may do."""
    return lambda exchange: exchange.restrictions.__setitem__(right, value)


def hold_a_position(exchange: LiveExchange) -> None:
    """Somebody's."""
    exchange.trade_by_hand("ETHUSDT", "-0.5")


def spend(exchange: LiveExchange) -> None:
    """Hardly anything is left."""
    exchange.account.wallet /= 100


def let_the_clock_run_ahead(exchange: LiveExchange) -> None:
    """By more than orders may be late."""
    exchange.clock_ahead_ms = 1_200


def hedge(exchange: LiveExchange) -> None:
    """Long and short side by side."""
    exchange.hedge_mode = True


@pytest.mark.parametrize(
    ("change", "point", "words"),
    [
        (allow("enableWithdrawals", True), "withdrawals", "enableWithdrawals"),
        (allow("enableInternalTransfer", True), "withdrawals", "enableInternalTransfer"),
        (allow("enableFutures", False), "futures", "may not trade futures"),
        (let_the_clock_run_ahead, "clock", "ms against the exchange"),
        (hold_a_position, "positions", "-0.5 ETHUSDT"),
        (spend, "balance", "10.00 USDT free"),
        (hedge, "account mode", "hedge mode"),
    ],
)
def test_account_not_fit_for_real_money_fails(
    check: Check,
    exchange: LiveExchange,
    change: Callable[[LiveExchange], None],
    point: str,
    words: str,
) -> None:
    change(exchange)
    status, items = check()
    assert status == 1
    assert words in items[point].found
    assert items[point].remedy
    assert [name for name, item in items.items() if item.state == "FAIL"] == [point]


def test_key_that_works_from_anywhere_is_a_warning(check: Check, exchange: LiveExchange) -> None:
    exchange.restrictions["ipRestrict"] = False
    status, items = check()
    assert status == 0
    assert items["address"].state == "WARN"


@pytest.mark.parametrize("name", ["KEY", "SECRET"])
def test_wrong_key_is_rejected_by_the_exchange(check: Check, tmp_path: Path, name: str) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("x" * 64 + "\n")
    status, items = check(**{f"FREQTRADE_EXCHANGE_{name}_FILE": str(wrong)})
    assert status == 1
    assert items["rights"].found.startswith("the exchange rejects the key")


@pytest.mark.parametrize(
    ("changes", "point"),
    [
        ({"FREQTRADE_EXCHANGE_KEY_FILE": ""}, "keys"),
        ({"FREQTRADE__MARGIN_MODE": "cross"}, "margin"),
        ({"FREQTRADE__ORDER_TYPES__STOPLOSS_ON_EXCHANGE": "false"}, "stop on exchange"),
        ({"FREQTRADE__MAX_OPEN_TRADES": "1"}, "open trades"),
        ({"FREQTRADE_MAX_DRAWDOWN": "0"}, "protections"),
        ({"FREQTRADE__DRY_RUN": "false"}, "freqtrade"),
        ({"FREQTRADE_API_URL": "http://127.0.0.1:1"}, "freqtrade"),
        ({"REDIS_PORT": "1"}, "kill switch"),
    ],
)
def test_settings_not_fit_for_real_money_fail(
    check: Check, changes: dict[str, str], point: str
) -> None:
    status, items = check(**changes)
    assert status == 1
    assert items[point].state == "FAIL"
    assert items[point].remedy


def test_kill_switch_that_is_on_fails(check: Check, bot_redis: RedisServer) -> None:
    with Redis(port=bot_redis.port) as redis:
        redis.set(names.HALT, msgspec.json.encode(Halt(halted=True, ts_ms=1, by="me", reason="x")))
        status, items = check()
        redis.set(names.HALT, msgspec.json.encode(Halt(halted=False, ts_ms=2)))
    assert status == 1
    assert items["kill switch"].found == "halted by me: x"


def test_exchange_away_is_told_once_a_point_and_quickly(check: Check) -> None:
    away: dict[str, Any] = {
        name: "http://127.0.0.1:1" for name in check.environ if "URLS__API__" in name
    }
    status, items = check(**away)
    assert status == 1
    assert items["clock"].found == items["balance"].found
    assert "does not answer" in items["clock"].found


def test_broken_config_is_named(check: Check, tmp_path: Path) -> None:
    broken = tmp_path / "config.json"
    broken.write_text("{")
    result = check.run(FREQTRADE_CONFIG=str(broken))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert str(broken) in result.stderr
