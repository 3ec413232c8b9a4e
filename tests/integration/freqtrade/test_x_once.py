"""A signal becomes one trade, and its fills count once, whatever gets lost or comes at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from redis import Redis

from services.core import names
from services.core.records import Fill, Signal
from tests.integration.freqtrade.bot import (
    FAST,
    Bot,
    Runner,
    blocking_redis,
    eventually,
    pair_of,
)
from tests.integration.freqtrade.counterpart import Book
from tests.integration.freqtrade.exchange import PRICES, Exchange
from tests.integration.freqtrade.gate import Gate, Loss
from tests.integration.servers import RedisServer

pytestmark = pytest.mark.timeout(240)
BASES = """
BTC ETH SOL XRP ADA DOGE BNB LTC LINK AVAX DOT TRX BCH ATOM UNI ETC XLM FIL APT NEAR ARB OP INJ SUI
SEI TIA AAVE ALGO SAND MANA AXS THETA VET ICP GRT EGLD KAVA ZEC DASH COMP SNX CRV ENS LDO IMX GALA
CHZ ENJ ONT NEO
"""
PRICE = 100.0


class EachLostOnce:
    """Loses every fill the first time: the message or its answer, trade by trade in turns."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.losses: Counter[Loss] = Counter()

    def __call__(self, request: bytes) -> Loss | None:
        begin = request.find(b'{"event":')
        if begin < 0:
            return None
        fill = msgspec.json.decode(request[begin : request.rindex(b"}") + 1], type=Fill)
        if (key := (fill.event, fill.signal_id)) in self.seen:
            return None
        self.seen.add(key)
        loss = Loss.REQUEST if len(self.seen) // 2 % 2 else Loss.ANSWER
        self.losses[loss] += 1
        return loss


def at_once(count: int, act: Callable[[int], None]) -> None:
    """Call `act` with 0 to `count` - 1, in as many threads, at the same time."""
    barrier = threading.Barrier(count)

    def wait_and_act(number: int) -> None:
        barrier.wait()
        act(number)

    threads = [threading.Thread(target=wait_and_act, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def publish_at_once(port: int, signals: list[Signal]) -> None:
    """Every signal over a connection of its own."""
    clients = [Redis(port=port) for _ in signals]
    for client in clients:
        client.ping()
    at_once(len(signals), lambda i: Runner(clients[i], {}).publish(signals[i]))
    for client in clients:
        client.close()


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_X1_every_fill_lost_once_each_trade_made_and_counted_once(
    exchange: Exchange, own_redis: RedisServer, tmp_path: Path, count: int
) -> None:
    with Gate(own_redis.port) as gate, blocking_redis(own_redis.port) as client:
        lose_each_fill_once(gate, Runner(client, exchange.prices), exchange.url, tmp_path, count)


def lose_each_fill_once(
    gate: Gate, runner: Runner, exchange_url: str, folder: Path, count: int
) -> None:
    """`count` trades over a way on which nothing arrives at the first try."""

    def wake() -> None:
        runner.redis.publish(names.SIGNALS_CHANNEL, b"")

    gate.rule, gate.after_loss = (losses := EachLostOnce()), wake
    signals: list[Signal] = []
    with Bot(folder, gate.port, exchange_url, FAST) as bot:
        for _ in range(count // 2):
            pair = [runner.entry(symbol) for symbol in PRICES]
            signals += pair
            for signal in pair:
                runner.publish(signal)
            for signal in pair:
                runner.fill(signal.signal_id, "opened")
                runner.publish(runner.close(signal))
            for signal in pair:
                runner.fill(signal.signal_id, "closed")
        eventually(lambda: bot.undelivered() == 0)
        trades = bot.get("trades?limit=500")["trades"]
    news = Book(*PRICES).take(runner)
    told = len(list(runner.fills()))
    print(f"X1: {gate.lost} losses, {len(trades)} trades, {told} fills sent, {len(news)} counted")
    assert losses.losses == {Loss.REQUEST: count, Loss.ANSWER: count}
    assert Counter(t["enter_tag"] for t in trades) == {f"sf:{s.signal_id}": 1 for s in signals}
    assert len(trades) == count
    assert news == {(e, s.signal_id): 1 for s in signals for e in ("opened", "closed")}
    assert told == 3 * count  # where only the answer was lost, it was told twice


def test_X2_50_signals_for_one_pair_at_once_1_position(
    bot: Bot, runner: Runner, bot_redis: RedisServer
) -> None:
    signals = [runner.entry("ETHUSDT", "SHORT" if i % 2 else "LONG") for i in range(50)]
    publish_at_once(bot_redis.port, signals)
    eventually(bot.open_trades)
    for signal in signals:  # and once more, each for itself
        runner.publish(signal)
    runner.executed()
    trades = [t for t in bot.open_trades() if t["pair"] == "ETH/USDT:USDT"]
    print(f"X2: {len(trades)} position from {len(signals)} signals")
    assert len(trades) == 1
    assert sum(len(bot.trades_of(signal.signal_id)) for signal in signals) == 1


def test_X3_50_signals_for_50_pairs_at_once_2_positions_with_2_slots(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    prices = {f"{base}USDT": PRICE for base in BASES.split()}
    pairs = msgspec.json.encode([pair_of(symbol) for symbol in prices]).decode()
    settings = {
        **FAST,
        "FREQTRADE__MAX_OPEN_TRADES": "2",
        "FREQTRADE__EXCHANGE__PAIR_WHITELIST": pairs,
    }
    with (
        Exchange(prices) as exchange,
        blocking_redis(own_redis.port) as client,
        Bot(tmp_path, own_redis.port, exchange.url, settings) as bot,
    ):
        runner = Runner(client, exchange.prices)
        signals = [runner.entry(symbol, ttl=30) for symbol in exchange.prices]
        publish_at_once(own_redis.port, signals)
        eventually(lambda: len(list(runner.fills())) >= len(signals), 30)
        bot.let_turn()
        count, told = len(bot.open_trades()), list(runner.fills())
    print(f"X3: {count} positions from {len(signals)} signals")
    assert len(signals) == len({fill.signal_id for fill in told}) == len(told) == 50
    assert count == 2
    assert Counter((fill.event, fill.reason) for fill in told) == {
        ("opened", ""): 2,
        ("rejected", "slots"): 48,
    }
