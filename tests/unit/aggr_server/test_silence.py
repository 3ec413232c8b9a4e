from __future__ import annotations

from aggr_server.silence import MAX_S, MIN_S, SilenceWatch


def _watch(per_second: float, seconds: int) -> tuple[SilenceWatch, int]:
    watch = SilenceWatch(0.0, 0)
    for now in range(1, seconds + 1):
        assert watch.silent_for(float(now), int(now * per_second)) is None
    return watch, int(seconds * per_second)


def test_a_busy_market_may_be_quiet_for_the_shortest_time() -> None:
    watch, total = _watch(5.0, 120)
    assert watch.silent_for(120 + MIN_S, total) is None
    quiet = watch.silent_for(121 + MIN_S, total)
    assert quiet is not None
    assert quiet > MIN_S


def test_a_slow_market_may_be_quiet_for_longer() -> None:
    watch, total = _watch(0.5, 300)
    assert 39.0 < watch.allowed_s() < 41.0
    assert watch.silent_for(330.0, total) is None
    assert watch.silent_for(350.0, total) is not None


def test_a_market_that_hardly_traded_is_never_called_silent() -> None:
    watch, total = _watch(0.1, 100)
    assert watch.silent_for(100 + 10 * MAX_S, total) is None


def test_a_trade_ends_the_silence() -> None:
    watch, total = _watch(5.0, 60)
    assert watch.silent_for(75.0, total) is not None
    assert watch.silent_for(76.0, total + 1) is None


def test_no_market_may_be_quiet_for_ever() -> None:
    watch, _ = _watch(0.02, 3000)
    assert watch.allowed_s() == MAX_S
