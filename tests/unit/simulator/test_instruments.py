from __future__ import annotations

import pytest

from services.simulator.instruments import Instrument, Trade, fixed
from services.simulator.venues import INSTRUMENTS


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


def test_there_are_four_spot_and_three_perpetual_markets_of_each_base() -> None:
    for base in ("BTC", "ETH"):
        kinds = [i.kind for i in INSTRUMENTS if i.base == base]
        assert (kinds.count("spot"), kinds.count("perp")) == (4, 3)
        for kind in ("spot", "perp"):
            shares = [i.share for i in INSTRUMENTS if i.base == base and i.kind == kind]
            assert sum(shares) == pytest.approx(1.0)
        assert sum(i.oi_share for i in INSTRUMENTS if i.base == base) == pytest.approx(1.0)
