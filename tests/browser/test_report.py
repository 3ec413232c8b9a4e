from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import pytest

from services.backtest.report import render
from services.backtest.result import BacktestResult
from tests.browser.browser import Tab
from tests.unit.backtest.report import samples

DARK = 40
COLORS = {
    "up": "4cb5f5",
    "down": "f0883e",
    "spot": "f2cc60",
    "perp": "b48ef2",
    "divergence": "d9a521",
}
# Copies are read, since reading the chart's own canvases would make them slow.
TONES = """[...document.querySelectorAll(".chart canvas")].reduce((tones, canvas) => {
  if (!canvas.width || !canvas.height) return tones;
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 200) tones.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
  }
  return tones;
}, new Set())"""
PAINTED = f"{TONES}.size"


def written(result: BacktestResult, folder: Path) -> Path:
    path = folder / "report.html"
    render(result, path)
    return path


async def rows(tab: Tab) -> int:
    count: int = await tab.evaluate("document.querySelectorAll('tr[data-jump]').length")
    return count


async def test_a_scenario_is_drawn(tab: Tab, tmp_path: Path) -> None:
    result = samples.of_scenario("S3", warnings=["Only 1 trade."])
    await tab.open(written(result, tmp_path))
    assert await tab.evaluate(PAINTED) > DARK
    for name, color in COLORS.items():
        assert await tab.evaluate(f"{TONES}.has(0x{color})"), name
    assert await rows(tab) == len(result.trades) == 1
    titles = await tab.evaluate("[...document.querySelectorAll('.legend b')].map(e => e.innerText)")
    assert titles == ["BTCUSDT", "", "CVD", "Open interest", "Equity", "Drawdown"]
    assert "Only 1 trade." in await tab.text(".warnings")
    assert "+0.30 R a trade" in await tab.text(".figures")


async def test_a_trade_leads_to_its_place_in_the_chart(tab: Tab, tmp_path: Path) -> None:
    await tab.open(written(samples.of_trades(40, 10_080), tmp_path))
    everything = await tab.text(".seen")
    await tab.click("tr[data-jump='20']")
    there = await tab.text(".seen")
    assert there != everything
    assert await tab.evaluate("document.querySelector('[aria-selected=true]').dataset.jump") == "20"
    await tab.key("n")
    assert await tab.evaluate("document.querySelector('[aria-selected=true]').dataset.jump") == "21"
    assert await tab.text(".seen") != there
    await tab.key("0")
    await tab.until(f"document.querySelector('.seen').innerText === {json.dumps(everything)}")


async def test_the_keyboard_alone_suffices(tab: Tab, tmp_path: Path) -> None:
    await tab.open(written(samples.of_trades(5, 3000), tmp_path))
    await tab.evaluate("document.querySelector('.chart').focus()")
    everything = await tab.text(".seen")
    await tab.key("+")
    closer = await tab.text(".seen")
    assert closer != everything
    await tab.key("ArrowLeft")
    assert await tab.text(".seen") != closer
    await tab.evaluate("document.querySelector(\"tr[data-jump='3']\").focus()")
    await tab.key("Enter")
    assert await tab.evaluate("document.querySelector('[aria-selected=true]').dataset.jump") == "3"


async def test_the_crosshair_tells_the_values_at_its_time(tab: Tab, tmp_path: Path) -> None:
    await tab.open(written(samples.of_scenario("S1"), tmp_path))
    latest = await tab.text(".legend")
    box = await tab.evaluate(
        "(() => { const b = document.querySelector('.chart').getBoundingClientRect();"
        " return [b.x + b.width / 3, b.y + 120]; })()"
    )
    await tab.move(*box)
    assert await tab.text(".legend") != latest


async def test_trades_are_sorted_by_a_click_on_a_heading(tab: Tab, tmp_path: Path) -> None:
    result = samples.of_trades(30, 3000)
    await tab.open(written(result, tmp_path))
    await tab.evaluate(
        "[...document.querySelectorAll('th button')].find(b => b.innerText === 'Net').click()"
    )
    order = await tab.evaluate(
        "[...document.querySelectorAll('tr[data-jump]')].map(r => Number(r.dataset.jump))"
    )
    pnl = [result.trades[i].pnl for i in order]
    assert pnl == sorted(pnl, reverse=True)


@pytest.mark.parametrize(("count", "minutes"), [(0, 400), (1, 30), (1000, 10_080)])
async def test_few_and_many_trades(tab: Tab, tmp_path: Path, count: int, minutes: int) -> None:
    await tab.open(written(samples.of_trades(count, minutes), tmp_path))
    assert await rows(tab) == count
    assert await tab.evaluate(PAINTED) > DARK
    if count == 0:
        assert "No trade was made" in await tab.text(".tables")


async def test_a_phone_does_not_scroll_sideways(tab: Tab, tmp_path: Path) -> None:
    await tab.size(390, 844, phone=True)
    await tab.open(written(samples.of_scenario("S4", warnings=["w" * 90]), tmp_path))
    assert await tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert await tab.evaluate(PAINTED) > DARK


async def test_it_prints(tab: Tab, tmp_path: Path) -> None:
    await tab.open(written(samples.of_trades(60, 3000), tmp_path))
    await tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    await tab.until("document.querySelector('.printed').naturalWidth > 800")
    pdf = await tab.printed()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") >= 2


async def test_text_from_outside_is_not_run(tab: Tab, tmp_path: Path) -> None:
    evil = "</script><script>document.title='run'</script><img src=x onerror=document.title='run'>"
    await tab.open(written(samples.of_scenario("S1", warnings=[evil]), tmp_path))
    assert await tab.evaluate("document.title") != "run"
    assert evil in await tab.text(".warnings")


async def test_the_picture_shows_what_the_page_holds(tab: Tab, tmp_path: Path) -> None:
    await tab.open(written(samples.of_scenario("S1"), tmp_path))
    tones = set(_pixels(await tab.screenshot()))
    assert len(tones) > 200


def _pixels(png: bytes) -> list[bytes]:
    """Some bytes of a PNG's picture data, as they are stored; enough to see that it is no blank."""
    stream, data = io.BytesIO(png[8:]), b""
    while head := stream.read(8):
        length, kind = struct.unpack(">I4s", head)
        part = stream.read(length)
        stream.read(4)
        data += part if kind == b"IDAT" else b""
    raw = zlib.decompress(data)
    return [raw[i : i + 3] for i in range(0, len(raw) - 3, 3)]
