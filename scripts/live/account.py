"""The account at Binance, asked with the keys that will trade it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ccxt

CLOCK_SAMPLES = 6


class NotAnswered(Exception):
    """The exchange gave no usable answer; the text says what happened."""


class Rejected(NotAnswered):
    """The exchange knows no such key, or not from here."""


@dataclass(frozen=True, slots=True)
class Clock:
    """`offset_ms`: how far the exchange is ahead of this machine, at the shortest round trip."""

    offset_ms: float
    round_trip_ms: float


class Account:
    """USD-M futures at Binance. All methods raise `NotAnswered`; only `clock` needs no keys."""

    def __init__(self, key: str, secret: str, ccxt_config: Mapping[str, Any]) -> None:
        self._api = ccxt.binance({**ccxt_config, "apiKey": key, "secret": secret})
        self._away: NotAnswered | None = None

    def clock(self) -> Clock:
        """Several samples; the first one, which pays for the connection, does not count."""
        samples = []
        for _ in range(CLOCK_SAMPLES):
            began = time.time()
            server_ms = int(self._ask(self._api.fapiPublicGetTime)["serverTime"])
            ended = time.time()
            middle_ms = (began + ended) / 2 * 1000
            samples.append(Clock(server_ms - middle_ms, (ended - began) * 1000))
        return min(samples[1:], key=lambda sample: sample.round_trip_ms)

    def restrictions(self) -> Mapping[str, Any]:
        """What the key may do, as `enableWithdrawals`."""
        answer: Mapping[str, Any] = self._ask(self._api.sapiGetAccountApiRestrictions)
        return answer

    def available(self, currency: str) -> float:
        """Free margin in `currency`."""
        assets = self._ask(self._api.fapiPrivateV3GetAccount)["assets"]
        return sum(float(a["availableBalance"]) for a in assets if a["asset"] == currency)

    def modes(self) -> tuple[bool, bool]:
        """Whether it holds long and short side by side, and whether assets share one margin."""
        hedge = self._ask(self._api.fapiPrivateGetPositionSideDual)["dualSidePosition"]
        multi = self._ask(self._api.fapiPrivateGetMultiAssetsMargin)["multiAssetsMargin"]
        return _true(hedge), _true(multi)

    def positions(self) -> dict[str, float]:
        """Symbol -> base coins held, negative when short."""
        risks = self._ask(self._api.fapiPrivateV3GetPositionRisk)
        amounts = {risk["symbol"]: float(risk["positionAmt"]) for risk in risks}
        return {symbol: amount for symbol, amount in amounts.items() if amount}

    def _ask(self, method: Callable[[], Any]) -> Any:
        if self._away is not None:
            raise self._away
        try:
            return method()
        except ccxt.AuthenticationError as error:
            raise Rejected(str(error)) from error
        except ccxt.InvalidNonce as error:
            raise NotAnswered("the exchange finds this machine's clock wrong") from error
        except ccxt.NetworkError as error:
            # Its text is an address with a signature in it. There is no use in asking again.
            self._away = NotAnswered(f"the exchange does not answer ({type(error).__name__})")
            raise self._away from error
        except ccxt.BaseError as error:
            raise NotAnswered(str(error)) from error


def _true(value: object) -> bool:
    return value is True or str(value).lower() == "true"
