"""Why a signal was given: the decision as recorded, and as it comes out of the stored bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from aggr_server.influx import InfluxClient
from services.core.settings import StrategySettings
from services.explain.compare import Comparison, compare
from services.explain.replay import AFTER_S, Progress, Rebuilt, Replay
from services.explain.store import ExplainError, Stored, around, find
from services.market.backfill import FilledHistory
from services.market.history import History
from services.market.markets import Directory, read_influx
from services.market.symbols import base_of_symbol
from services.strategy.params import Params
from services.trading.app import strategy_params

BEFORE_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Explanation:
    """A signal, what came out of the stored bars, and how the two compare."""

    signal: Stored
    rebuilt: Rebuilt
    comparison: Comparison


async def explain(
    influx: InfluxClient,
    settings: StrategySettings,
    wanted: str,
    now_s: int,
    progress: Progress = lambda share: None,
) -> Explanation:
    """Explain the signal whose id begins with `wanted`; `progress` is told shares, 0 to 1.

    Raises `ExplainError`, `InfluxError`, `InfluxUnavailable`.
    """
    signal = await find(influx, wanted)
    base = base_of_symbol(signal.symbol)
    directory = Directory([base])
    directory.update(await read_influx(influx))
    markets = directory.of_base(base)
    if not markets:
        raise ExplainError(
            f"InfluxDB knows no market of {base}, so its bars cannot be classified. Is this the "
            "database the collector writes to (INFLUX_DATABASE)?"
        )
    known = await around(influx, signal.symbol, signal.t - BEFORE_S, signal.t + AFTER_S)
    params = parameters(signal.decision, strategy_params(settings))
    exchange = settings.squeezeflow_execution_exchange
    history = History(influx)
    filled = FilledHistory(influx, history) if on_candles(signal, known, settings) else None
    replay = Replay(history, markets, exchange, params, base, signal, known, filled)
    rebuilt = await replay.run(now_s, progress)
    return Explanation(signal, rebuilt, compare(signal, rebuilt))


def on_candles(signal: Stored, known: Sequence[Stored], settings: StrategySettings) -> bool:
    """Whether missing minutes were filled from candles when the position was decided on.

    As recorded with the entry; where nothing was recorded, as the settings say today.
    """
    entry = next((s for s in known if s.signal_id == signal.parent_signal_id), signal)
    if entry.action == "CLOSE" or not entry.decision:
        return settings.squeezeflow_backfill
    return bool(entry.decision.get("backfilled_minutes"))


def parameters(decision: dict[str, Any], otherwise: Params) -> Params:
    """The parameters the decision was taken with, `otherwise` where they were not recorded."""
    recorded = decision.get("params")
    if not isinstance(recorded, dict):
        return otherwise
    known: dict[str, Any] = {
        f.name: tuple(recorded[f.name]) if isinstance(recorded[f.name], list) else recorded[f.name]
        for f in fields(Params)
        if f.name in recorded
    }
    return Params(**known)
