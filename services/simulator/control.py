"""The simulator's own HTTP interface: health, status, ledger, faults."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Hub
from services.simulator.fault_check import check
from services.simulator.fault_plan import FaultPlan, Refusal
from services.simulator.faults import Faults
from services.simulator.instruments import Trade
from services.simulator.market import Market
from services.simulator.stream import Stream
from services.simulator.venues import Venue
from services.simulator.venues.base import json_response

MAX_LEDGER_S = 3600
_EXAMPLE = '{"faults": [{"fault": "mute", "markets": ["EXCHANGE:symbol"]}]}'


class Control:
    """Routes under `/control`, and `/health`."""

    def __init__(
        self,
        market: Market,
        hub: Hub,
        venues: tuple[Venue, ...],
        stream: Stream,
        faults: Faults,
    ) -> None:
        self._market = market
        self._hub = hub
        self.venues = venues
        self._stream = stream
        self._faults = faults
        self.ready = False

    def routes(self) -> list[web.RouteDef]:
        """What a caller may ask."""
        return [
            web.get("/health", self._health),
            web.get("/control/status", self._status),
            web.get("/control/ledger", self._ledger),
            web.post("/control/faults", self._set_faults),
        ]

    def channels(self) -> dict[str, str]:
        """Market id -> channel of its trades in the hub."""
        return {i.market: v.channel(i) for v in self.venues for i in v.instruments}

    async def _health(self, _: web.Request) -> web.Response:
        live = self.ready and self._stream.second is not None
        if self._stream.stalled:
            return json_response({"status": "stalled"}, 503)
        return json_response({"status": "ok" if live else "starting"}, 200 if live else 503)

    async def _status(self, _: web.Request) -> web.Response:
        market = self._market
        body: dict[str, Any] = {
            "seed": market.seed,
            "live_from": market.live_from,
            "ready": self.ready,
            "second": self._stream.second,
            "clients": len(self._hub.clients),
            "subscribed": [m for m, c in self.channels().items() if self._hub.heard(c)],
            "markets": list(market.instruments),
            "trades_sent": self._stream.sent,
            "worst_lag_ms": self._stream.worst_lag_ms,
            "faults": self._faults.plan,
            "symbols": {},
        }
        if market.live_from is not None:
            now = market.relative()
            for base, path in market.model.paths.items():
                here, coming = path.script.at(now), path.script.next_trigger(now)
                body["symbols"][base] = {
                    "phase": here.step.name,
                    "plot": here.plot,
                    "direction": here.direction,
                    "phase_ends": here.end + market.live_from,
                    "next_entry": coming.start + market.live_from,
                    "next_direction": coming.direction,
                }
        return json_response(body)

    async def _ledger(self, request: web.Request) -> web.Response:
        try:
            start, end = (int(request.query[name]) for name in ("from", "to"))
        except (KeyError, ValueError):
            return _refused("give from and to in whole UTC seconds: /control/ledger?from=..&to=..")
        if not 0 < end - start <= MAX_LEDGER_S:
            return _refused(f"to must lie after from, by at most {MAX_LEDGER_S} s")
        # A trade that has been made but not happened yet is nobody's business.
        end = min(end, self._market.clock() // 1000)
        markets: dict[str, list[dict[str, Any]]] = {m: [] for m in self._market.instruments}
        for trade in self._market.ledger.trades(start, end):
            rows = markets[trade.instrument.market]
            rows.append(_row(trade, liquidation=False))
            if trade.liquidation:
                rows.append(_row(trade, liquidation=True))
        uncertain = self._market.ledger.uncertain(start, end)
        return json_response({"from": start, "to": end, "uncertain": uncertain, "markets": markets})

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            plan = msgspec.json.decode(await request.read(), type=FaultPlan)
        except msgspec.DecodeError as error:
            return _refused(f"{error}. Expected, for example, {_EXAMPLE}")
        try:
            check(plan, self.venues)
        except Refusal as refusal:
            return _refused(str(refusal))
        self._faults.put(plan)
        return json_response(self._faults.plan)


def _row(trade: Trade, *, liquidation: bool) -> dict[str, Any]:
    return {
        "ts_ms": trade.ts_ms, "side": "buy" if trade.buy else "sell", "price": trade.price,
        "size_base": trade.size_base, "notional": trade.notional, "id": trade.id,
        "liquidation": liquidation,
    }  # fmt: skip


def _refused(reason: str) -> web.Response:
    return json_response({"error": reason}, 400)
