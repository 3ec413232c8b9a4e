"""The doctor asks each exchange over a real socket, and names what stands in the way."""

from __future__ import annotations

from pathlib import Path

from scripts.doctor import network
from scripts.doctor.findings import Finding
from scripts.doctor.site import Site
from tests.integration.scripts.conftest import OFF_MS
from tests.integration.servers import free_port


def site(tmp_path: Path, gateway: str, exchanges: str = "OKEX,COINBASE,BINANCE") -> Site:
    written = {"EXCHANGE_GATEWAY": gateway, "AGGR_EXCHANGES": exchanges}
    return Site(tmp_path, {**written, "SQUEEZEFLOW_EXECUTION_EXCHANGE": "BINANCE"})


def asked(tmp_path: Path, gateway: str) -> dict[str, Finding]:
    return {f.name: f for f in network.check_exchanges(site(tmp_path, gateway))}


def test_each_exchange_that_does_not_answer_well_is_named_with_what_it_said(
    tmp_path: Path, gateway: str
) -> None:
    found = asked(tmp_path, gateway)
    assert found["exchanges"].found == "1 of 3 answer"
    assert (found["BINANCE"].state, found["COINBASE"].state) == ("fail", "warn")
    assert "does not serve your location" in found["BINANCE"].found
    assert found["COINBASE"].found == "127.0.0.1 answers 500"


def test_a_gateway_that_nobody_listens_at_is_one_finding(tmp_path: Path) -> None:
    found = asked(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert {name: f.state for name, f in found.items()} == {"dns": "ok", "exchanges": "fail"}
    assert "no answer from the gateway" in found["exchanges"].found


def test_a_gateway_without_an_address_is_told_as_that(tmp_path: Path) -> None:
    found = asked(tmp_path, "http://gateway.invalid")
    assert {name: f.state for name, f in found.items()} == {"dns": "fail", "exchanges": "fail"}


def test_settings_that_are_refused_are_to_be_corrected_first(tmp_path: Path, gateway: str) -> None:
    (found,) = network.check_exchanges(site(tmp_path, gateway, "NOWHERE"))
    assert (found.state, found.found) == ("note", "not asked: correct the settings first")


def test_a_clock_that_is_off_is_told_with_the_offset(tmp_path: Path, gateway: str) -> None:
    *_, found = network.check_clock(site(tmp_path, gateway))
    assert (found.name, found.state) == ("clock", "fail")
    assert abs(float(found.found.split(" ms")[0]) - OFF_MS) <= 500


def test_a_clock_that_nobody_can_be_asked_about_is_not_known(tmp_path: Path) -> None:
    *_, found = network.check_clock(site(tmp_path, f"http://127.0.0.1:{free_port()}"))
    assert found.state == "note"
    assert "its offset is not known" in found.found
