"""X4 with real money: killed while it orders the way out, freqtrade neither repeats nor forgets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.core import names
from services.core.records import Alert
from tests.integration.freqtrade.bot import Bot, Runner, eventually
from tests.integration.freqtrade.live_exchange import LiveExchange

pytestmark = pytest.mark.timeout(240)
ALARM_LIMIT_S = 60


def alerts(runner: Runner, code: str) -> list[Alert]:
    """The critical ones of a kind."""
    raw: Any = runner.redis.lrange(names.ALERTS, 0, -1)
    told = [msgspec.json.decode(alert, type=Alert) for alert in raw]
    return [alert for alert in told if alert.code == code and alert.level == "critical"]


def test_X4_killed_while_the_way_out_is_ordered_0_doubles_0_forgotten(
    bot: Bot, runner: Runner, exchange: LiveExchange
) -> None:
    def lose(method: str, path: str) -> bool:
        if (method, path) != ("POST", "v1/order"):
            return False
        exchange.lose_reply = lambda method, path: False
        bot.kill()
        return True

    signal = runner.executed(mode="live")
    eventually(lambda: "stoploss" in [o["ft_order_side"] for o in bot.open_trades()[0]["orders"]])
    exchange.lose_reply = lose
    runner.publish(runner.close(signal), ttl=ALARM_LIMIT_S)
    eventually(lambda: not exchange.account.risks())
    bot.start()
    alarm = eventually(lambda: alerts(runner, "missing_position"), ALARM_LIMIT_S)
    assert "long 0.002 BTC/USDT:USDT" in alarm[0].text
    runner.withdraw("BTCUSDT")
    # The remedy that the alarm names.
    bot.post(f"trades/{bot.open_trades()[0]['trade_id']}/reload", {})
    told = runner.fill(signal.signal_id, "closed", 40.0)
    (trade,) = bot.trades_of(signal.signal_id)
    doubles, forgotten = len(exchange.account.risks()), len(bot.open_trades())
    print(f"X4 live: {doubles} doubles, {forgotten} forgotten, told at {told.price}")
    assert (doubles, forgotten) == (0, 0)
    assert told.price == trade["close_rate"] == pytest.approx(exchange.prices["BTCUSDT"])
    assert not exchange.account.open_stops()
