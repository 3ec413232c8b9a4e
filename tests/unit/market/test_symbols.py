import pytest

from services.market.symbols import (
    base_of_pair,
    base_of_symbol,
    direction_of,
    pair_of,
    symbol_of,
)


@pytest.mark.parametrize("base", ["BTC", "1000PEPE", "W"])
def test_names_lead_back_to_the_base(base: str) -> None:
    assert base_of_symbol(symbol_of(base)) == base
    assert base_of_pair(pair_of(base)) == base


@pytest.mark.parametrize("name", ["USDT", "BTC", "BTCUSD", "btcUSDT", "BTC/USDT:USDT", ""])
def test_no_symbol_by_resemblance(name: str) -> None:
    with pytest.raises(ValueError, match="symbol"):
        base_of_symbol(name)


@pytest.mark.parametrize("name", ["BTC/USDT", "BTCUSDT", "BTC/USDC:USDC", "btc/USDT:USDT"])
def test_no_pair_by_resemblance(name: str) -> None:
    with pytest.raises(ValueError, match=r"symbol|pair"):
        base_of_pair(name)


@pytest.mark.parametrize(("text", "sign"), [("long", 1), ("BUY", 1), ("Short", -1), ("SELL", -1)])
def test_every_spelling_of_a_side_has_one_sign(text: str, sign: int) -> None:
    assert direction_of(text) == sign


def test_a_word_that_is_no_side_is_refused() -> None:
    with pytest.raises(ValueError, match="no side"):
        direction_of("close")
