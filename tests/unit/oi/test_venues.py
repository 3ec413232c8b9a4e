"""What each venue publishes, brought to one-sided base coins and US dollars."""

from __future__ import annotations

import time
from typing import Any

import pytest

from services.oi.venues import (
    VENUES,
    VenueClient,
    VenueError,
    read_binance_futures,
    read_bybit,
    read_okx,
)

TS = 1_732_000_000_000


def test_binance_futures_publishes_coins() -> None:
    sample = read_binance_futures(
        "BTC",
        {"openInterest": "10659.509", "symbol": "BTCUSDT", "time": TS},
        {"symbol": "BTCUSDT", "markPrice": "50000.5", "time": TS},
    )
    assert (sample.coins, sample.raw, sample.unit) == (10659.509, 10659.509, "base")
    assert sample.price == 50000.5
    assert sample.usd == pytest.approx(532_980_779.75, abs=0.01)
    assert sample.ts_ms == TS


def bybit_answer(**row: str) -> dict[str, Any]:
    return {"retCode": 0, "result": {"category": "linear", "list": [row]}, "time": TS}


def test_bybit_counts_both_sides_unless_it_names_one() -> None:
    both = bybit_answer(symbol="BTCUSDT", openInterest="62000.0", markPrice="50000")
    halved = read_bybit("BTC", both)
    assert halved is not None
    assert (halved.coins, halved.raw, halved.usd) == (31_000.0, 62_000.0, 1.55e9)

    one = bybit_answer(openInterest="62000", singleOpenInterest="30990.5", markPrice="50000")
    named = read_bybit("BTC", one)
    assert named is not None
    assert named.coins == 30_990.5


def test_okx_publishes_contracts_coins_and_dollars() -> None:
    row = {"instId": "BTC-USDT-SWAP", "oi": "2125419", "oiCcy": "21254.19", "oiUsd": "1062709500"}
    sample = read_okx("BTC", {"code": "0", "data": [{**row, "ts": str(TS)}]})
    assert sample is not None
    assert (sample.raw, sample.unit, sample.coins) == (2_125_419, "contracts", 21_254.19)
    assert sample.price == pytest.approx(50_000)
    assert sample.usd == pytest.approx(1_062_709_500)


def test_an_empty_list_means_not_listed() -> None:
    assert read_bybit("XYZ", {"result": {"list": []}, "time": TS}) is None
    assert read_okx("XYZ", {"code": "0", "data": []}) is None


@pytest.mark.parametrize("value", ["", "0", "-5", "nan", "abc", None])
def test_a_value_that_cannot_be_true_is_an_error_and_never_replaced(value: str | None) -> None:
    premium = {"markPrice": "50000"}
    with pytest.raises(VenueError, match="openInterest"):
        read_binance_futures("BTC", {"openInterest": value, "time": TS}, premium)


def test_a_time_in_the_future_is_refused() -> None:
    ahead = time.time_ns() // 1_000_000 + 3_600_000
    with pytest.raises(VenueError, match="future"):
        read_binance_futures("BTC", {"openInterest": "1", "time": ahead}, {"markPrice": "1"})


@pytest.mark.parametrize("name", sorted(VENUES))
async def test_with_a_gateway_no_url_leads_to_the_venue_itself(name: str) -> None:
    client = VenueClient(VENUES[name], "http://127.0.0.1:18090")
    urls = client.api_urls()
    await client.close()
    assert urls
    assert all(url.startswith("http://127.0.0.1:18090/") for url in urls)
    assert not any("{" in url for url in urls)
