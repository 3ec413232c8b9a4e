from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Trade

PHEMEX = exchanges.get("PHEMEX")
LIST = Path(__file__).parent / "fixtures/phemex/instruments.json"


def test_each_generation_has_its_own_method() -> None:
    streams = [s for w in ("sBTCUSDT", "BTCUSD", "BTCUSDT", "SUSDT")
               for s in PHEMEX.streams("public", PHEMEX.assume(w))]  # fmt: skip
    sent = [msgspec.json.decode(m.text) for m in PHEMEX.subscriptions("public", streams)]
    assert [(m["id"], m["method"], m["params"]) for m in sent] == [
        (1, "trade.subscribe", ["sBTCUSDT"]),
        (2, "trade.subscribe", ["BTCUSD"]),
        (3, "trade_p.subscribe", ["BTCUSDT"]),
        (4, "trade_p.subscribe", ["SUSDT"]),
    ]


@pytest.mark.parametrize(
    ("wire", "base", "kind", "inverse", "size"),
    [
        ("sBTCUSDT", "BTC", "spot", False, 1.0),
        ("BTCUSDT", "BTC", "perp", False, 1.0),
        ("SUSDT", "S", "perp", False, 1.0),
        ("BTCUSD", "BTC", "perp", True, 1.0),
        ("cETHUSD", "ETH", "perp", True, None),
        ("uBTCUSD", "BTC", "perp", False, None),
        ("ETHUSD", "ETH", "perp", False, None),
    ],
)
def test_markets_known_by_rule(
    wire: str, base: str, kind: str, inverse: bool, size: float | None
) -> None:
    found = PHEMEX.assume(wire)
    assert (found.base, found.kind, found.inverse, found.contract_size) == (
        base,
        kind,
        inverse,
        size,
    )


def test_sizes_of_another_scale_are_put_right_and_prices_of_one_are_refused() -> None:
    sizes = {i.symbol: i.contract_size for i in PHEMEX.instruments(LIST.read_bytes()).instruments}
    assert sizes["ETHUSD"] == 0.005
    # Of SHIB a unit is a hundredth, and was read as a hundred-millionth.
    assert sizes["sSHIBUSDT"] == 1e6
    assert sizes["sODDUSDT"] is None
    assert "OLDUSDT" not in sizes


def test_a_repeated_frame_has_the_same_ids() -> None:
    row = b'[1625342249000000001,"Buy",330000000,66000]'
    frame = b'{"symbol":"BTCUSD","trades":[%b,%b],"type":"incremental"}' % (row, row)
    ids = [[e.id for e in PHEMEX.parse(frame) if isinstance(e, Trade)] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


def test_a_list_that_is_an_error_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="10500: busy"):
        PHEMEX.instruments(b'{"code":10500,"msg":"busy","data":null}')
