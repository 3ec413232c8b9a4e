"""Which signal may be executed, and how: pure functions of a signal, a market and a time."""

from __future__ import annotations

import math

import msgspec

from services.core.records import SIGNAL_SCHEMA, Signal

TAG_PREFIX = "sf:"
FENCE_MEMORY_MS = 600_000
MAX_SIZE_FACTOR = 1.5
FALLBACK_STOP_DISTANCE = 0.08
MAX_STOP_MARGIN = 0.5
NEAREST_STOP_DISTANCE = 1e-4

_decoder = msgspec.json.Decoder(Signal)


class BadSignal(ValueError):
    """What stands in a signal key is not a signal."""


def decode(raw: bytes) -> Signal:
    """The signal in a Redis value. Raises `BadSignal`."""
    try:
        signal = _decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise BadSignal(str(error)) from error
    if signal.schema != SIGNAL_SCHEMA:
        raise BadSignal(f"schema is {signal.schema}, expected {SIGNAL_SCHEMA}")
    return signal


def entry_tag(signal_id: str) -> str:
    """The tag under which freqtrade keeps a trade of this signal."""
    return TAG_PREFIX + signal_id


def signal_id_of(tag: str | None) -> str | None:
    """The signal behind a trade's entry tag; None if the trade is not ours."""
    if tag and tag.startswith(TAG_PREFIX):
        return tag[len(TAG_PREFIX) :] or None
    return None


def is_fresh(signal: Signal, now_ms: int) -> bool:
    """Whether an entry is within its window and its writer alive.

    The writer refreshes a signal well within the life of its key, so an older one is nobody's.
    """
    age_ms = abs(now_ms - signal.refreshed_ms)
    return now_ms <= signal.valid_until_ms and age_ms <= signal.ttl * 1000


def defect(signal: Signal, *, symbol: str, pair: str, dry_run: bool) -> str | None:
    """Why an entry can never be executed on this market; None if it can."""
    if signal.symbol != symbol or signal.pair != pair:
        return "foreign_market"
    if signal.mode == "backtest" or (signal.mode == "paper" and not dry_run):
        return "wrong_mode"
    if not _sizes_usable(signal) or not _prices_usable(signal):
        return "bad_values"
    return None


def _sizes_usable(signal: Signal) -> bool:
    factor = signal.position_size_factor
    return math.isfinite(factor) and factor > 0 and signal.leverage >= 1


def _prices_usable(signal: Signal) -> bool:
    for value in (signal.entry_price, signal.max_deviation):
        if not math.isfinite(value) or value <= 0:
            return False
    stop = signal.stop_price
    if stop is None:
        return True
    if not math.isfinite(stop) or stop <= 0:
        return False
    return stop < signal.entry_price if signal.action == "LONG" else stop > signal.entry_price


def side_of(signal: Signal) -> str:
    """`long` or `short`, as freqtrade calls it."""
    return "long" if signal.action == "LONG" else "short"


def deviates(signal: Signal, rate: float) -> bool:
    """Whether the market has left the price the signal was meant for."""
    if not math.isfinite(rate) or rate <= 0:
        return True
    return abs(math.log(rate / signal.entry_price)) > signal.max_deviation


def stake(signal: Signal, proposed: float, smallest: float | None, largest: float) -> float:
    """Margin in quote: proposed times the signal's factor, within the exchange's limits.

    0 if the limits leave no room.
    """
    wanted = proposed * min(signal.position_size_factor, MAX_SIZE_FACTOR)
    low = smallest or 0.0
    if largest < low or largest <= 0:
        return 0.0
    return min(max(wanted, low), largest)


def largest_at_risk(signal: Signal, leverage: float, equity: float, risk_frac: float) -> float:
    """Margin with which the way to the invalidation price costs `risk_frac` of the equity.

    Infinite if `risk_frac` is 0. It belongs here and not into the signal, because only the
    execution engine knows equity, stake and the leverage that the exchange allows.
    """
    if risk_frac <= 0:
        return math.inf
    if not (math.isfinite(signal.invalidation_price) and signal.invalidation_price > 0):
        return 0.0
    distance = abs(math.log(signal.entry_price / signal.invalidation_price))
    return math.inf if distance == 0 else risk_frac * max(equity, 0.0) / (leverage * distance)


def leverage(signal: Signal, own_limit: int, exchange_limit: float) -> float:
    """The signal's leverage, capped, at least 1."""
    return max(1.0, min(float(signal.leverage), float(own_limit), exchange_limit))


def closes(signal: Signal, trade_signal_id: str | None) -> bool:
    """Whether a signal asks for the end of this very trade.

    Age and fence do not matter: the position is the one the strategy wants closed.
    """
    return (
        signal.action == "CLOSE"
        and trade_signal_id is not None
        and signal.parent_signal_id == trade_signal_id
    )


def exit_tag(signal: Signal) -> str:
    """The reason freqtrade keeps with the exit."""
    return f"sf_{(signal.exit_reason or 'close').lower()}"


def fallback_stop(open_rate: float, is_short: bool, leverage: float) -> float:
    """The stop price of a trade whose signal is not known any more."""
    distance = min(FALLBACK_STOP_DISTANCE, MAX_STOP_MARGIN / max(leverage, 1.0))
    return open_rate * math.exp(distance if is_short else -distance)


def stop_ratio(stop_price: float, rate: float, is_short: bool, leverage: float) -> float:
    """Distance from `rate` to the stop as freqtrade wants it: relative to the margin, positive.

    A rate beyond the stop gives the nearest possible stop, because 0 would mean no stop at all.
    """
    distance = stop_price / rate - 1.0 if is_short else 1.0 - stop_price / rate
    return max(distance, NEAREST_STOP_DISTANCE) * leverage


def stop_is_set(current_stop: float | None, stop_price: float, is_short: bool) -> bool:
    """Whether the trade's stop is already there, but for rounding to the tick, or tighter."""
    if not current_stop:
        return False
    distance = math.log(current_stop / stop_price)
    return distance <= 1e-5 if is_short else distance >= -1e-5


class Fences:
    """The highest lease token seen per symbol; an entry under a lower one is of a deposed writer.

    A token is forgotten ten minutes after it was last seen, so that tokens which began anew, after
    Redis had lost its data, do not shut entries out for ever.
    """

    def __init__(self) -> None:
        self._highest: dict[str, tuple[int, int]] = {}

    def admits(self, signal: Signal, now_ms: int) -> bool:
        """Whether no higher token is known; remembers the signal's."""
        highest, seen_ms = self._highest.get(signal.symbol, (0, 0))
        if signal.fence < highest and now_ms - seen_ms < FENCE_MEMORY_MS:
            return False
        self._highest[signal.symbol] = (signal.fence, now_ms)
        return True
