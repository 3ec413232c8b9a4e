"""X4, X6: killed at any step or away for long, freqtrade doubles nothing and forgets nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from services.core import names
from services.core.records import Signal
from tests.integration.freqtrade.bot import FAST, Bot, Runner, eventually
from tests.integration.freqtrade.conftest import flatten
from tests.integration.freqtrade.counterpart import Book, Writer
from tests.integration.freqtrade.exchange import FILL_LEVELS, Exchange
from tests.integration.freqtrade.gate import Gate, Loss
from tests.integration.servers import RedisServer

pytestmark = pytest.mark.timeout(240)
SYMBOL = "ETHUSDT"
ENTRY_STEPS = [
    pytest.param("claim", Loss.REQUEST, 1, id="before-claim"),
    pytest.param("claim", Loss.ANSWER, 0, id="after-claim"),
    pytest.param("order", Loss.REQUEST, 0, id="ordering"),
    pytest.param("opened", Loss.REQUEST, 1, id="before-telling"),
    pytest.param("opened", Loss.ANSWER, 1, id="after-telling"),
]
"""Step, what of it gets lost with the process, trades that come of the signal in the end."""
EXIT_STEPS = [
    pytest.param("order", Loss.REQUEST, id="ordering"),
    pytest.param("closed", Loss.REQUEST, id="before-telling"),
    pytest.param("closed", Loss.ANSWER, id="after-telling"),
]


@pytest.fixture(scope="module")
def gate(bot_redis: RedisServer) -> Iterator[Gate]:
    """Between freqtrade and its Redis."""
    with Gate(bot_redis.port) as gate:
        yield gate


@pytest.fixture(scope="module")
def behind_gate(
    tmp_path_factory: pytest.TempPathFactory, exchange: Exchange, gate: Gate
) -> Iterator[Bot]:
    """freqtrade, running."""
    with Bot(tmp_path_factory.mktemp("bot"), gate.port, exchange.url, FAST) as bot:
        yield bot


@pytest.fixture
def writer(behind_gate: Bot, runner: Runner) -> Iterator[Writer]:
    """Who shows the signals; afterwards there are none, and no positions."""
    with Writer(runner) as writer:
        yield writer
        for symbol in ("BTCUSDT", "ETHUSDT"):
            writer.withdraw(symbol)
        flatten(behind_gate, runner)


class Killer:
    """Kills freqtrade once, at a step of what it does with a signal."""

    def __init__(self, bot: Bot, gate: Gate, exchange: Exchange) -> None:
        self._bot, self._gate, self._exchange = bot, gate, exchange
        self._done = threading.Event()

    def lie_in_wait(self, step: str, loss: Loss, signal: Signal) -> None:
        """`step`: `claim`, `order`, or the event of a fill."""
        if step == "order":
            self._exchange.before = self._at_order
            return
        parts = {"claim": [names.executed(signal.signal_id)]}.get(
            step, ["XADD", names.FILLS_STREAM, f'"event":"{step}"']
        )
        wanted = [part.encode() for part in [*parts, signal.signal_id]]
        self._gate.after_loss = self._kill
        self._gate.rule = lambda request: loss if all(w in request for w in wanted) else None

    def wait(self) -> None:
        """Until it is done."""
        assert self._done.wait(15), "freqtrade did not come to this step"
        self._gate.rule = lambda request: None
        self._gate.after_loss = lambda: None

    def _at_order(self, endpoint: str, query: dict[str, str]) -> None:
        if endpoint == "depth" and query.get("limit") == FILL_LEVELS:
            self._exchange.before = lambda endpoint, query: None
            self._kill()

    def _kill(self) -> None:
        self._bot.kill()
        self._done.set()


@pytest.fixture
def killer(behind_gate: Bot, gate: Gate, exchange: Exchange) -> Killer:
    """For one death."""
    return Killer(behind_gate, gate, exchange)


def close_and_check(
    bot: Bot, runner: Runner, writer: Writer, signal: Signal, expected: int
) -> None:
    """The signal has come to `expected` trades; they end when asked for, and all is told once."""
    trades = bot.trades_of(signal.signal_id)
    assert len(trades) == expected
    if expected:
        writer.show(runner.close(signal))
        runner.fill(signal.signal_id, "closed")
    eventually(lambda: not bot.open_trades())
    bot.let_turn()
    doubles = len(bot.trades_of(signal.signal_id)) - expected
    told = Book(SYMBOL, "BTCUSDT").of(runner, signal)
    print(f"{doubles} doubles, {len(bot.open_trades())} forgotten, told: {told}")
    assert doubles == 0
    assert told == ["closed", "opened"] * expected


@pytest.mark.parametrize(("step", "loss", "expected"), ENTRY_STEPS)
def test_X4_killed_on_the_way_in_0_doubles_0_forgotten(
    behind_gate: Bot,
    runner: Runner,
    writer: Writer,
    killer: Killer,
    step: str,
    loss: Loss,
    expected: int,
) -> None:
    signal = runner.entry(SYMBOL)
    killer.lie_in_wait(step, loss, signal)
    writer.show(signal)
    killer.wait()
    behind_gate.start()
    if expected:
        runner.fill(signal.signal_id, "opened")
    behind_gate.let_turn()
    close_and_check(behind_gate, runner, writer, signal, expected)


@pytest.mark.parametrize(("step", "loss"), EXIT_STEPS)
def test_X4_killed_on_the_way_out_0_doubles_0_forgotten(
    behind_gate: Bot, runner: Runner, writer: Writer, killer: Killer, step: str, loss: Loss
) -> None:
    signal = runner.entry(SYMBOL)
    writer.show(signal)
    runner.fill(signal.signal_id, "opened")
    killer.lie_in_wait(step, loss, signal)
    writer.show(runner.close(signal))
    killer.wait()
    behind_gate.start()
    close_and_check(behind_gate, runner, writer, signal, 1)


@pytest.mark.parametrize(
    ("away_s", "valid_s"), [(3, 2), pytest.param(600, 60, marks=pytest.mark.slow)]
)
@pytest.mark.timeout(900)
def test_X6_away_it_misses_entries_and_makes_up_for_exits(
    behind_gate: Bot, runner: Runner, writer: Writer, away_s: float, valid_s: int
) -> None:
    held = runner.entry(SYMBOL)
    writer.show(held)
    runner.fill(held.signal_id, "opened")
    behind_gate.kill()
    gone = time.monotonic()
    missed = runner.entry(valid_until_ms=time.time_ns() // 1_000_000 + valid_s * 1000)
    writer.show(runner.close(held))
    writer.show(missed)
    eventually(lambda: not writer.shown("BTCUSDT"), valid_s + 5)
    time.sleep(max(0.0, away_s - (time.monotonic() - gone)))
    behind_gate.start()
    assert runner.fill(held.signal_id, "closed").reason == "sf_range_break"
    # Nor is it entered when a dead writer has left it behind.
    runner.publish(missed, ttl=60)
    behind_gate.let_turn()
    away_s = time.monotonic() - gone
    print(f"X6: away {away_s:.0f} s, 0 of 1 entries, 1 of 1 exits executed")
    assert not behind_gate.trades_of(missed.signal_id)
    assert not behind_gate.open_trades()
