import pytest

from services.freqtrade_client import Trade
from services.trading.portfolio import DAY_MS, Portfolio

NOON = 20_000 * DAY_MS + DAY_MS // 2


class Clock:
    def __init__(self) -> None:
        self.ms = NOON

    def __call__(self) -> int:
        return self.ms


def trade(**fields: object) -> Trade:
    known: dict[str, object] = {
        "trade_id": 1,
        "pair": "BTC/USDT:USDT",
        "is_short": False,
        "is_open": True,
        "open_timestamp": NOON,
        "open_rate": 1.0,
    }
    return Trade(**(known | fields))  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nothing_is_assumed_before_the_first_answer(clock: Clock) -> None:
    portfolio = Portfolio(integrated=True, now_ms=clock)
    assert portfolio.problem
    portfolio.update([], [], 1000.0, dry_run=True)
    assert portfolio.problem == ""
    assert portfolio.mode == "paper"


def test_an_answer_does_not_hold_for_ever(clock: Clock) -> None:
    portfolio = Portfolio(integrated=True, now_ms=clock)
    portfolio.update([], [], 1000.0, dry_run=False)
    clock.ms += 150_001
    assert "silent" in portfolio.problem
    assert portfolio.mode == "live"


def test_an_unreachable_engine_is_a_problem_until_it_answers(clock: Clock) -> None:
    portfolio = Portfolio(integrated=True, now_ms=clock)
    portfolio.update([trade()], [], 1000.0, dry_run=True)
    portfolio.lost("connection refused")
    assert "connection refused" in portfolio.problem
    assert portfolio.symbols == {"BTCUSDT"}
    portfolio.update([], [], 1000.0, dry_run=True)
    assert portfolio.problem == ""


@pytest.mark.parametrize(("before", "reached"), [(-80.0, False), (40.0, True)])
def test_what_a_trade_had_gained_before_midnight_is_not_of_today(
    clock: Clock, before: float, reached: bool
) -> None:
    portfolio = Portfolio(integrated=True, now_ms=clock)
    clock.ms = NOON + DAY_MS // 2 - 30_000
    portfolio.update([trade(profit_abs=before)], [], 1000.0, dry_run=True)
    clock.ms += 60_000
    portfolio.update([trade(profit_abs=-30.0)], [], 1000.0 - 30.0 - before, dry_run=True)
    assert portfolio.daily_loss_reached is reached


def test_the_loss_that_ends_a_day_is_a_setting(clock: Clock) -> None:
    lost = trade(is_open=False, close_timestamp=NOON - 1, close_profit_abs=-20.0)
    for limit, reached in ((0.03, False), (0.02, True)):
        portfolio = Portfolio(integrated=True, now_ms=clock, max_daily_loss=limit)
        portfolio.update([], [lost], 980.0, dry_run=True)
        assert portfolio.daily_loss_reached is reached


def test_without_integration_there_is_nothing_to_know(clock: Clock) -> None:
    assert Portfolio(integrated=False, now_ms=clock).problem == ""


@pytest.mark.parametrize(("loss", "reached"), [(-59.0, False), (-60.0, True)])
def test_the_day_ends_at_six_percent_of_the_equity_at_midnight(
    clock: Clock, loss: float, reached: bool
) -> None:
    today = trade(trade_id=2, is_open=False, close_timestamp=NOON - 1, close_profit_abs=loss + 10)
    yesterday = trade(
        trade_id=3, is_open=False, close_timestamp=NOON - DAY_MS, close_profit_abs=-500.0
    )
    opened = trade(profit_abs=-10.0)
    portfolio = Portfolio(integrated=True, now_ms=clock)
    portfolio.update([opened], [today, yesterday], 1000.0 + loss, dry_run=True)
    assert portfolio.daily_loss_reached is reached
