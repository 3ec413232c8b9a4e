"""From following a symbol to leading it: the last leader's state, put onto the history here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from logging import getLogger
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core import names
from services.core.records import Signal
from services.trading.desk import Desk
from services.trading.recording import LeaderRecord
from services.trading.symbol import Saved, SymbolTrader

BEHIND_S = 30
"""How far a followed symbol is behind; its leader's newest state must be ahead of it."""

STATE_MAX_AGE_S = 120
ARRIVAL_S = 5.0
"""How long the seconds are waited for that the last leader had and this replica has not yet."""

_log = getLogger(__name__)


class Handover:
    """Hands symbols on from one leader to the next. `batch`: seconds before others get a turn.

    `leads`: whether this replica keeps the symbol's lease (still). `record` takes over what the
    last leader did not get recorded, `inherit` its slot of the portfolio, which is kept where its
    state is unknown.
    """

    def __init__(
        self,
        desk: Desk,
        redis: Redis,
        record: LeaderRecord,
        *,
        batch: int,
        leads: Callable[[str], bool],
        inherit: Callable[[str], None],
    ) -> None:
        self._desk = desk
        self._record = record
        self._redis = redis
        self._batch = batch
        self._leads = leads
        self._inherit = inherit

    async def take(self, trader: SymbolTrader) -> bool:
        """Lead a symbol that was followed until now; False if it must be loaded first."""
        if not trader.standby or trader.engine.t is None:
            return False
        saved = await self.saved(trader, trader.engine.t)
        if saved is None:
            _log.warning(
                "no state to take over, loading %s",
                kv(symbol=trader.names.symbol, followed_to=trader.engine.t),
            )
            return False
        try:
            await self.resume(trader, saved)
        except ValueError as error:
            _log.warning("state not resumed %s", kv(symbol=trader.names.symbol, error=error))
            await self.forget(trader)
            return False
        return await self.go_live(trader)

    async def saved(self, trader: SymbolTrader, oldest: int) -> Saved | None:
        """The last leader's state if it is of second `oldest` or later; recalls its signals."""
        symbol = trader.names.symbol
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(names.state(symbol))
                pipe.lrange(names.history(symbol), 0, -1)
                pipe.hgetall(names.unrecorded(symbol))
                raw, published, unrecorded = await pipe.execute()
        except RedisError as error:
            _log.warning("state not read from Redis %s", kv(symbol=symbol, error=error))
            return None
        self._record.recall(symbol, unrecorded)
        found = self._decoded(raw) if raw is not None else None
        if found is not None and found.memory is not None:
            self._desk.validator.remember(symbol, found.memory)
        elif published:
            self._desk.validator.recall(symbol, reversed(_signals(published)))
        return found if found is not None and found.t >= oldest else None

    async def resume(self, trader: SymbolTrader, saved: Saved) -> None:
        """Continue from `saved`; the history here must not go beyond it.

        Raises `ValueError` if it does not fit.
        """
        try:
            async with asyncio.timeout(ARRIVAL_S):
                while trader.newest < saved.t:
                    await trader.next_one()
        except TimeoutError:
            raise ValueError(f"second {saved.t} has not arrived") from None
        trader.standby = False  # from here on its seconds wait
        trader.follow(saved.t)
        trader.resume(saved)

    async def go_live(self, trader: SymbolTrader) -> bool:
        """Decide for the seconds that have waited, then go on second by second."""
        due = trader.backlog[0].t if trader.backlog else None
        if due is not None and trader.engine.t is not None and due != trader.engine.t + 1:
            _log.warning("backlog overrun, loading again %s", kv(symbol=trader.names.symbol))
            return False
        done = 0
        while trader.backlog:
            self._desk.step_one(trader, trader.backlog.popleft())
            done += 1
            if done % self._batch == 0:
                await asyncio.sleep(0)
        if not self._leads(trader.names.symbol):
            return False
        trader.live = True
        if trader.resumed:
            self._inherit(trader.names.symbol)
        self._show(trader)
        return True

    async def forget(self, trader: SymbolTrader) -> None:
        """Remove the symbol's state: one that cannot be resumed must not be tried again."""
        try:
            await self._redis.delete(names.state(trader.names.symbol))
        except RedisError as error:
            _log.warning("state not removed %s", kv(error=error))

    def _show(self, trader: SymbolTrader) -> None:
        symbol, state = trader.names.symbol, str(trader.engine.state)
        message: dict[str, object] = {
            "symbol": symbol,
            "t": trader.engine.t,
            "state": state,
            "reason": "start",
        }
        self._desk.outbox.status(symbol, state, message)
        if trader.signal is not None and trader.takes_slot:
            self._desk.outbox.show(trader.signal)
        self._desk.save(trader)
        _log.info("live %s", kv(symbol=symbol, state=state, t=trader.engine.t))

    @staticmethod
    def _decoded(raw: bytes) -> Saved | None:
        try:
            return msgspec.json.decode(raw, type=Saved)
        except msgspec.MsgspecError as error:
            _log.warning("saved state not readable %s", kv(error=error))
            return None


def _signals(published: list[Any]) -> list[Signal]:
    found = []
    for data in published:
        try:
            found.append(msgspec.json.decode(data, type=Signal))
        except msgspec.MsgspecError as error:
            _log.warning("published signal not readable %s", kv(error=error))
    return found
