"""Open interest made up for tests."""

from __future__ import annotations

from services.core.records import ContractInterest, OpenInterest
from services.oi.venues import Found

NOW = 1_732_000_000_000
PRICE = 2.0


def sample(exchange: str, coins: float, age_ms: int = 0, **contracts: float) -> OpenInterest:
    """One venue's value of BTC; `contracts`: coins of each of its perpetuals."""
    return OpenInterest(
        exchange=exchange, base="BTC", ts_ms=NOW - age_ms, coins=float(coins),
        usd=coins * PRICE, price=PRICE, raw=float(coins), unit="base",
        contracts=[contract(name, value, age_ms) for name, value in contracts.items()],
    )  # fmt: skip


def contract(name: str, coins: float, age_ms: int = 0) -> ContractInterest:
    return ContractInterest(
        contract=name, linear=True, ts_ms=NOW - age_ms, coins=float(coins),
        usd=coins * PRICE, price=PRICE, raw=float(coins), unit="base",
    )  # fmt: skip


def found(*bases: str, age_ms: int = 0, **coins: float) -> Found:
    """A poll for `bases` (BTC if none) that brought one contract of each base in `coins`."""
    answer = Found(bases or ("BTC",))
    for base, value in coins.items():
        answer.listed.add(base)
        answer.contracts[base] = [contract(f"{base}USDT", value, age_ms)]
    return answer
