"""Executes the signals of strategy-runner: each at most once, every exit it is asked for."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from logging import getLogger
from pathlib import Path
from typing import Any

from freqtrade.strategy import IStrategy
from pandas import DataFrame

from aggr_server.env import load
from aggr_server.log import kv
from services.core.halt import HaltMemory
from services.core.settings import ExecutorSettings
from squeezeflow import ledger, protections, rules
from squeezeflow.alarms import Alarms
from squeezeflow.daily import DailyLoss
from squeezeflow.desk import Desk
from squeezeflow.gatekeeper import Engine, Gatekeeper
from squeezeflow.guards import AUTO_LOCK
from squeezeflow.lease import Answer, Lease, owner_of
from squeezeflow.link import Link, NotHolder, RedisAway
from squeezeflow.teller import Teller
from squeezeflow.venue import Watch, resting_stops

LONGEST_WAIT_S = 1.0
HALT_FILE = "halt.json"

_log = getLogger(__name__)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class SqueezeFlowExecutor(IStrategy):  # type: ignore[misc]
    """No indicator and no opinion: signals come in through Redis, fills go out through it.

    The signal keys are read once per turn of the loop. A message on the signals channel only ends
    the wait between two turns, so losing one costs a second at most.
    """

    INTERFACE_VERSION = 3
    can_short = True
    timeframe = "1m"
    startup_candle_count = 0
    process_only_new_candles = False
    position_adjustment_enable = False
    minimal_roi = {"0": 100}  # noqa: RUF012  off
    stoploss = -0.99
    use_custom_stoploss = True
    use_exit_signal = True

    @property
    def protections(self) -> list[dict[str, Any]]:
        """freqtrade's locks on entries after losses."""
        return protections.chosen(load(ExecutorSettings))

    def bot_start(self, **kwargs: Any) -> None:
        """Connect. Trades that an earlier process left untold are told on the first turn."""
        self._settings = load(ExecutorSettings)
        dry_run, folder = bool(self.config["dry_run"]), Path(self.config["user_data_dir"])
        self._link = Link(self._settings)
        self._lease = Lease(owner_of(folder))
        self._alarms = Alarms()
        self._gate = Gatekeeper(
            ledger,
            self._engine(),
            halts=HaltMemory(folder / HALT_FILE),
            daily=DailyLoss(ledger, self._settings.freqtrade_max_daily_loss),
            alarms=self._alarms,
            venue=None if dry_run else self._watch(),
            now_ms=_now_ms,
        )
        self._desk = Desk(dry_run=dry_run, blocked=self._gate.reason)
        self._teller = Teller(
            self._link, self._desk, self._lease, self._alarms, dry_run=dry_run, now_ms=_now_ms
        )
        self._unlock = True
        self._is_protected = True
        self._turn_began = time.monotonic()

    def _engine(self) -> Engine:
        return Engine(
            max_open_trades=float(self.config["max_open_trades"]),
            balance=lambda: float(self.wallets.get_total(self.config["stake_currency"])),
            is_closing=lambda pair, tag: self._desk.exit(pair, tag) is not None,
            lock=lambda until, reason: self.lock_pair("*", until, reason),
        )

    def _watch(self) -> Watch:
        exchange = self.dp._exchange
        watch = Watch(
            exchange,
            stops_rest=bool(self.order_types.get("stoploss_on_exchange")),
            stops=lambda: resting_stops(exchange, self.dp.current_whitelist()),
        )
        watch.start()
        return watch

    def bot_loop_start(self, current_time: datetime, **kwargs: Any) -> None:
        """Tell what happened, wait for a signal (a second at most), read all signals."""
        try:
            self._report(time.monotonic() - self._turn_began)
        except Exception:  # noqa: BLE001  exits must be read, whatever fails before
            _log.exception("state not looked at or not told, trying again")
        # The stop of a new trade is placed in this turn, so the turn comes at once.
        self._link.wait(LONGEST_WAIT_S if self._is_protected else 0.0)
        self._is_protected = True
        self._turn_began = time.monotonic()
        self._read()

    def _report(self, worked_s: float) -> None:
        if self._unlock:
            # freqtrade locks a pair until the candle ends after every exit. When to enter again is
            # for the strategy to say, and each signal is executed only once.
            self._unlock = False
            self.unlock_reason(AUTO_LOCK)
        self._gate.look()
        self._teller.tell()
        self._teller.beat(self._gate, worked_s)

    def _read(self) -> None:
        trades = ledger.open_tags()
        pairs = dict.fromkeys([*self.dp.current_whitelist(), *trades])
        markets = {pair: symbol for pair in pairs if (symbol := self._symbol(pair))}
        try:
            seen, answer = self._link.turn(self._lease, list(markets.values()))
        except RedisAway:
            self._desk.keep_exits_only()
            return
        self._note_lease(answer)
        self._note_halt(seen.halt)
        self._desk.take(markets, seen.signals, trades, _now_ms(), entries=self._lease.held)

    def _note_lease(self, answer: Answer) -> None:
        if not self._lease.answered(answer):
            return
        self._teller.beat_soon()
        if self._lease.other:
            text = f"{self._lease.problem}: stop one of the two, this one enters nothing"
            self._alarms.say("critical", "second_executor", text, _now_ms())
        elif self._lease.held:
            self._alarms.over("second_executor", _now_ms())
            _log.info("entries are for this executor %s", kv(lease=self._lease.value))

    def _note_halt(self, raw: bytes | None) -> None:
        if self._gate.learn(raw):
            self._teller.beat_soon()
        if (value := self._gate.halts.restored(raw)) is not None:
            with suppress(RedisAway):  # it is tried again next turn
                self._link.restore_halt(raw, value)

    def _symbol(self, pair: str) -> str:
        market = self.dp.market(pair)
        return f"{market['base']}{market['quote']}".upper() if market else ""

    def populate_indicators(self, dataframe: DataFrame, metadata: dict[str, Any]) -> DataFrame:
        """None: candles decide nothing."""
        return dataframe

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict[str, Any]) -> DataFrame:
        """Mark the last candle when there is a signal to enter on."""
        signal = self._desk.entry(metadata["pair"], _now_ms())
        if signal is not None and len(dataframe):
            column = "enter_long" if signal.action == "LONG" else "enter_short"
            last = dataframe.index[-1]
            dataframe.loc[last, column] = 1
            dataframe.loc[last, "enter_tag"] = rules.entry_tag(signal.signal_id)
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict[str, Any]) -> DataFrame:
        """None: exits are asked for trade by trade in `custom_exit`."""
        return dataframe

    def custom_stake_amount(
        self,
        pair: str,
        current_time: datetime,
        current_rate: float,
        proposed_stake: float,
        min_stake: float | None,
        max_stake: float,
        leverage: float,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> float:
        """Margin of a new trade; 0, which means no trade, without the signal of this tag."""
        try:
            signal = self._desk.entry_of(pair, entry_tag)
            if signal is None:
                return 0.0
            risk_frac = self._settings.freqtrade_risk_frac
            equity = self.wallets.get_total_stake_amount() if risk_frac else 0.0
            bearable = rules.largest_at_risk(signal, leverage, equity, risk_frac)
            return rules.stake(signal, proposed_stake, min_stake, min(max_stake, bearable))
        except Exception:  # noqa: BLE001  freqtrade would take the proposed stake
            _log.exception("stake cannot be determined %s", kv(pair=pair, tag=entry_tag))
            return 0.0

    def leverage(
        self,
        pair: str,
        current_time: datetime,
        current_rate: float,
        proposed_leverage: float,
        max_leverage: float,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> float:
        """The signal's leverage, capped; 1 without the signal of this tag."""
        signal = self._desk.entry_of(pair, entry_tag)
        if signal is None:
            return 1.0
        return rules.leverage(signal, self._settings.freqtrade_max_leverage, max_leverage)

    def confirm_trade_entry(
        self,
        pair: str,
        order_type: str,
        amount: float,
        rate: float,
        time_in_force: str,
        current_time: datetime,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> bool:
        """The last gate before the order: true at most once for a signal."""
        try:
            return self._confirmed(pair, rate, entry_tag, side)
        except (RedisAway, NotHolder) as error:
            _log.warning("entry not confirmed %s", kv(pair=pair, tag=entry_tag, error=error))
        except Exception:  # noqa: BLE001  freqtrade takes an exception here as a yes
            _log.exception("entry not confirmed %s", kv(pair=pair, tag=entry_tag))
        return False

    def _confirmed(self, pair: str, rate: float, tag: str | None, side: str) -> bool:
        signal_id, symbol = rules.signal_id_of(tag), self._symbol(pair)
        if signal_id is None:
            _log.warning("entry without a signal refused %s", kv(pair=pair, tag=tag))
            return False
        seen = self._link.look(symbol)
        self._note_halt(seen.halt)
        (raw,) = seen.signals
        signal = rules.decode(raw) if raw else None
        now_ms = _now_ms()
        if signal is None or signal.signal_id != signal_id:
            return False
        if not self._desk.may_enter(signal, now_ms):
            return False
        reason = self._desk.gate(
            signal, symbol=symbol, pair=pair, side=side, rate=rate, now_ms=now_ms
        )
        if reason is not None:
            self._desk.refuse(signal, reason, now_ms)
            return False
        if ledger.has_trade(signal_id) or not self._link.claim(signal_id, self._lease):
            self._desk.finish(signal_id)
            _log.warning("signal was executed before %s", kv(id=signal_id, pair=pair))
            return False
        self._desk.claimed(signal, now_ms)
        return True

    def order_filled(
        self, pair: str, trade: Any, order: Any, current_time: datetime, **kwargs: Any
    ) -> None:
        """Keep the stop with the trade; the fill itself is told from the database, next turn."""
        self._teller.trade_changed()
        if order.ft_order_side != trade.entry_side:
            self._unlock = True
            return
        self._is_protected = False
        signal_id = rules.signal_id_of(trade.enter_tag)
        signal = self._desk.claim_of(signal_id) if signal_id else None
        if signal is not None and signal_id is not None:
            ledger.keep_stop(trade, signal.stop_price)
            self._desk.settle(signal_id)

    def custom_exit(
        self,
        pair: str,
        trade: Any,
        current_time: datetime,
        current_rate: float,
        current_profit: float,
        **kwargs: Any,
    ) -> str | None:
        """The reason to close, when a CLOSE signal names the signal of this trade as its parent."""
        self._gate.mark(trade.id, float(trade.calc_profit(current_rate)))
        signal = self._desk.exit(pair, trade.enter_tag)
        return rules.exit_tag(signal) if signal else None

    def custom_stoploss(
        self,
        pair: str,
        trade: Any,
        current_time: datetime,
        current_rate: float,
        current_profit: float,
        after_fill: bool,
        **kwargs: Any,
    ) -> float | None:
        """The signal's stop, at the same price for the whole life of the trade."""
        leverage = float(trade.leverage or 1.0)
        stop = ledger.kept_stop(trade)
        if stop is None:
            stop = rules.fallback_stop(trade.open_rate, trade.is_short, leverage)
        if not stop:
            return None
        if not after_fill and rules.stop_is_set(trade.stop_loss, stop, trade.is_short):
            return None
        return rules.stop_ratio(stop, current_rate, trade.is_short, leverage)
