from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Window

DYDX = exchanges.get("DYDX")
LONG = "FARTCOIN,RAYDIUM,9BB6NFECJBCTNNLFKO2FQVQBQ8HHM13KCYYCDQBGPUMP-USD"
WINDOW = Window(1_754_268_127_000, 1_754_268_130_000)


def _page(heights: list[int], second: int) -> bytes:
    rows = [
        {
            "id": f"{height:08x}{0:08x}{place:08x}", "side": "BUY", "size": "1", "price": "2",
            "type": "LIMIT", "createdAt": f"2025-08-04T00:42:{second:02d}.500Z",
            "createdAtHeight": str(height),
        }
        for place, height in enumerate(heights)
    ]  # fmt: skip
    return msgspec.json.encode({"trades": rows})


def test_trades_and_forced_orders_are_one_subscription() -> None:
    streams = DYDX.streams("public", DYDX.assume("BTC-USD"))
    assert [s.kind for s in streams] == ["trades", "liquidations"]
    (message,) = DYDX.subscriptions("public", streams)
    assert msgspec.json.decode(message.text) == {
        "type": "subscribe", "channel": "v4_trades", "id": "BTC-USD", "batched": False
    }  # fmt: skip


def test_a_market_with_a_contract_in_its_name_has_a_coin() -> None:
    found = DYDX.assume(LONG)
    assert (found.base, found.quote, found.wire) == ("FARTCOIN", "USD", LONG)


@pytest.mark.parametrize(
    ("heights", "second", "below"),
    [
        ([*range(1500, 600, -1), *[600] * 100], 8, 600),
        ([700] * 1000, 8, 699),
        ([*range(1500, 500, -1)], 6, None),
        ([*range(1500, 501, -1)], 8, None),
    ],
)
def test_the_past_is_read_backwards_by_blocks(
    heights: list[int], second: int, below: int | None
) -> None:
    """A page of one block only does not lead to itself; one from before the window is the last."""
    past = DYDX.read_past(DYDX.assume("BTC-USD"), WINDOW, _page(heights, second))
    assert len(past.trades) == len(heights)
    if below is None:
        assert past.next is None
    else:
        assert past.next is not None
        assert past.next.url.endswith(f"BTC-USD?limit=1000&createdBeforeOrAtHeight={below}")


@pytest.mark.parametrize("id", ["", "02b6148g", "0x12", "-1"])
def test_an_id_that_is_no_number_is_refused(id: str) -> None:
    body = _page([5], 8).replace(f"{5:08x}{0:08x}{0:08x}".encode(), id.encode())
    with pytest.raises(msgspec.ValidationError):
        DYDX.read_past(DYDX.assume("BTC-USD"), WINDOW, body)
