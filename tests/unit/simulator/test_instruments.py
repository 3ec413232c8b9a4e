from __future__ import annotations

import pytest

from aggr_server.env import SettingsError
from services.simulator.instruments import Instrument, Trade, fixed
from services.simulator.venues import DEMO, INSTRUMENTS, instruments, known


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(0, 2, "0.00"), (5, 3, "0.005"), (123_456, 1, "12345.6"), (7, 0, "7"), (-12, 1, "-1.2")],
)
def test_integers_become_exact_decimals(value: int, decimals: int, text: str) -> None:
    assert fixed(value, decimals) == text


def test_a_contract_is_worth_its_coins() -> None:
    swap = Instrument("X:SWAP", "BTC", "USDT", "perp", "SWAP", 1, 2, 1.0, 5.0, contract_decimals=2)
    trade = Trade(swap, 1, 0, True, 958_945, 137)
    assert (trade.price, trade.size, trade.size_base) == ("95894.5", "1.37", "0.0137")
    assert trade.notional == "1313.75465"


def test_an_inverse_contract_is_worth_its_dollars() -> None:
    future = Instrument("X:INV", "BTC", "USD", "perp", "INV", 1, 0, 1.0, 5.0, inverse_usd=10)
    trade = Trade(future, 1, 0, True, 958_945, 7)
    assert (trade.size, trade.notional) == ("7", "70")
    assert float(trade.size_base) == pytest.approx(70 / 95_894.5, rel=1e-6)


def test_only_the_markets_of_the_demo_share_its_flow() -> None:
    for name, venue in known().items():
        for instrument in venue.instruments:
            assert instrument.apart is (name not in DEMO)
            assert instrument.exchange == name


def test_a_venue_that_does_not_exist_is_named() -> None:
    with pytest.raises(SettingsError, match="SIMULATOR_VENUES: 'FTX' is not simulated; known: BI"):
        instruments(("BINANCE", "FTX"))


def test_there_are_four_spot_and_three_perpetual_markets_of_each_base() -> None:
    for base in ("BTC", "ETH"):
        kinds = [i.kind for i in INSTRUMENTS if i.base == base]
        assert (kinds.count("spot"), kinds.count("perp")) == (4, 3)
        for kind in ("spot", "perp"):
            shares = [i.share for i in INSTRUMENTS if i.base == base and i.kind == kind]
            assert sum(shares) == pytest.approx(1.0)
        assert sum(i.oi_share for i in INSTRUMENTS if i.base == base) == pytest.approx(1.0)
