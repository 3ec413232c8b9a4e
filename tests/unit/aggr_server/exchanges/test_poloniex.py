from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Window

POLONIEX = exchanges.get("POLONIEX")


def test_symbols_are_sent_in_batches() -> None:
    streams = [s for n in range(70)
               for s in POLONIEX.streams("spot", POLONIEX.assume(f"C{n}_USDT"))]  # fmt: skip
    sent = [msgspec.json.decode(m.text) for m in POLONIEX.subscriptions("spot", streams)]
    assert [len(m["symbols"]) for m in sent] == [50, 20]
    assert sent[0]["channel"] == ["trades"]


@pytest.mark.parametrize(("count", "since_ms"), [(999, 0), (1000, 101)])
def test_a_full_answer_may_have_been_cut(count: int, since_ms: int) -> None:
    rows = [
        {"id": str(5000 - n), "price": "2", "quantity": "1", "amount": "2", "takerSide": "BUY",
         "ts": 1, "createTime": 100 + count - n}
        for n in range(1, count + 1)
    ]  # fmt: skip
    past = POLONIEX.read_past(
        POLONIEX.assume("BTC_USDT"), Window(0, 10_000), msgspec.json.encode(rows)
    )
    assert (len(past.trades), past.since_ms) == (count, since_ms)


def test_contracts_have_an_unknown_size_without_the_list() -> None:
    found = POLONIEX.assume("BTC_USDT_PERP")
    assert (found.kind, found.channel, found.contract_size) == ("perp", "futures", None)
    assert POLONIEX.assume("BTC_USDT").contract_size == 1.0
