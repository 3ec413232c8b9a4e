"""What is sent to whom, how often it is encoded, and who is too slow."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from services.dashboard import audience as module
from services.dashboard.audience import MAX_WAITING, Audience, Viewer
from services.dashboard.protocol import Close, Gaps, Message, Second, Trouble


def trouble(ts_ms: int, text: str = "away") -> Trouble:
    return Trouble(ts_ms=ts_ms, problems={"Redis": text})


def gaps(symbol: str) -> Gaps:
    return Gaps(symbol=symbol, ts_ms=1, rows=[])


def second(t: int) -> Second:
    return Second(
        symbol="BTCUSDT", t=t, ts_ms=1, bar=None, spot=0.0, perp=0.0, spot_volume=0.0,
        perp_volume=0.0, lbuy=0.0, lsell=0.0,
    )  # fmt: skip


def looking(audience: Audience, symbol: str = "BTCUSDT") -> Viewer:
    viewer = Viewer()
    audience.join(viewer)
    audience.watch(viewer, symbol)
    return viewer


async def told(viewer: Viewer) -> list[dict[str, object]]:
    found = []
    viewer.tell(b"null")
    while (message := msgspec.json.decode(await viewer.next() or b"null")) is not None:
        found.append(message)
    return found


async def kinds(viewer: Viewer) -> list[object]:
    return [message["type"] for message in await told(viewer)]


async def test_a_block_is_sent_at_the_beginning_and_when_it_changes() -> None:
    audience = Audience()
    first = looking(audience)
    audience.show(trouble(1))
    late = looking(audience)
    audience.show(trouble(2, "back"))

    assert [m["ts_ms"] for m in await told(first)] == [1, 2]
    assert [m["ts_ms"] for m in await told(late)] == [1, 2]


async def test_a_block_measured_again_and_the_same_is_only_said_to_be_fresh() -> None:
    audience = Audience()
    viewer = looking(audience)
    audience.show(trouble(1))
    audience.show(trouble(1))
    audience.show(trouble(2))
    late = looking(audience)

    block, fresh = await told(viewer)
    assert block["type"] == "trouble"
    assert fresh == {"type": "fresh", "block": "trouble", "symbol": "", "ts_ms": 2}
    [newest] = await told(late)
    assert newest == {"type": "trouble", "ts_ms": 2, "problems": {"Redis": "away"}}


async def test_what_concerns_a_symbol_goes_to_those_who_watch_it() -> None:
    audience = Audience()
    btc, eth = looking(audience), looking(audience, "ETHUSDT")
    audience.show(gaps("BTCUSDT"))
    audience.tell(second(5))
    audience.show(trouble(1))

    assert await kinds(btc) == ["gaps", "second", "trouble"]
    assert await kinds(eth) == ["trouble"]


async def test_who_switches_the_symbol_is_sent_its_blocks_and_not_the_others_again() -> None:
    audience = Audience()
    watched: list[str] = []
    audience.on_watch = watched.append
    looking(audience, "ETHUSDT")
    viewer = looking(audience)
    audience.show(trouble(1))
    audience.show(gaps("ETHUSDT"))
    await told(viewer)

    audience.watch(viewer, "ETHUSDT")

    assert await kinds(viewer) == ["gaps"]
    assert watched == ["ETHUSDT", "BTCUSDT", "ETHUSDT"]
    assert audience.symbols == {"ETHUSDT"}


async def test_nothing_is_sent_before_the_browser_says_what_it_watches() -> None:
    audience = Audience()
    viewer = Viewer()
    audience.join(viewer)
    audience.show(trouble(1))
    assert await kinds(viewer) == []

    audience.watch(viewer, "BTCUSDT")
    assert await kinds(viewer) == ["trouble"]


async def test_a_message_is_encoded_once_however_many_look(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Message] = []
    encode = module._encode

    def counted(message: Message) -> bytes:
        encoded.append(message)
        return encode(message)

    monkeypatch.setattr(module, "_encode", counted)
    audience = Audience()
    viewers = [looking(audience) for _ in range(10)]
    audience.tell(second(1))
    audience.show(trouble(1))

    assert len(encoded) == 2
    first, other = [[await viewer.next() for _ in range(2)] for viewer in viewers[:2]]
    assert all(one is two for one, two in zip(first, other, strict=True))


async def test_who_does_not_take_the_messages_is_closed_and_nobody_else() -> None:
    audience = Audience()
    slow, quick = looking(audience), looking(audience)
    for t in range(MAX_WAITING + 1):
        audience.tell(second(t))
        assert await quick.next() is not None

    assert slow.end is Close.TOO_SLOW
    assert await slow.next() is None
    assert quick.end is None


async def test_a_few_huge_messages_are_too_much_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 1_000)
    viewer = Viewer()
    viewer.tell(b"x" * 999)
    assert viewer.end is None

    viewer.tell(b"xx")
    assert viewer.end is Close.TOO_SLOW


async def test_what_nobody_sees_is_forgotten() -> None:
    audience = Audience()
    viewer = looking(audience)
    audience.show(trouble(1))
    assert audience.present.is_set()

    audience.leave(viewer)

    assert not audience.present.is_set()
    assert await kinds(looking(audience)) == []


async def test_deserted_when_nobody_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.01)
    audience = Audience()
    viewer = looking(audience)
    waiting = asyncio.create_task(audience.deserted())
    await asyncio.sleep(0)
    assert not waiting.done()

    audience.leave(viewer)
    async with asyncio.timeout(5):
        await waiting


async def test_the_end_of_a_login_closes_what_was_opened_with_it() -> None:
    audience = Audience()
    mine, other = Viewer("mine"), Viewer("other")
    audience.join(mine)
    audience.join(other)

    audience.log_out("mine")

    assert (mine.end, other.end) == (Close.LOGIN, None)
    assert mine.ended.is_set()
