"""What each venue publishes, brought to one-sided base coins and US dollars.

`fixtures/VENUE/*.json` are answers as recorded or documented (`source`), with the open interest
they stand for worked out by hand. They are served over HTTP, so that the requests count too.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.oi.venues import ALIASES, VENUES, VenueClient, VenueError, canonical, okx
from services.oi.venues.base import Found, amount, iso_ms, number, rows
from services.oi.venues.client import seconds

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*/*.json"))


class Venues:
    """A gateway with prepared answers; `status` and `headers` replace them by a refusal."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[str] = []
        self.refusals: dict[str, tuple[int, dict[str, str]]] = {}
        self.refusal: dict[str, Any] = {"msg": "refused"}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        name = f"{request.method} {request.path_qs.lstrip('/')}"
        if body := await request.text():
            name = f"{name} {json.dumps(json.loads(body), separators=(',', ':'))}"
        self.requests.append(name)
        for start, (status, headers) in self.refusals.items():
            if name.startswith(start):
                return web.json_response(self.refusal, status=status, headers=headers)
        if name not in self.answers:
            return web.json_response({"msg": f"not prepared: {name}"}, status=404)
        return web.json_response(self.answers[name])


@pytest.fixture
async def venues() -> AsyncIterator[Venues]:
    answers = Venues()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answers.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    answers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield answers
    await runner.cleanup()


def fixture(venue: str) -> dict[str, Any]:
    return load(next(path for path in FIXTURES if path.parent.name == venue.lower()))


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def unlimited(venue: str, venues: Venues) -> VenueClient:
    """A client that does not wait between two requests, nor at its end."""
    client = VenueClient(VENUES[venue], venues.url)
    client._exchange.enableRateLimit = False
    client._exchange.timeout_on_exit = 0
    return client


async def poll(venues: Venues, venue: str, bases: list[str], times: int = 1) -> Found:
    client = unlimited(venue, venues)
    try:
        for _ in range(times):
            found = await client.poll(bases)
    finally:
        await client.close()
    return found


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_O2_answers_give_the_documented_coins_and_dollars(path: Path, venues: Venues) -> None:
    case = load(path)
    venues.answers = case["answers"]
    found = await poll(venues, case["venue"], list(case["expected"]))
    assert found.problems == {}
    assert sorted(venues.requests) == sorted(case["answers"])
    assert found.contracts.keys() == case["expected"].keys()
    for base, contracts in case["expected"].items():
        read = {contract.contract: contract for contract in found.contracts[base]}
        assert sorted(read) == sorted(expected["contract"] for expected in contracts)
        for expected in contracts:
            contract = read[expected["contract"]]
            assert (contract.linear, contract.unit) == (expected["linear"], expected["unit"])
            assert contract.raw == expected["raw"]
            assert contract.coins == pytest.approx(expected["coins"], rel=1e-9)
            assert contract.usd == pytest.approx(expected["usd"], rel=1e-9)
            assert contract.price == pytest.approx(expected["price"], rel=1e-6)
            answered = abs(contract.ts_ms - time.time() * 1000) < 60_000
            assert contract.ts_ms == expected["ts_ms"] if "ts_ms" in expected else answered


def test_O2_every_venue_has_a_fixture_and_every_inverse_family_is_in_one() -> None:
    assert {path.parent.name.upper() for path in FIXTURES} == VENUES.keys()
    inverse = {
        case["venue"]
        for case in map(load, FIXTURES)
        if any(not c["linear"] for contracts in case["expected"].values() for c in contracts)
    }
    assert inverse == {
        "BINANCE_FUTURES", "BYBIT", "OKX", "DERIBIT", "PHEMEX", "KUCOIN", "HUOBI", "GATEIO",
        "KRAKEN", "MEXC",
    }  # fmt: skip


async def test_what_seldom_changes_is_not_asked_again(venues: Venues) -> None:
    venues.answers = fixture("HUOBI")["answers"]
    await poll(venues, "HUOBI", ["BTC"], times=2)
    asked = [name.partition("?")[0].rpartition("/")[2] for name in venues.requests]
    assert asked == [
        "swap_index", "open_interest", "swap_contract_info", "swap_open_interest",
        "open_interest", "swap_open_interest",
    ]  # fmt: skip


async def test_a_base_that_is_not_in_the_answer_is_not_listed(venues: Venues) -> None:
    venues.answers = fixture("OKX")["answers"]
    found = await poll(venues, "OKX", ["BTC", "XYZ"])
    assert (found.listed, found.problems) == ({"BTC"}, {})


@pytest.mark.parametrize("value", ["", "-5", "nan", "abc", None])
def test_a_value_that_cannot_be_true_spoils_its_base_alone(value: str | None) -> None:
    answer = fixture("OKX")["answers"]["GET www.okx.com/api/v5/public/open-interest?instType=SWAP"]
    answer["data"][0]["oiCcy"] = value
    found = Found(["BTC", "ETH"])
    okx.read(found, answer)
    assert "oiCcy" in found.problems["BTC"]
    assert found.contracts["ETH"]


