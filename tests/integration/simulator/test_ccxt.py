"""ccxt's own clients, with every address led through the gateway."""

from __future__ import annotations

from typing import Any

import ccxt.async_support as ccxt
import pytest

from .conftest import Simulation

VENUES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "binance": ("binanceusdm", "", {"fetchMarkets": {"types": ["linear"]}}),
    "bybit": ("bybit", "bybit.com", {}),
    "okx": ("okx", "www.okx.com", {}),
}


def redirected(value: Any, gateway: str) -> Any:
    if isinstance(value, dict):
        return {key: redirected(part, gateway) for key, part in value.items()}
    return value.replace("https://", gateway) if isinstance(value, str) else value


@pytest.mark.parametrize("name", VENUES)
async def test_markets_load_and_open_interest_is_found(simulation: Simulation, name: str) -> None:
    await simulation.trade()
    class_name, _, options = VENUES[name]
    exchange = getattr(ccxt, class_name)({"options": options, "enableRateLimit": False})
    exchange.urls["api"] = redirected(exchange.urls["api"], simulation.url(""))
    try:
        markets = await exchange.load_markets()
        assert {"BTC/USDT:USDT", "ETH/USDT:USDT"} <= set(markets)
        for base in ("BTC", "ETH"):
            found = await exchange.fetch_open_interest(f"{base}/USDT:USDT")
            instrument = next(
                i
                for i in simulation.market.instruments.values()
                if i.base == base and i.kind == "perp" and name in _names(i.exchange)
            )
            # ccxt passes on what the venue publishes: both sides on one of them, contracts never.
            coins = simulation.market.open_interest(instrument)
            factor = instrument.oi_factor if instrument.oi_unit == "base" else 1.0
            amount = found["openInterestAmount"]
            if instrument.oi_unit == "contracts":
                amount = float(found["info"]["oiCcy"])
            assert float(amount) == pytest.approx(coins * factor, rel=0.02)
    finally:
        await exchange.close()


def _names(exchange: str) -> str:
    return {"BINANCE_FUTURES": "binance", "BYBIT": "bybit", "OKEX": "okx"}.get(exchange, "")
