from __future__ import annotations

from pathlib import Path

import pytest

from scripts.doctor import network
from scripts.doctor.findings import Finding
from scripts.doctor.network import Answer
from scripts.doctor.site import Site


def judged(*answers: Answer) -> dict[str, Finding]:
    return {f.name: f for f in network.judged(answers, "BINANCE_FUTURES", "")}


GOOD = Answer("BYBIT", "api.bybit.com", 200)


def test_exchanges_that_answer_take_one_line() -> None:
    found = judged(GOOD, Answer("OKEX", "www.okx.com", 200))
    assert {f.state for f in found.values()} == {"ok"}
    assert found["exchanges"].found == "2 of 2 answer"


@pytest.mark.parametrize(("status", "said"), [(451, "location"), (403, "blocked")])
def test_a_region_block_is_named_with_the_setting_that_leaves_the_exchange_out(
    status: int, said: str
) -> None:
    found = judged(GOOD, Answer("BINANCE", "api.binance.com", status))["BINANCE"]
    assert found.state == "warn"
    assert str(status) in found.found
    assert said in found.found
    assert "take BINANCE out of AGGR_EXCHANGES" in found.remedy


def test_a_block_by_the_exchange_that_orders_go_to_fails() -> None:
    found = judged(GOOD, Answer("BINANCE_FUTURES", "fapi.binance.com", 451))["BINANCE_FUTURES"]
    assert found.state == "fail"
    assert "AGGR_EXCHANGES" not in found.remedy


@pytest.mark.parametrize("status", [418, 429])
def test_too_many_requests_pass_by_themselves(status: int) -> None:
    found = judged(GOOD, Answer("BINANCE_FUTURES", "fapi.binance.com", status))["BINANCE_FUTURES"]
    assert found.state == "warn"
    assert "wait" in found.remedy


def test_one_that_is_away_is_named_with_the_reason() -> None:
    found = judged(GOOD, Answer("OKEX", "www.okx.com", 0, "no answer within 6 s"))["OKEX"]
    assert (found.state, found.found) == ("warn", "www.okx.com: no answer within 6 s")


def test_without_a_network_there_are_two_findings_not_one_for_each_exchange() -> None:
    lost = [Answer(f"E{n}", f"e{n}", 0, "Name not known", unresolved=True) for n in range(20)]
    found = judged(*lost)
    assert {name: f.state for name, f in found.items()} == {"dns": "fail", "exchanges": "fail"}


def test_one_host_without_an_address_is_named() -> None:
    found = judged(GOOD, Answer("OKEX", "www.okx.com", 0, "x", unresolved=True))
    assert found["dns"].state == "warn"
    assert "www.okx.com" in found["dns"].found


@pytest.mark.parametrize(
    ("offset_ms", "state"),
    [(0.0, "ok"), (-249.0, "ok"), (250.0, "warn"), (-999.0, "warn"), (-1000.0, "fail")],
)
def test_the_clock_is_judged_by_its_distance_either_way(offset_ms: float, state: str) -> None:
    found = network.offset(offset_ms, "BYBIT")
    assert found.state == state
    assert ("timedatectl" in found.remedy) == (state != "ok")


def test_offline_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(network, "_ask", never)
    monkeypatch.setattr(network, "_kept", lambda: network._group.ok("time service", ""))
    site = Site(tmp_path, offline=True)
    assert [f.state for f in network.check_exchanges(site)] == ["note"]
    assert [f.name for f in network.check_clock(site)] == ["time service"]


def test_while_the_demo_runs_no_exchange_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "is_demo", lambda _: True)
    found = [*network.check_exchanges(Site(tmp_path)), *network.check_clock(Site(tmp_path))]
    assert {f.state for f in found} <= {"ok", "note"}
    assert {f.name for f in found} == {"exchanges", "time service"}
