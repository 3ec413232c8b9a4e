"""Tells Redis what has happened, until Redis has taken it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from logging import getLogger

import msgspec

from aggr_server.log import kv
from services.core.records import Fill, Heartbeat, Signal
from squeezeflow import fills, ledger
from squeezeflow.alarms import Alarms
from squeezeflow.desk import Desk
from squeezeflow.gatekeeper import Gatekeeper
from squeezeflow.lease import Lease
from squeezeflow.link import Link, RedisAway

SERVICE = "freqtrade"
HEARTBEAT_EVERY_S = 5.0
LEDGER_CHECK_EVERY_S = 30.0

_log = getLogger(__name__)


class Teller:
    """Fills, refusals, alerts and signs of life."""

    def __init__(
        self,
        link: Link,
        desk: Desk,
        lease: Lease,
        alarms: Alarms,
        *,
        dry_run: bool,
        now_ms: Callable[[], int],
    ) -> None:
        self._link = link
        self._desk = desk
        self._lease = lease
        self._alarms = alarms
        self._dry_run = dry_run
        self._now_ms = now_ms
        self._ledger_due = 0.0
        self._beat_due = 0.0
        self._undelivered = 0

    def trade_changed(self) -> None:
        """Look into the database at the next `tell`."""
        self._ledger_due = 0.0

    def beat_soon(self) -> None:
        """Something the operator waits for has changed."""
        self._beat_due = 0.0

    def tell(self) -> None:
        """Tell everything that waits; what Redis does not take waits on."""
        self._settle_claims()
        try:
            for fill in self._desk.refusals():
                self._link.refuse(self._marked(fill), self._lease)
                self._desk.reported(fill)
            for alert in self._alarms.waiting():
                self._link.alert(alert)
                self._alarms.told(alert)
            if time.monotonic() >= self._ledger_due:
                self._tell_trades()
                self._ledger_due = time.monotonic() + LEDGER_CHECK_EVERY_S
        except RedisAway:
            self._ledger_due = 0.0

    def beat(self, gate: Gatekeeper, worked_s: float) -> None:
        """Show a sign of life every few seconds. `worked_s`: what the last turn took."""
        if time.monotonic() < self._beat_due:
            return
        self._beat_due = time.monotonic() + HEARTBEAT_EVERY_S
        switch = gate.halts.current
        heartbeat = Heartbeat(
            service=self._service,
            ts_ms=self._now_ms(),
            pid=os.getpid(),
            cycle_ms=worked_s * 1000,
            status=self._status(gate),
            details={
                "open_trades": len(ledger.open_tags()),
                "dry_run": self._dry_run,
                "executor": self._lease.owner,
                "lease": self._lease.token,
                "halted": switch.halted,
                "halt_ts_ms": switch.ts_ms,
            },
        )
        try:
            self._link.beat(heartbeat)
        except RedisAway:
            self._beat_due = 0.0

    @property
    def _service(self) -> str:
        # One that may not enter does not speak for the one that may.
        return f"{SERVICE}-{self._lease.owner[:8]}" if self._lease.other else SERVICE

    def _status(self, gate: Gatekeeper) -> str:
        waiting = self._undelivered + len(self._desk.refusals())
        problems = (
            self._lease.problem,
            gate.closed,
            f"{waiting} fills not told yet" if waiting else "",
        )
        return "; ".join(filter(None, problems)) or "ok"

    def _tell_trades(self) -> None:
        waiting = list(ledger.undelivered())
        self._undelivered = len(waiting)
        for trade, key, fill in waiting:
            counter = "signals_executed" if fill.event == "opened" else None
            ledger.mark(trade, key, self._link.send(self._marked(fill), counter=counter))
            self._undelivered -= 1
            _log.info("fill told %s", kv(event=fill.event, id=fill.signal_id, trade=fill.trade_id))

    def _marked(self, fill: Fill) -> Fill:
        return msgspec.structs.replace(fill, dry_run=self._dry_run)

    def _settle_claims(self) -> None:
        for signal in self._desk.unsettled(self._now_ms()):
            trade = ledger.trade_of(signal.signal_id)
            if trade is not None and trade.amount <= 0:
                continue  # the order is still open
            if trade is None and not self._tell_failed(signal):
                continue
            self._desk.settle(signal.signal_id)

    def _tell_failed(self, signal: Signal) -> bool:
        try:
            self._link.send(self._marked(fills.rejected(signal, "not_filled", self._now_ms())))
        except RedisAway:
            return False
        if not self._dry_run:
            _log.error(
                "order without a trade: look at the exchange whether a position is open %s",
                kv(id=signal.signal_id, pair=signal.pair),
            )
        return True
