from dataclasses import dataclass

import pytest

from aggr_server.wire import Kind, Market
from services.market.markets import Directory


def market(name: str, base: str = "BTC", quote: str = "USDT", kind: Kind = "spot") -> Market:
    return Market(name, name.partition(":")[0], base, quote, kind)


@dataclass
class Case:
    market: Market
    taken: bool


@pytest.mark.parametrize(
    "case",
    [
        Case(market("A:btc"), True),
        Case(market("A:btc", quote="fdusd"), True),
        Case(market("A:btc", kind="perp"), True),
        Case(market("A:btc", quote="EUR"), False),
        Case(market("A:btc", kind="future"), False),
        Case(market("A:eth", base="ETH"), False),
    ],
)
def test_only_dollar_spot_and_perpetuals_of_traded_bases_take_part(case: Case) -> None:
    directory = Directory(["BTC"])
    directory.update([case.market])
    assert (directory.base_of(case.market.market) is not None) is case.taken
    assert not directory.unknown_seen


def test_unknown_market_is_rejected_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    directory = Directory(["BTC"])
    assert directory.get("X:btcusd") is None
    assert directory.get("X:btcusd") is None
    assert directory.unknown_seen
    assert len([r for r in caplog.records if "X:btcusd" in r.getMessage()]) == 1


def test_markets_no_longer_listed_stay_known() -> None:
    directory = Directory(["BTC"])
    assert directory.update([market("B:btc"), market("A:btc")]) == 2
    assert directory.update([market("A:btc")]) == 0
    assert [m.market for m in directory.of_base("BTC")] == ["A:btc", "B:btc"]
