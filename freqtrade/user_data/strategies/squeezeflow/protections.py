"""freqtrade's protections: they lock entries after losses, and never an exit."""

from __future__ import annotations

from typing import Any

from services.core.settings import ExecutorSettings


def chosen(settings: ExecutorSettings) -> list[dict[str, Any]]:
    """Those switched on, as freqtrade wants them. Periods are minutes."""
    window = settings.freqtrade_protection_window_min
    locked = settings.freqtrade_protection_lock_min
    found: list[dict[str, Any]] = []
    if settings.freqtrade_cooldown_min:
        minutes = settings.freqtrade_cooldown_min
        found.append(
            # It looks no further back than the lock lasts.
            {"method": "CooldownPeriod", "stop_duration": minutes, "lookback_period": minutes}
        )
    if settings.freqtrade_max_stops:
        found.append(
            {
                "method": "StoplossGuard",
                "trade_limit": settings.freqtrade_max_stops,
                "lookback_period": window,
                "stop_duration": locked,
            }
        )
    if settings.freqtrade_max_drawdown:
        found.append(
            {
                "method": "MaxDrawdown",
                # Share of the account, where `ratios` would add up shares of the stakes.
                "calculation_mode": "equity",
                "max_allowed_drawdown": settings.freqtrade_max_drawdown,
                "trade_limit": 1,
                "lookback_period": window,
                "stop_duration": locked,
            }
        )
    return found
