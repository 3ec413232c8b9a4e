from __future__ import annotations

from pathlib import Path

import pytest

from aggr_server.exchanges.base import Instrument
from aggr_server.instruments import InstrumentCache

BTC = Instrument(
    symbol="BTC-USD",
    wire="BTC-USD",
    base="BTC",
    quote="USD",
    kind="perp",
    channel="swap",
    inverse=True,
    contract_size=100.0,
)


def test_a_list_is_kept_with_its_age(tmp_path: Path) -> None:
    InstrumentCache(tmp_path / "new").save("OKEX", [BTC], 5)
    listed = InstrumentCache(tmp_path / "new").load("OKEX")
    assert listed is not None
    assert (listed.asked_ms, listed.instruments) == (5, [BTC])
    assert InstrumentCache(tmp_path / "new").load("BINANCE") is None


def test_names_stay_inside_the_folder(tmp_path: Path) -> None:
    cache = InstrumentCache(tmp_path / "a")
    cache.save("CCXT:../../x", [BTC], 1)
    assert cache.load("CCXT:../../x") is not None
    assert {p.parent for p in tmp_path.rglob("*.json")} == {tmp_path / "a"}


@pytest.mark.parametrize("content", [b"", b"{", b'{"asked_ms":"x"}'])
def test_a_damaged_file_is_as_good_as_none(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "OKEX.json").write_bytes(content)
    assert InstrumentCache(tmp_path).load("OKEX") is None
    assert "OKEX.json" in caplog.text


def test_a_disk_that_takes_nothing_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    InstrumentCache(tmp_path / "file").save("OKEX", [BTC], 1)
    assert "instruments not kept on disk" in caplog.text
