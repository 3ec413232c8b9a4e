"""Positions, outcomes and money as freqtrade has them, and the kill switch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.core import halt, names
from services.core.records import Halt
from services.dashboard.audience import Audience
from services.dashboard.protocol import TradeRow, Trades
from services.dashboard.trouble import Troubles
from services.freqtrade_client import (
    PAGE,
    FreqtradeClient,
    FreqtradeRefused,
    FreqtradeUnreachable,
    ShowConfig,
    Trade,
)
from services.market.symbols import base_of_pair, symbol_of
from services.trading.reconcile import TAG

CLOSED_SHOWN = 50
BALANCE_EVERY_S = 30.0
CLOSED_EVERY_S = 60.0

_DAY_MS = 86_400_000


class Account:
    """Asked only while somebody looks. What freqtrade does not tell is not shown as known."""

    every_s = 3.0

    def __init__(
        self,
        audience: Audience,
        freqtrade: FreqtradeClient,
        redis: Redis,
        troubles: Troubles,
        now_ms: Callable[[], int],
    ) -> None:
        self._audience = audience
        self._freqtrade = freqtrade
        self._redis = redis
        self._troubles = troubles
        self._now_ms = now_ms
        self._config: ShowConfig | None = None
        self._equity: float | None = None
        self._balance_due = 0.0
        self._closed_due = 0.0
        self._closed: list[Trade] = []
        self._closed_known = False
        self._open: list[Trade] = []
        self._shown: Trades | None = None

    @property
    def real_money(self) -> bool | None:
        """Whether freqtrade trades with it; None if that is not known."""
        return None if self._config is None else not self._config.dry_run

    def rows(self, symbol: str) -> list[TradeRow]:
        """All trades of a symbol that are known, oldest first."""
        trades = (*self._closed, *self._open)
        return [row for trade in trades if (row := row_of(trade)).symbol == symbol]

    async def round(self) -> None:
        """Ask once."""
        switch = await self._switch()
        halted = None if switch is None else switch.halted
        reason = "" if switch is None else halt.describe(switch)
        try:
            await self._ask()
        except (FreqtradeUnreachable, FreqtradeRefused) as error:
            self._config = None
            self._balance_due = self._closed_due = 0.0
            self._troubles.note("freqtrade", "trades", error)
            known = self._shown or self._block()
            shown = replace(known, problem=str(error), halted=halted, halted_reason=reason)
        else:
            self._troubles.note("freqtrade", "trades", None)
            shown = self._shown = replace(self._block(), halted=halted, halted_reason=reason)
        self._audience.show(shown)

    def _block(self) -> Trades:
        today_ms = self._now_ms() // _DAY_MS * _DAY_MS
        return Trades(
            ts_ms=self._now_ms(),
            problem="",
            open=[row_of(trade) for trade in self._open],
            closed=[row_of(trade) for trade in self._closed[-CLOSED_SHOWN:][::-1]],
            currency="" if self._config is None else self._config.stake_currency,
            equity=self._equity,
            profit_today=profit_since(self._closed, today_ms) if self._closed_known else None,
            halted=None,
            halted_reason="",
            real_money=self.real_money,
        )

    async def _ask(self) -> None:
        now = time.monotonic()
        if self._config is None:
            self._config = await self._freqtrade.show_config()
        before = {trade.trade_id for trade in self._open}
        self._open = await self._freqtrade.status()
        gone = before - {trade.trade_id for trade in self._open}
        if gone or now >= self._closed_due:
            self._closed = await self._freqtrade.trades()
            self._closed_known = True
            self._closed_due = now + CLOSED_EVERY_S
        if now >= self._balance_due:
            self._equity = (await self._freqtrade.balance()).total
            self._balance_due = now + BALANCE_EVERY_S

    async def _switch(self) -> Halt | None:
        """The kill switch; None if Redis does not tell. One that was never set does not halt."""
        try:
            raw: bytes | None = await self._redis.get(names.HALT)  # type: ignore[assignment]
        except RedisError as error:
            self._troubles.note("Redis", "halt", error)
            return None
        self._troubles.note("Redis", "halt", None)
        return halt.NEVER_SET if raw is None else halt.decode(raw, self._now_ms())


def row_of(trade: Trade) -> TradeRow:
    """A trade as the page has it."""
    profit = trade.profit_abs if trade.is_open else trade.close_profit_abs
    ratio = trade.profit_ratio if trade.is_open else trade.close_profit
    return TradeRow(
        trade_id=trade.trade_id,
        symbol=_symbol(trade.pair),
        side="short" if trade.is_short else "long",
        leverage=trade.leverage or 1.0,
        stake=trade.stake_amount,
        amount=trade.amount,
        opened_ms=trade.open_fill_timestamp or trade.open_timestamp,
        open_rate=trade.open_rate,
        closed_ms=trade.close_timestamp,
        close_rate=trade.close_rate,
        current_rate=trade.current_rate if trade.is_open else None,
        stop_rate=trade.stop_loss_abs,
        profit=profit,
        profit_ratio=ratio,
        exit_reason=trade.exit_reason or "",
        signal_id=_signal_id(trade),
    )


def profit_since(closed: Sequence[Trade], since_ms: int) -> float | None:
    """Net profit of the trades closed since then; None if the list does not reach back so far."""
    profits = [
        trade.close_profit_abs for trade in closed if (trade.close_timestamp or 0) >= since_ms
    ]
    if len(profits) == len(closed) >= PAGE or None in profits:
        return None
    return sum(profit for profit in profits if profit is not None)


def _symbol(pair: str) -> str:
    try:
        return symbol_of(base_of_pair(pair))
    except ValueError:
        return pair


def _signal_id(trade: Trade) -> str:
    tag = trade.enter_tag or ""
    return tag.removeprefix(TAG) if tag.startswith(TAG) else ""
