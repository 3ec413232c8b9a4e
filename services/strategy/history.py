"""Everything the method remembers of the market: seconds, minutes, candles, scales, context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, log

from services.strategy.candles import Candle, Candles, MedianRange
from services.strategy.context import PRICE_WINDOW_MIN, SIGN, next_environment, strength
from services.strategy.open_interest import OpenInterestHistory
from services.strategy.params import Params
from services.strategy.scales import ChangeScale, gap_scales
from services.strategy.series import Closes, SecondWindow
from services.strategy.types import Environment, Loaded, Minute, Second

SPARE_S = 60
RANGE_S = 300
DAY_S = 86_400


class History:
    """Fed with one second after another; scales and context change when a minute closes.

    `r5`: median range of the five-minute candles. `thin`: a leg, the price or its range moves too
    rarely to have a scale. `k`: strength of the context. `close`: newest reference price, which
    last changed in second `price_moved_t`.
    """

    def __init__(self, params: Params, c_spot: float, c_perp: float) -> None:
        self._p = params
        self.t: int | None = None
        self.close = 0.0
        self.seconds = SecondWindow(params.lookback_s + SPARE_S, c_spot, c_perp)
        capacity = params.hist_min + max(params.scale_windows) + 1
        self.spot_closes, self.perp_closes, self.x_closes = (Closes(capacity) for _ in range(3))
        windows = params.scale_windows
        self.spot, self.perp, self.price = (ChangeScale(params, windows) for _ in range(3))
        self.open_interest = OpenInterestHistory(params)
        self.minutes = Candles(60, DAY_S // 60)
        self.patterns = Candles(params.pattern_s, DAY_S // params.pattern_s)
        self._range_candles = Candles(RANGE_S, 1)
        self._range = MedianRange(params.range_candles)
        self._gap_windows = tuple(sorted({*params.div_windows, *params.ctx_windows}))
        self.gap_scale: dict[int, float] = {}
        self.r5 = 0.0
        self.thin = True
        self.environment = Environment.NEUTRAL
        self.k = 0.0
        self.z_price_hour = 0.0
        self.context_gaps: dict[int, float] = {}
        self.open_minute: OpenMinute | None = None
        self.price_moved_t = 0

    # Intake

    def add_minutes(self, minutes: Sequence[Minute]) -> None:
        """Minutes before the first second; checked by the caller of `SymbolEngine`."""
        if self.seconds.length:
            raise ValueError("minutes must be loaded before the first second")
        c_spot, c_perp = self.seconds.latest
        for minute in minutes:
            if minute.t % 60:
                raise ValueError(f"minute {minute.t} does not start at a multiple of 60")
            if self.t is not None and minute.t != self.t + 1:
                raise ValueError(f"minute {minute.t} does not follow second {self.t}")
            c_spot += minute.spot_delta
            c_perp += minute.perp_delta
            if not isfinite(c_spot + c_perp + minute.spot_volume + minute.perp_volume):
                raise ValueError(f"minute {minute.t} has a value that is not finite")
            self._add_minute(_candle(minute, c_spot), c_perp, minute.oi)
            self.t = minute.t + 59
        self.seconds.set_origin(c_spot, c_perp)
        self.refresh()

    def add(self, second: Second, *, decide: bool = True) -> bool:
        """Append a second; True if it closed a minute. `decide` False: the context stays."""
        t = second.t
        if self.t is not None and t != self.t + 1:
            raise ValueError(f"second {t} does not follow second {self.t}")
        volume = second.spot_volume + second.perp_volume
        if not isfinite(second.spot_delta + second.perp_delta + volume + second.high):
            raise ValueError(f"second {t} has a value that is not finite")
        if not 0.0 < second.low <= second.close <= second.high:
            raise ValueError(f"second {t} breaks 0 < low <= close <= high")
        x = log(second.close)
        flat = second.high == second.low
        high = x if flat else log(second.high)
        low = x if flat else log(second.low)
        window = self.seconds
        if window.length == 0 or x != window.x[window.last]:
            self.price_moved_t = t
        window.append(second.spot_delta, second.perp_delta, x, high, low, second.degraded)
        self.t = t
        self.close = second.close
        if t % 60 == 0:
            self.open_minute = OpenMinute(log(second.open))
        open_minute = self.open_minute
        if open_minute is None:
            return False
        open_minute.spot_volume += second.spot_volume
        open_minute.perp_volume += second.perp_volume
        if t % 60 != 59:
            return False
        self.close_minute(second.oi, decide=decide)
        return True

    def close_minute(self, oi: Mapping[str, float], *, decide: bool) -> None:
        """The newest second is the last one of the open minute."""
        minute, t, window = self.open_minute, self.t, self.seconds
        assert minute is not None
        assert t is not None
        candle = Candle(
            t - 59,
            minute.x,
            float(window.slice(window.high, 60).max()),
            float(window.slice(window.low, 60).min()),
            window.x[window.last],
            minute.spot_volume,
            minute.perp_volume,
            window.c_spot[window.last],
        )
        self._add_minute(candle, window.c_perp[window.last], oi)
        self.open_minute = None
        self.refresh()
        if decide:
            self.update_environment()

    def _add_minute(self, candle: Candle, c_perp: float, oi: Mapping[str, float]) -> None:
        for closes, scale, value in (
            (self.spot_closes, self.spot, candle.c_spot),
            (self.perp_closes, self.perp, c_perp),
            (self.x_closes, self.price, candle.close),
        ):
            closes.append(value)
            scale.add(closes)
        self.open_interest.add(oi)
        self.minutes.add(candle)
        self.patterns.add(candle)
        if self._range_candles.add(candle):
            self._range.add(self._range_candles.closed[-1])

    # Once per minute

    def refresh(self) -> None:
        """Recompute the scales and the gap of the context windows."""
        n = self.x_closes.length
        for scale in (self.spot, self.perp, self.price):
            scale.refresh(n)
        self.open_interest.refresh()
        self.r5 = self._range.value
        least = min(scale.sigma[1] for scale in (self.spot, self.perp, self.price))
        self.thin = least <= 0.0 or self.r5 <= 0.0
        self.gap_scale = gap_scales(
            self.spot_closes.values,
            self.perp_closes.values,
            self.spot.sigma,
            self.perp.sigma,
            self._gap_windows,
            self._p,
        )
        self._measure_context()

    def _measure_context(self) -> None:
        self.context_gaps = {w: self._close_gap(w) for w in self._p.ctx_windows}
        self.k = strength(self.context_gaps, self._p)
        w = PRICE_WINDOW_MIN
        usable = self._usable(w) and self.price.scale[w] > 0.0
        self.z_price_hour = self.x_closes.change(w) / self.price.scale[w] if usable else 0.0

    def _close_gap(self, w: int) -> float:
        spot, perp = self.spot.scale[w], self.perp.scale[w]
        if not self._usable(w) or spot == 0.0 or perp == 0.0:
            return 0.0
        gap = self.spot_closes.change(w) / spot - self.perp_closes.change(w) / perp
        return gap / self.gap_scale[w]

    def _usable(self, minutes: int) -> bool:
        """Older minutes, loaded from roll-ups, count as whole."""
        if self.x_closes.length <= minutes:
            return False
        seconds = min(60 * minutes, self.seconds.length - 1)
        return seconds < 1 or self.seconds.holes_in(seconds) <= self._p.hole_max * 60 * minutes

    def update_environment(self) -> None:
        """Let the environment follow the context of the last closed minute."""
        self.environment = next_environment(self.environment, self.k, self.z_price_hour, self._p)

    # Questions

    @property
    def context_sign(self) -> int:
        """+1 SHORT_SQUEEZE, -1 LONG_SQUEEZE, 0 NEUTRAL."""
        return SIGN[self.environment]

    @property
    def warm(self) -> bool:
        """Enough history to decide."""
        needed_s = 60 * max(self._p.div_windows)
        return (
            self.x_closes.length >= self._p.warm_min
            and self.seconds.length > needed_s
            and not self.thin
        )

    @property
    def loaded(self) -> Loaded:
        """What there is, and what of it has no scale although there are minutes enough."""
        minutes = self.x_closes.length
        legs = {"spot": self.spot, "perp": self.perp, "price": self.price}
        thin = tuple(name for name, scale in legs.items() if scale.sigma[1] <= 0.0)
        if self.r5 <= 0.0 and "price" not in thin:
            thin = (*thin, "price")
        enough = minutes >= self._p.warm_min
        return Loaded(
            minutes, self.seconds.length, self.open_interest.known, thin if enough else ()
        )

    @property
    def price_alive(self) -> bool:
        """The reference price has moved lately."""
        return self.t is not None and self.t - self.price_moved_t < self._p.ref_stale_s

    def index(self, t: int) -> int:
        """Index of second `t` in the window. Raises `ValueError` if it is not there."""
        age = -1 if self.t is None else self.t - t
        if not 0 <= age < self.seconds.length:
            raise ValueError(f"second {t} is not in the window")
        return self.seconds.last - age

    def shift(self, spot: float, perp: float) -> None:
        """Add constants to the accumulators, past and present."""
        self.seconds.shift(spot, perp)
        self.spot_closes.shift(spot)
        self.perp_closes.shift(perp)
        self.minutes.shift(spot)
        self.patterns.shift(spot)


class OpenMinute:
    """What the window does not hold of the minute in progress. `x`: log of its opening price."""

    __slots__ = ("perp_volume", "spot_volume", "x")

    def __init__(self, x: float) -> None:
        self.x = x
        self.spot_volume = 0.0
        self.perp_volume = 0.0


def _candle(minute: Minute, c_spot: float) -> Candle:
    return Candle(
        minute.t,
        log(minute.open),
        log(minute.high),
        log(minute.low),
        log(minute.close),
        minute.spot_volume,
        minute.perp_volume,
        c_spot,
    )
