"""Reads the state of freqtrade over its REST API. Orders never go this way."""

from __future__ import annotations

from typing import Any, TypeVar

import aiohttp
import msgspec

from services.core.settings import FreqtradeSettings

TIMEOUT_S = 5.0
PAGE = 500

T = TypeVar("T")


class FreqtradeUnreachable(Exception):
    """freqtrade did not answer, or not in time: nothing is known of its state."""


class FreqtradeRefused(Exception):
    """freqtrade answered and refused (login, request) or its answer is not understood."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order of a trade. `ft_order_side`: `buy`, `sell`, or `stoploss` on the exchange."""

    ft_order_side: str = ""
    is_open: bool = False


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade of freqtrade. Prices: quote per base; stake and profits: quote; times: ms, UTC."""

    trade_id: int
    pair: str
    is_short: bool
    is_open: bool
    open_timestamp: int
    open_rate: float
    amount: float = 0.0
    stake_amount: float = 0.0
    leverage: float | None = 1.0
    enter_tag: str | None = None
    current_rate: float | None = None
    profit_abs: float | None = None
    profit_ratio: float | None = None
    close_timestamp: int | None = None
    close_rate: float | None = None
    close_profit: float | None = None
    close_profit_abs: float | None = None
    exit_reason: str | None = None
    stop_loss_abs: float | None = None
    open_fill_timestamp: int | None = None
    orders: list[Order] = []


class Balance(msgspec.Struct, frozen=True):
    """`total`: equity in stake currency, including open profits."""

    total: float


class ShowConfig(msgspec.Struct, frozen=True):
    """The settings that matter here."""

    dry_run: bool
    state: str = ""
    stake_currency: str = ""
    max_open_trades: float = 0
    stoploss_on_exchange: bool = False


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """No entries in `pair` (`*`: in any) until `lock_end_timestamp`, UTC ms."""

    pair: str
    lock_timestamp: int
    lock_end_timestamp: int
    active: bool = True
    reason: str | None = None


class Health(msgspec.Struct, frozen=True):
    """`last_process_ts`: UTC second of freqtrade's last turn; None before the first."""

    last_process_ts: int | None = None


class _Pong(msgspec.Struct):
    status: str


class _Locks(msgspec.Struct):
    locks: list[Lock]


class _TradePage(msgspec.Struct):
    trades: list[Trade]
    total_trades: int = 0


class FreqtradeClient:
    """One HTTP session. All methods raise `FreqtradeUnreachable` and `FreqtradeRefused`."""

    def __init__(self, settings: FreqtradeSettings, *, timeout_s: float = TIMEOUT_S) -> None:
        self._base = settings.freqtrade_api_url.rstrip("/") + "/api/v1"
        login = aiohttp.encode_basic_auth(
            settings.freqtrade_api_username, settings.freqtrade_api_password
        )
        self._headers = {"Authorization": login}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> FreqtradeClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
            self._session = None

    async def ping(self) -> None:
        """Return if freqtrade answers."""
        await self._get("/ping", _Pong)

    async def health(self) -> Health:
        """When freqtrade's loop last turned."""
        return await self._get("/health", Health)

    async def show_config(self) -> ShowConfig:
        """Dry-run or live, and the engine's own limits."""
        return await self._get("/show_config", ShowConfig)

    async def status(self) -> list[Trade]:
        """Open trades."""
        return await self._get("/status", list[Trade])

    async def locks(self) -> list[Lock]:
        """What keeps freqtrade from entering at present."""
        return (await self._get("/locks", _Locks)).locks

    async def trades(self, limit: int = PAGE) -> list[Trade]:
        """The last `limit` closed trades (at most 500), newest last."""
        page = await self._get(
            "/trades", _TradePage, {"limit": str(min(limit, PAGE)), "order_by_id": "false"}
        )
        return sorted(page.trades, key=lambda t: t.close_timestamp or 0)

    async def balance(self) -> Balance:
        """Equity. Takes up to 2 s: not for a hot path."""
        return await self._get("/balance", Balance)

    async def _get(
        self, path: str, answer_type: type[T], params: dict[str, str] | None = None
    ) -> T:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        url = self._base + path
        try:
            async with self._session.get(url, params=params) as response:
                body = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise FreqtradeUnreachable(f"{url}: {error or type(error).__name__}") from error
        if status != 200:
            text = body[:200].decode(errors="replace")
            kind: type[Exception] = FreqtradeUnreachable if status >= 503 else FreqtradeRefused
            raise kind(f"{url} answered {status}: {text}")
        try:
            decoded: Any = msgspec.json.decode(body)
            return msgspec.convert(decoded, answer_type, strict=False)
        except msgspec.MsgspecError as error:
            raise FreqtradeRefused(f"{url}: answer not understood: {error}") from error
