"""A venue asked through the library ccxt, whose errors become one kind.

Its unified calls are not used: they need every instrument loaded first, and they pass on what the
venues count in different ways (both sides, hourly samples).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import ccxt.async_support as ccxt

from services.core.gateway import through_all
from services.oi.venues.base import Found, Session, Venue, VenueError, short

TIMEOUT_MS = 10_000
LONGEST_WAIT_S = 3600.0
LIMITED_WAIT_S = 60.0
"""After HTTP 418 or 429 without a word about how long."""


class VenueClient:
    """One venue's connection. Close it with `close`."""

    def __init__(self, venue: Venue, gateway: str) -> None:
        self.name = venue.name
        self.interval_s = venue.interval_s
        self._venue = venue
        self._exchange = getattr(ccxt, venue.ccxt_id)(
            {"timeout": TIMEOUT_MS, "enableRateLimit": True}
        )
        hostnames = self._exchange.urls.get("hostnames") or {}
        default = self._exchange.hostname or ""
        addresses = {
            part: _with_hostname(address, hostnames.get(part, default))
            for part, address in self._exchange.urls["api"].items()
        }
        self._exchange.urls["api"] = through_all(addresses, gateway)
        self._exchange.on_rest_response = self._watch
        self._session = Session(self._exchange)
        self._retry_after_s = 0.0

    async def poll(self, bases: Sequence[str]) -> Found:
        """What the venue says about `bases` now. Raises `VenueError`."""
        self._retry_after_s = 0.0
        found = Found(bases)
        try:
            await self._venue.ask(self._session, found)
        except (ccxt.BaseError, VenueError) as error:
            raise VenueError(short(error), self._retry_after_s) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # An answer of a shape that neither the library nor the venue's file knows.
            raise VenueError(f"answer not understood: {short(error)}") from error
        if self._retry_after_s:
            raise VenueError("asks to be left alone for a while", self._retry_after_s)
        return found

    def api_urls(self) -> list[str]:
        """Every base URL the library may ask."""
        return _texts(self._exchange.urls["api"])

    async def close(self) -> None:
        """Close the connections."""
        await self._exchange.close()

    def _watch(
        self, status: int, _reason: str, _url: str, _method: str, headers: Mapping[str, str],
        body: str, *_request: Any,
    ) -> str:  # fmt: skip
        """The library's hook on every answer, before errors are told apart."""
        if status in (418, 429, 503):
            named = {key.lower(): value for key, value in headers.items()}
            asked_s = seconds(named.get("retry-after", ""))
            if asked_s is None and status != 503:
                asked_s = LIMITED_WAIT_S
            self._retry_after_s = max(self._retry_after_s, asked_s or 0.0)
        return body.strip()


def seconds(retry_after: str) -> float | None:
    """A `Retry-After` header, seconds or a date, in seconds from now; None if it is neither.

    At most an hour, so that a venue cannot switch itself off for good.
    """
    try:
        wait_s = float(retry_after)
    except ValueError:
        try:
            wait_s = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def _with_hostname(value: Any, hostname: Any) -> Any:
    """The library's address with its placeholder filled; some have one host for each kind."""
    if isinstance(value, dict):
        return {
            key: _with_hostname(
                item, hostname.get(key, "") if isinstance(hostname, dict) else hostname
            )
            for key, item in value.items()
        }
    return value.replace("{hostname}", hostname) if isinstance(value, str) else value
