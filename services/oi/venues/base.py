"""What a venue's file works with: its facts, careful reading of answers, and what was found."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import ccxt

from aggr_server import clock
from services.core.records import ContractInterest, OpenInterestUnit

MAX_FUTURE_MS = 60_000
KEPT_S = 6 * 3600.0

Answer = Mapping[str, Any]

MULTIPLIERS: Mapping[str, int] = {
    "{}": 1,
    "1000{}": 1_000,
    "k{}": 1_000,
    "{}1000": 1_000,
    "10000{}": 10_000,
    "1000000{}": 1_000_000,
    "1M{}": 1_000_000,
}
"""How venues name a coin that they trade by the thousand: 1000PEPE, kPEPE, SHIB1000."""


class VenueError(Exception):
    """The venue did not answer, or answered something that cannot be used.

    `retry_after_s`: how long the venue wants to be left alone, 0 if it did not say.
    """

    def __init__(self, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Wanted(NamedTuple):
    """Which base symbol a contract belongs to. `multiplier`: coins in one of the contract's."""

    base: str
    multiplier: int


class Session:
    """One connection to a venue: `api` is the library's exchange."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self._kept: dict[str, tuple[float, Any]] = {}

    async def kept(self, key: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What `ask` answered, at most six hours ago: for what seldom changes, as contract sizes.

        Raises what `ask` raises.
        """
        asked, answer = self._kept.get(key, (-math.inf, None))
        if time.monotonic() - asked > KEPT_S:
            answer = await ask()
            self._kept[key] = (time.monotonic(), answer)
        return answer


class Found:
    """What one poll of a venue brought, for the base symbols in `bases`.

    `contracts`: perpetuals with open interest by base. `listed`: bases of which the venue has a
    perpetual. `problems`: bases whose answer cannot be used, and why.
    """

    def __init__(self, bases: Iterable[str]) -> None:
        self.bases = tuple(bases)
        self.contracts: dict[str, list[ContractInterest]] = {}
        self.listed: set[str] = set()
        self.problems: dict[str, str] = {}

    def names(self, *patterns: str) -> dict[str, Wanted]:
        """Contract names of the wanted bases, `{}` standing for the coin, as in `{}USDT`."""
        return {
            pattern.format(coin.format(base)): Wanted(base, multiplier)
            for base in self.bases
            for coin, multiplier in MULTIPLIERS.items()
            for pattern in patterns
        }

    @contextmanager
    def reading(self, base: str) -> Iterator[None]:
        """An answer that refuses or cannot be used is a problem of this base alone.

        A contract that the venue does not know, after all, is not listed.
        """
        try:
            yield
        except ccxt.BadSymbol:
            return
        except (VenueError, ccxt.ExchangeError) as error:
            self.problems[base] = short(error)
        self.listed.add(base)

    def linear(
        self,
        wanted: Wanted,
        contract: str,
        ts_ms: int,
        *,
        amount: float,
        price: float,
        raw: float | None = None,
        unit: OpenInterestUnit = "base",
    ) -> None:
        """Add a contract margined in dollars: `amount` of its coins on one side at `price` each."""
        self._add(
            wanted, contract, ts_ms, amount * wanted.multiplier, price / wanted.multiplier,
            amount if raw is None else raw, unit, linear=True,
        )  # fmt: skip

    def inverse(
        self,
        wanted: Wanted,
        contract: str,
        ts_ms: int,
        *,
        usd: float,
        price: float,
        raw: float | None = None,
        unit: OpenInterestUnit = "usd",
    ) -> None:
        """Add a contract margined in the coin: `usd` on one side, coins = usd / price."""
        self._add(
            wanted, contract, ts_ms, usd / price * wanted.multiplier, price / wanted.multiplier,
            usd if raw is None else raw, unit, linear=False,
        )  # fmt: skip

    def _add(
        self,
        wanted: Wanted,
        contract: str,
        ts_ms: int,
        coins: float,
        price: float,
        raw: float,
        unit: OpenInterestUnit,
        *,
        linear: bool,
    ) -> None:
        now = now_ms()
        if ts_ms > now + MAX_FUTURE_MS:
            ahead_s = (ts_ms - now) // 1000
            raise VenueError(f"time of {contract} lies {ahead_s} s in the future")
        if coins > 0:
            self.contracts.setdefault(wanted.base, []).append(
                ContractInterest(
                    contract=contract, linear=linear, ts_ms=ts_ms, coins=coins,
                    usd=coins * price, price=price, raw=raw, unit=unit,
                )
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Venue:
    """A venue's facts.

    `ccxt_id`: the library's name. `interval_s`: how often asking is worth while, by how often its
    figure changes, how large the answer is, and what its limits allow. `ask` fills a `Found`.
    `certain`: False while the unit of its figure rests on a single unconfirmed source.
    """

    name: str
    ccxt_id: str
    interval_s: int
    ask: Callable[[Session, Found], Awaitable[None]]
    certain: bool = True


def short(error: Exception) -> str:
    """An error in one line of bearable length."""
    text = " ".join(str(error).split())[:200]
    return text if isinstance(error, VenueError) else f"{type(error).__name__}: {text}"


def now_ms() -> int:
    """Time of an answer whose venue puts none in it."""
    return clock.now_ms()


def number(row: Any, key: str | int) -> float:
    """A positive number of an answer. Raises `VenueError`: nothing is ever assumed instead."""
    value = amount(row, key)
    if value == 0:
        raise VenueError(f"{key} is 0")
    return value


def amount(row: Any, key: str | int) -> float:
    """A number of an answer that may be 0. Raises `VenueError`."""
    try:
        value = float(row[key])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        given = row.get(key) if isinstance(row, Mapping) else None
        raise VenueError(f"{key} is missing or no number: {given!r}") from error
    if not math.isfinite(value) or value < 0:
        raise VenueError(f"{key} is {value}")
    return value


def time_ms(row: Any, key: str | int) -> int:
    """A time in milliseconds. Raises `VenueError`."""
    return int(number(row, key))


def iso_ms(row: Answer, key: str) -> int:
    """A time given as ISO-8601 text. Raises `VenueError`."""
    try:
        return int(datetime.fromisoformat(str(row[key])).timestamp() * 1000)
    except (KeyError, ValueError) as error:
        raise VenueError(f"{key} is missing or no time: {row.get(key)!r}") from error


def part(answer: Any, *keys: str) -> Any:
    """A value deep in an answer. Raises `VenueError` if it is not there."""
    value = answer
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            raise VenueError(f"{'.'.join(keys)} is missing in the answer")
        value = value[key]
    return value


def rows(answer: Any, *keys: str) -> list[Any]:
    """A list deep in an answer. Raises `VenueError` if there is none."""
    value = part(answer, *keys)
    if not isinstance(value, list):
        raise VenueError(f"{'.'.join(keys) or 'the answer'} is no list")
    return value


def by_name(found: Iterable[Any], key: str) -> dict[str, Answer]:
    """Rows of an answer by the name they bear; rows without one are left out."""
    return {str(row[key]): row for row in found if isinstance(row, Mapping) and row.get(key)}
