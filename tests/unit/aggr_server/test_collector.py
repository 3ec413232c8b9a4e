from __future__ import annotations

import pytest

from aggr_server.discovery import canonical, chosen_adapters
from aggr_server.settings import CollectorSettings


def _names(aggr_exchanges: tuple[str, ...] = (), aggr_markets: tuple[str, ...] = ()) -> list[str]:
    settings = CollectorSettings(aggr_exchanges=aggr_exchanges, aggr_markets=aggr_markets)
    return [adapter.name for adapter in chosen_adapters(settings)]


def test_every_venue_is_collected_unless_some_are_named() -> None:
    assert _names() == ["BINANCE", "BINANCE_FUTURES", "BYBIT", "COINBASE", "OKEX"]
    assert _names(aggr_exchanges=("okx", "BINANCE")) == ["BINANCE", "OKEX"]


def test_markets_by_name_bring_their_venues() -> None:
    assert _names(aggr_markets=("OKX:BTC-USDT", "OKEX:ETH-USDT")) == ["OKEX"]
    assert canonical(["OKX:BTC-USDT"]) == ["OKEX:BTC-USDT"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"aggr_exchanges": ("NOPE",)}, "AGGR_EXCHANGES: exchange 'NOPE' is not known"),
        ({"aggr_exchanges": ("FTX",)}, "AGGR_EXCHANGES: FTX closed on 2022-11-11"),
        ({"aggr_markets": ("BTCUSDT",)}, "AGGR_MARKETS: 'BTCUSDT' is no market"),
        ({"aggr_markets": ("NOPE:x",)}, "AGGR_MARKETS: exchange 'NOPE' is not known"),
    ],
)
def test_a_wrong_name_tells_its_setting(settings: dict[str, tuple[str, ...]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        _names(**settings)
