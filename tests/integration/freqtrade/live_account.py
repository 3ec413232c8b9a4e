"""A USD-M futures account: balance, positions, orders and stops, at the exchange's price."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

FEE = Decimal("0.0005")
MAX_LEVERAGE = 125
Query = Mapping[str, str]


class Refusal(Exception):
    """What the exchange answers instead of obeying: HTTP status, its own code, its words."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


@dataclass(slots=True)
class Position:
    """`amount`: base coins, negative when short. `entry`: average price."""

    amount: Decimal = Decimal(0)
    entry: Decimal = Decimal(0)


@dataclass
class Account:
    """State behind the private API. Amounts in base coins, money in USDT."""

    prices: dict[str, float]
    tick: Decimal
    wallet: Decimal = Decimal(1000)
    leverage: dict[str, int] = field(default_factory=dict)
    margin_type: dict[str, str] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    stops: dict[int, dict[str, Any]] = field(default_factory=dict)
    fills: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ids = itertools.count(1_000_001)

    def order(self, query: Query) -> dict[str, Any]:
        """POST /fapi/v1/order. Raises `Refusal`."""
        if query["type"] != "MARKET":
            # Conditional types left this address in December 2025.
            raise Refusal(-4120, "Order type not supported for this endpoint.")
        order = self._record(query)
        self._execute(order, reduce_only=query.get("reduceOnly", "").lower() == "true")
        self.orders[order["orderId"]] = order
        return order

    def stop(self, query: Query) -> dict[str, Any]:
        """POST /fapi/v1/algoOrder. Raises `Refusal`."""
        if query.get("algoType") != "CONDITIONAL" or query["type"] != "STOP_MARKET":
            raise Refusal(-1116, "Invalid orderType.")
        trigger, price = Decimal(query["triggerPrice"]), self._price(query["symbol"])
        if trigger % self.tick:
            raise Refusal(-4014, "Price not increased by tick size.")
        if price <= trigger if query["side"] == "SELL" else price >= trigger:
            raise Refusal(-2021, "Order would immediately trigger.")
        now = now_ms()
        stop: dict[str, Any] = {
            "algoId": next(self._ids),
            "clientAlgoId": query["clientAlgoId"],
            "algoType": "CONDITIONAL",
            "orderType": query["type"],
            "symbol": query["symbol"],
            "side": query["side"],
            "positionSide": "BOTH",
            "timeInForce": "GTC",
            "quantity": query["quantity"],
            "algoStatus": "NEW",
            "triggerPrice": query["triggerPrice"],
            "price": "0",
            "workingType": query.get("workingType", "CONTRACT_PRICE"),
            "closePosition": False,
            "reduceOnly": query.get("reduceOnly", "").lower() == "true",
            "createTime": now,
            "updateTime": now,
            "triggerTime": 0,
            "actualOrderId": "",
        }
        self.stops[stop["algoId"]] = stop
        return stop

    def cancel_stop(self, query: Query) -> dict[str, Any]:
        """DELETE /fapi/v1/algoOrder. Raises `Refusal`."""
        stop = self.stops.get(int(query["algoId"]))
        if stop is None or stop["algoStatus"] != "NEW":
            raise Refusal(-2011, "Unknown order sent.")
        stop.update(algoStatus="CANCELED", updateTime=now_ms())
        client_id = stop["clientAlgoId"]
        return {
            "algoId": stop["algoId"],
            "clientAlgoId": client_id,
            "code": "200",
            "msg": "success",
        }

    def cancel_order(self, query: Query) -> dict[str, Any]:
        """DELETE /fapi/v1/order: market orders never rest. Raises `Refusal`."""
        raise Refusal(-2011, "Unknown order sent.")

    def found(self, query: Query) -> dict[str, Any]:
        """GET /fapi/v1/order. Raises `Refusal`."""
        return _known(self.orders, query["orderId"])

    def found_stop(self, query: Query) -> dict[str, Any]:
        """GET /fapi/v1/algoOrder. Raises `Refusal`."""
        return _known(self.stops, query["algoId"])

    def open_stops(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Stops that rest on the exchange, oldest first."""
        return [
            stop
            for stop in self.stops.values()
            if stop["algoStatus"] == "NEW" and symbol in (None, stop["symbol"])
        ]

    def trigger(self) -> None:
        """Execute the stops whose price has been reached."""
        for stop in self.open_stops():
            price, at = self._price(stop["symbol"]), Decimal(stop["triggerPrice"])
            if price <= at if stop["side"] == "SELL" else price >= at:
                order = self._record({**stop, "type": "MARKET", "newClientOrderId": "autoclose"})
                try:
                    self._execute(order, reduce_only=stop["reduceOnly"])
                except Refusal:
                    stop.update(algoStatus="EXPIRED", updateTime=now_ms())
                    continue
                self.orders[order["orderId"]] = order
                stop.update(
                    algoStatus="FINISHED",
                    actualOrderId=str(order["orderId"]),
                    triggerTime=now_ms(),
                    updateTime=now_ms(),
                )

    def set_leverage(self, query: Query) -> dict[str, Any]:
        """POST /fapi/v1/leverage. Raises `Refusal`."""
        leverage = int(query["leverage"])
        if not 1 <= leverage <= MAX_LEVERAGE:
            raise Refusal(-4028, f"Leverage {leverage} is not valid")
        self.leverage[query["symbol"]] = leverage
        return {
            "symbol": query["symbol"],
            "leverage": leverage,
            "maxNotionalValue": "1000000",
        }

    def set_margin_type(self, query: Query) -> dict[str, Any]:
        """POST /fapi/v1/marginType. Raises `Refusal`."""
        symbol, wanted = query["symbol"], query["marginType"]
        if self.margin_type.get(symbol, "CROSSED") == wanted:
            raise Refusal(-4046, "No need to change margin type.")
        if self.positions.get(symbol, Position()).amount:
            raise Refusal(-4048, "Margin type cannot be changed if there exists position.")
        self.margin_type[symbol] = wanted
        return {"code": 200, "msg": "success"}

    def overview(self) -> dict[str, Any]:
        """GET /fapi/v3/account."""
        margin, profit = self._margin(), self._profit()
        free = self.wallet + profit - margin
        asset = {
            "asset": "USDT",
            "walletBalance": _text(self.wallet),
            "unrealizedProfit": _text(profit),
            "marginBalance": _text(self.wallet + profit),
            "initialMargin": _text(margin),
            "availableBalance": _text(free),
            "maxWithdrawAmount": _text(free),
            "updateTime": now_ms(),
        }
        return {"availableBalance": _text(free), "assets": [asset], "positions": []}

    def risks(self) -> list[dict[str, Any]]:
        """GET /fapi/v3/positionRisk: symbols with a position only; no leverage, no margin type."""
        return [self._risk(symbol, p) for symbol, p in self.positions.items() if p.amount]

    def _risk(self, symbol: str, position: Position) -> dict[str, Any]:
        mark = Decimal(str(self.prices[symbol]))
        notional = position.amount * mark
        margin = _text(abs(notional) / self.leverage.get(symbol, 20))
        return {
            "symbol": symbol,
            "positionSide": "BOTH",
            "positionAmt": str(position.amount),
            "entryPrice": _text(position.entry),
            "markPrice": _text(mark),
            "unRealizedProfit": _text(position.amount * (mark - position.entry)),
            "liquidationPrice": "0",
            "isolatedMargin": margin,
            "notional": _text(notional),
            "marginAsset": "USDT",
            "isolatedWallet": margin,
            "initialMargin": margin,
            "maintMargin": _text(abs(notional) * Decimal("0.004")),
            "updateTime": now_ms(),
        }

    def _execute(self, order: dict[str, Any], *, reduce_only: bool) -> None:
        symbol, quantity = order["symbol"], Decimal(order["origQty"])
        signed = quantity if order["side"] == "BUY" else -quantity
        position = self.positions.setdefault(symbol, Position())
        closing = position.amount * signed < 0
        if reduce_only:
            if not closing:
                raise Refusal(-2022, "ReduceOnly Order is rejected.")
            signed = max(signed, -position.amount) if signed < 0 else min(signed, -position.amount)
        price = self._price(symbol) + (self.tick if signed > 0 else 0)
        cost = abs(signed) * price
        if not closing and cost / self.leverage.get(symbol, 20) > self._free():
            raise Refusal(-2019, "Margin is insufficient.")
        self._book(position, signed, price, order)
        order.update(
            status="FILLED",
            executedQty=str(abs(signed)),
            avgPrice=_text(price),
            cumQuote=_text(cost),
        )

    def _book(
        self, position: Position, signed: Decimal, price: Decimal, order: dict[str, Any]
    ) -> None:
        """Change a position by a fill at `price`, and record it."""
        profit, before = Decimal(0), position.amount
        if before * signed < 0:
            closed = min(abs(before), abs(signed)).copy_sign(before)
            profit = closed * (price - position.entry)
        after = before + signed
        if before * signed >= 0:
            position.entry = (before * position.entry + signed * price) / after
        elif before * after < 0:
            position.entry = price
        position.amount = after
        commission = abs(signed) * price * FEE
        self.wallet += profit - commission
        self.fills.append(
            {
                "id": next(self._ids),
                "orderId": order["orderId"],
                "symbol": order["symbol"],
                "side": order["side"],
                "positionSide": "BOTH",
                "buyer": signed > 0,
                "maker": False,
                "price": _text(price),
                "qty": str(abs(signed)),
                "quoteQty": _text(abs(signed) * price),
                "realizedPnl": _text(profit),
                "commission": _text(commission),
                "commissionAsset": "USDT",
                "time": now_ms(),
            }
        )

    def _record(self, query: Mapping[str, Any]) -> dict[str, Any]:
        quantity = Decimal(query["quantity"])
        if quantity <= 0 or quantity % Decimal("0.001"):
            raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
        now = now_ms()
        return {
            "orderId": next(self._ids),
            "clientOrderId": query["newClientOrderId"],
            "symbol": query["symbol"],
            "side": query["side"],
            "positionSide": "BOTH",
            "type": query["type"],
            "origType": query["type"],
            "timeInForce": "GTC",
            "status": "NEW",
            "price": "0.00",
            "avgPrice": "0.00",
            "stopPrice": "0.00",
            "origQty": str(quantity),
            "executedQty": "0",
            "cumQuote": "0",
            "reduceOnly": query.get("reduceOnly") in (True, "true", "True"),
            "closePosition": False,
            "time": now,
            "updateTime": now,
        }

    def _price(self, symbol: str) -> Decimal:
        """The best bid."""
        return Decimal(str(self.prices[symbol])).quantize(self.tick)

    def _profit(self) -> Decimal:
        return sum(
            (
                p.amount * (Decimal(str(self.prices[s])) - p.entry)
                for s, p in self.positions.items()
            ),
            Decimal(0),
        )

    def _margin(self) -> Decimal:
        return sum(
            (abs(p.amount) * p.entry / self.leverage.get(s, 20) for s, p in self.positions.items()),
            Decimal(0),
        )

    def _free(self) -> Decimal:
        return self.wallet + self._profit() - self._margin()


def _known(orders: Mapping[int, dict[str, Any]], number: str) -> dict[str, Any]:
    order = orders.get(int(number))
    if order is None:
        raise Refusal(-2013, "Order does not exist.")
    return order


def _text(value: Decimal) -> str:
    return f"{value:.8f}"


def now_ms() -> int:
    """UTC in milliseconds."""
    return time.time_ns() // 1_000_000
