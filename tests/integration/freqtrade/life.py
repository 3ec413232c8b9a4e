"""strategy-runner and the real freqtrade on one market, whose squeeze happens now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.records import Signal
from services.strategy.engine import SymbolEngine
from services.strategy.run import run
from services.strategy.types import Entry, State
from tests.integration.freqtrade.bot import PASSWORD, Bot
from tests.integration.freqtrade.bot import eventually as until_true
from tests.integration.freqtrade.exchange import Exchange, Instrument
from tests.integration.trading.harness import Runner, Tape, eventually, store
from tests.unit.strategy.scenarios import LEAD_S

PRICES = {"BTCUSDT": 100.0}
WHITELIST = {"FREQTRADE__EXCHANGE__PAIR_WHITELIST": '["BTC/USDT:USDT"]'}
INSTRUMENTS = {"BTCUSDT": Instrument(tick=0.001, decimals=3, notional="5")}
REFERENCE = "BINANCE_FUTURES:btcusdt"
LEAD_IN_S = 30
AHEAD_S = 12
LATE_S = 3
ENTRIES = {"S5": LEAD_S + 2773, "S3": LEAD_S + 3146}
"""Second of the entry, give or take some. S3 has none if minutes begin at one of the 60 seconds."""


class LiveTape(Tape):
    """A scenario whose entry comes in a few seconds. `entry`: index of the second it comes in."""

    def __init__(self, name: str, *, mirrored: bool) -> None:
        start = int(time.time()) + AHEAD_S - ENTRIES[name]
        super().__init__(name, mirrored=mirrored, start=start)
        while (entry := self._entered(ENTRIES[name] + 60)) is None:
            self.start += 1
        self.entry = entry

    def _entered(self, stop: int) -> int | None:
        market = replace(self.market, start=self.start, oi=None)
        events = run(SymbolEngine("BTC"), market.seconds(0, stop))
        return next((e.t - self.start for e in events if isinstance(e, Entry)), None)

    def price(self, i: int) -> float:
        """Where the market that is traded stands after second `i`."""
        return next(bar.close for bar in self.bars(i) if bar.market == REFERENCE)


class Life:
    """A trade from before its signal until its outcome. Asynchronous, as the runner is."""

    def __init__(
        self,
        tape: LiveTape,
        bot: Bot,
        exchange: Exchange,
        connections: Connections,
        influx: InfluxClient,
        folder: Path,
    ) -> None:
        self.tape, self.bot, self.influx = tape, bot, influx
        self._exchange = exchange
        self._next = tape.entry - LEAD_IN_S
        self.runner = Runner(
            connections,
            tape,
            folder,
            freqtrade_enable_integration=True,
            freqtrade_api_url=f"http://127.0.0.1:{bot.port}",
            freqtrade_api_password=PASSWORD,
        )

    async def __aenter__(self) -> Life:
        await store(self.influx, self.tape, 0, self._next)
        await self.runner.start(self._next)
        self._next += 1
        await eventually(lambda: not self.runner.app.desk.portfolio.problem)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.stop()
        await self.runner.close()

    async def enter(self) -> tuple[Signal, dict[str, Any]]:
        """The signal and the open trade it has become."""
        await self.play(self.tape.entry)
        early_s = self.tape.start + self.tape.entry + 1 - time.time()
        assert early_s > -LATE_S, f"the squeeze was {-early_s:.1f} s ago when all had started"
        await asyncio.sleep(max(0.0, early_s))
        await self.play(self.tape.entry + 5, until=lambda: self.runner.btc.signal is not None)
        signal = self.runner.btc.signal
        assert signal is not None
        await self.reaches(State.IN_POSITION)
        (trade,) = await asyncio.to_thread(self.bot.open_trades)
        return signal, trade

    async def protected(self) -> None:
        """Wait until the stop of the open trade rests on the exchange."""

        def rests() -> bool:
            (trade,) = self.bot.open_trades()
            return "stoploss" in [order["ft_order_side"] for order in trade["orders"]]

        await asyncio.to_thread(until_true, rests)

    async def exit(self, within_s: int) -> Signal:
        """Go on until the strategy wants out, which it must within the tape's next seconds."""
        asks = self.runner.btc
        await self.play(self._next + within_s, until=lambda: asks.signal is not None)
        assert asks.signal is not None
        return asks.signal

    async def play(self, stop: int, until: Callable[[], bool] = lambda: False) -> None:
        """Let seconds pass, and the exchange's price with them."""
        while self._next < stop and not until():
            self._exchange.prices["BTCUSDT"] = self.tape.price(self._next)
            await self.runner.publish(self._next)
            await self.runner.taken(self._next)
            self._next += 1

    async def store_played(self) -> None:
        """Write the seconds that have passed as the collector does."""
        await store(self.influx, self.tape, self.tape.entry - LEAD_IN_S, self._next)

    async def reaches(self, state: State) -> None:
        """Wait for a state of the strategy."""
        await eventually(lambda: self.runner.btc.engine.state is state)

    async def ended(self, signal: Signal) -> dict[str, Any]:
        """The closed trade of a signal, once the strategy knows of its end."""
        await self.reaches(State.COOLDOWN)
        (trade,) = await asyncio.to_thread(self.bot.trades_of, signal.signal_id)
        assert not trade["is_open"]
        return dict(trade)

    async def outcome(self, signal: Signal) -> dict[str, Any]:
        """What is recorded of a signal. Only after the runner has stopped is that complete."""
        rows = await self.influx.query(f"SELECT * FROM {names.SIGNALS_MEASUREMENT}")
        return next(dict(row) for row in rows if row["signal_id"] == signal.signal_id)


def on(connections: Connections, redis_port: int) -> Connections:
    """The same InfluxDB with another Redis."""
    return msgspec.structs.replace(connections, redis_port=redis_port)