def test_a_time_in_the_future_is_refused() -> None:
    answer = fixture("OKX")["answers"]["GET www.okx.com/api/v5/public/open-interest?instType=SWAP"]
    answer["data"][0]["ts"] = str(int(time.time() * 1000) + 3_600_000)
    found = Found(["BTC"])
    okx.read(found, answer)
    assert "future" in found.problems["BTC"]


@pytest.mark.parametrize("name", sorted(VENUES))
async def test_an_answer_of_any_other_shape_is_an_error_of_the_venue_alone(
    name: str, venues: Venues
) -> None:
    case = fixture(name)
    client = unlimited(name, venues)
    wrong: list[Any] = [None, [], {}, "maintenance", 7, [None], [[]], [{}]]
    refused = 0
    for body in [*wrong, *({"data": w, "result": w, "markets": w} for w in wrong)]:
        venues.answers = dict.fromkeys(case["answers"], body)
        try:
            found = await client.poll(list(case["expected"]))
        except VenueError as error:
            refused += bool(str(error))
        else:
            assert found.contracts == {}
    await client.close()
    assert refused > len(wrong)


async def test_one_symbol_refused_leaves_the_others(venues: Venues) -> None:
    case = fixture("BINANCE_FUTURES")
    venues.answers = case["answers"]
    venues.refusals["GET fapi.binance.com/fapi/v1/openInterest?symbol=BTCUSDC"] = (400, {})
    venues.refusal = {"code": -1130, "msg": "Data sent for parameter is not valid."}
    found = await poll(venues, "BINANCE_FUTURES", ["BTC", "PEPE"])
    assert "not valid" in found.problems["BTC"]
    assert [contract.contract for contract in found.contracts["PEPE"]] == ["1000PEPEUSDT"]


async def test_a_contract_that_the_venue_does_not_know_after_all_is_left_out(
    venues: Venues,
) -> None:
    venues.answers = fixture("BINANCE_FUTURES")["answers"]
    venues.refusals["GET fapi.binance.com/fapi/v1/openInterest?symbol=BTCUSDC"] = (400, {})
    venues.refusal = {"code": -1121, "msg": "Invalid symbol."}
    found = await poll(venues, "BINANCE_FUTURES", ["BTC"])
    assert found.problems == {}
    read = [contract.contract for contract in found.contracts["BTC"]]
    assert read == ["BTCUSDT", "BTCUSD_PERP"]


@pytest.mark.parametrize(
    ("status", "headers", "least_s"),
    [(429, {"Retry-After": "17"}, 17), (429, {}, 60), (418, {"retry-after": "120"}, 120),
     (503, {"Retry-After": "9"}, 9), (500, {}, 0)],
)  # fmt: skip
async def test_a_venue_that_wants_to_be_left_alone_is(
    status: int, headers: dict[str, str], least_s: int, venues: Venues
) -> None:
    venues.refusals["GET www.okx.com"] = (status, headers)
    with pytest.raises(VenueError) as raised:
        await poll(venues, "OKX", ["BTC"])
    assert raised.value.retry_after_s == least_s


async def test_a_limit_met_at_one_symbol_holds_for_the_whole_venue(venues: Venues) -> None:
    venues.answers = fixture("GEMINI")["answers"]
    venues.refusals["GET api.gemini.com/v1/riskstats/btc"] = (429, {"Retry-After": "30"})
    venues.refusal = {"result": "error", "reason": "Odd", "message": "slow down"}
    with pytest.raises(VenueError) as raised:
        await poll(venues, "GEMINI", ["BTC"])
    assert raised.value.retry_after_s == 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("-1", 0), ("999999", 3600), ("", None), ("soon", None),
     ("Fri, 01 Jan 2100 00:00:00 GMT", 3600)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(
    text: str, expected: float | None
) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("name", sorted(VENUES))
async def test_with_a_gateway_no_url_leads_to_the_venue_itself(name: str) -> None:
    client = VenueClient(VENUES[name], "http://127.0.0.1:18090")
    urls = client.api_urls()
    await client.close()
    assert urls
    assert all(url.startswith("http://127.0.0.1:18090/") for url in urls)
    assert not any("{" in url for url in urls)


def test_the_collectors_names_of_a_venue_are_understood() -> None:
    assert [canonical(name) for name in ("OKEX", "OKX", "GATE", "HTX")] == [
        "OKX", "OKX", "GATEIO", "HUOBI",
    ]  # fmt: skip
    assert ALIASES.keys().isdisjoint(VENUES)
    assert set(ALIASES.values()) <= VENUES.keys()


@pytest.mark.parametrize("value", ["", "-5", "nan", "inf", "abc", None])
def test_no_number_is_ever_assumed(value: str | None) -> None:
    for read in (number, amount):
        with pytest.raises(VenueError, match="oi"):
            read({"oi": value}, "oi")
    with pytest.raises(VenueError, match="oi is 0"):
        number({"oi": "0"}, "oi")
    assert amount({"oi": "0"}, "oi") == 0


def test_what_an_answer_lacks_is_named() -> None:
    with pytest.raises(VenueError, match=r"result\.list"):
        rows({"result": {}}, "result", "list")
    with pytest.raises(VenueError, match="serverTime"):
        iso_ms({"serverTime": "soon"}, "serverTime")
