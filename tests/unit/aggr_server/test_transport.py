from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import uvloop

from aggr_server import transport
from aggr_server.transport import (
    MAX_FRAME_BYTES,
    Disconnected,
    PicowsConnector,
    Refused,
    Socket,
    explain_status,
    retry_after_s,
)
from tests.unit.aggr_server.peers import BINARY, CLOSE, PING, PONG, TEXT, Peer, frame, peer

Run = Callable[[Coroutine[Any, Any, None]], None]
on_both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
"""The collector runs on uvloop."""


async def end_of(socket: Socket, *, into: list[bytes] | None = None) -> Disconnected:
    def keep(message: bytes) -> int:
        if into is not None:
            into.append(message)
        return 1

    with pytest.raises(Disconnected) as caught:
        await socket.receive_all(keep, 100)
    await socket.close()
    return caught.value


@on_both_loops
def test_messages_arrive_whole_and_in_order_as_bytes(run: Run) -> None:
    async def serve(p: Peer) -> None:
        # The first ones come together with the answer, before anybody receives.
        await p.accept(frame(b"early") + frame(b"x" * 200))
        await p.send(frame(b"text"), frame(b"\x00\xff", BINARY), frame(b""))
        await p.send(frame(b"one ", fin=False), frame(b"", PING))
        await p.send(frame(b"y" * 300, 0, fin=False), frame(b" three", 0))
        await p.send(frame(b"z" * 1_000_000), frame(b"\x03\xe8bye", CLOSE))
        # An end that leaves something unread would be a reset, which overtakes what was sent.
        await p.reader.read()

    async def receive() -> None:
        received: list[bytes] = []
        async with peer(serve) as url:
            end = await end_of(await PicowsConnector().connect(url), into=received)
        assert received == [
            *(b"early", b"x" * 200, b"text", b"\x00\xff", b""),
            *(b"one " + b"y" * 300 + b" three", b"z" * 1_000_000),
        ]
        assert end.clean
        assert str(end) == "closed by the exchange, code 1000 bye"

    run(receive())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "without a closing handshake"),
        (frame(b"half")[:3], "without a closing handshake"),
        (b"\x83\x00", "opcode"),
        (frame(b"a", fin=False) + frame(b"b"), "two messages are mixed"),
        (frame(b"b", 0), "two messages are mixed"),
        (b"\x81\x7f" + (MAX_FRAME_BYTES + 1).to_bytes(8, "big"), "exceeding max"),
    ],
)
@on_both_loops
def test_any_other_end_is_not_clean(run: Run, data: bytes, reason: str) -> None:
    async def serve(p: Peer) -> None:
        await p.accept()
        await p.send(data)

    async def receive() -> None:
        async with peer(serve) as url:
            end = await end_of(await PicowsConnector().connect(url))
        assert not end.clean
        assert reason in str(end)

    run(receive())


async def test_a_message_in_parts_is_bounded_too() -> None:
    async def serve(p: Peer) -> None:
        await p.accept()
        await p.send(frame(b"", fin=False))
        while True:
            await p.send(frame(b"x" * 1_000_000, 0, fin=False))

    async with peer(serve) as url:
        end = await end_of(await PicowsConnector().connect(url))
    assert str(end) == "message of more than 16 MB"


async def test_what_the_receiver_raises_ends_the_reception() -> None:
    async def serve(p: Peer) -> None:
        await p.accept()
        await p.send(*[frame(b"%d" % n) for n in range(9)])
        await p.reader.read()

    received: list[bytes] = []

    def refuse(message: bytes) -> int:
        received.append(message)
        if message == b"3":
            raise LookupError("enough")
        return 1

    async with peer(serve) as url:
        socket = await PicowsConnector().connect(url)
        with pytest.raises(LookupError, match="enough"):
            await socket.receive_all(refuse, 100)
        await socket.close()
    assert received == [b"0", b"1", b"2", b"3"]


async def test_headers_texts_and_answers_to_pings_reach_the_server() -> None:
    seen: list[object] = []
    done = asyncio.Event()

    async def serve(p: Peer) -> None:
        await p.accept()
        seen.append(await p.receive())
        await p.send(frame(b"are you there", PING))
        seen.append(await p.receive())
        seen.append(p.head.decode().splitlines())
        done.set()
        await p.reader.read()

    async with peer(serve) as url:
        socket = await PicowsConnector().connect(url, headers={"X-Key": "value"})
        receiving = asyncio.create_task(socket.receive_all(len, 100))
        await socket.send("subscribe")
        await done.wait()
        await socket.close()
        with pytest.raises(Disconnected):
            await receiving
        with pytest.raises(Disconnected):
            await socket.send("more")
    assert seen[:2] == [(TEXT, b"subscribe"), (PONG, b"are you there")]
    head = seen[2]
    assert isinstance(head, list)
    assert "X-Key: value" in head
    assert head[0] == "GET /p HTTP/1.1"


async def test_a_ping_without_an_answer_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "PING_EVERY_S", 0.01)
    monkeypatch.setattr(transport, "PONG_WITHIN_S", 0.05)
    answered = 0

    async def serve(p: Peer) -> None:
        nonlocal answered
        await p.accept()
        while (await p.receive())[0] == PING:
            if answered < 3:
                answered += 1
                await p.send(frame(b"", PONG))

    async with peer(serve) as url:
        end = await end_of(await PicowsConnector().connect(url))
    assert str(end) == "no answer to a ping within 0 s"
    assert (answered, end.clean) == (3, False)


@pytest.mark.parametrize(
    ("answer", "status", "wait_s"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\n\r\n", 429, 60.0),
        (b"HTTP/1.1 451 Unavailable\r\nContent-Length: 2\r\n\r\nno", 451, 0.0),
        (b"HTTP/1.1 521 \r\nRetry-After: 5\r\n\r\n", 521, 5.0),
        (b"HTTP/1.0 503\r\n\r\n", 503, 0.0),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", 302, 0.0),
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, 0.0),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 0, 0.0),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 0, 0.0),
        (b"", 0, 0.0),
    ],
)
async def test_refusals_tell_status_and_wait(answer: bytes, status: int, wait_s: float) -> None:
    async def serve(p: Peer) -> None:
        await p.reader.readuntil(b"\r\n\r\n")
        await p.send(answer)

    async with peer(serve) as url:
        with pytest.raises(Refused) as caught:
            await PicowsConnector().connect(url)
    assert (caught.value.status, caught.value.retry_after_s) == (status, wait_s)
    assert str(caught.value)


async def test_no_answer_in_time_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.05)

    async def serve(p: Peer) -> None:
        await p.reader.read()

    async with peer(serve) as url:
        with pytest.raises(Refused, match="no answer within"):
            await PicowsConnector().connect(url)
    with pytest.raises(Refused):
        await PicowsConnector().connect(url)  # nobody listens there any more


async def test_a_connection_given_up_while_it_is_opened_is_closed() -> None:
    asked, answers, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(p: Peer) -> None:
        asked.set()
        await answers.wait()
        await p.accept()
        await p.reader.read()
        closed.set()

    async with peer(serve) as url:
        connecting = asyncio.create_task(PicowsConnector().connect(url))
        await asked.wait()
        connecting.cancel()
        answers.set()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await asyncio.wait_for(closed.wait(), 5)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that nobody trusts, beside its key in `key.pem`."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    extra: list[str | Path] = [
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([*command.split(), *extra], check=True, capture_output=True)
    return certificate


@on_both_loops
def test_certificates_are_checked(run: Run, certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_name("key.pem"))

    async def serve(p: Peer) -> None:
        await p.accept()
        await p.send(frame(b"x" * 200_000), frame(b"\x03\xe8", CLOSE))
        await p.reader.read()

    async def receive() -> None:
        received: list[bytes] = []
        async with peer(serve, tls) as url:
            with pytest.raises(Refused, match="CERTIFICATE_VERIFY_FAILED"):
                await PicowsConnector().connect(url)
            trusting = ssl.create_default_context(cafile=certificate)
            with pytest.raises(Refused, match="mismatch"):
                await PicowsConnector(trusting).connect(url.replace("localhost", "127.0.0.1"))
            end = await end_of(await PicowsConnector(trusting).connect(url), into=received)
        assert ([len(m) for m in received], end.clean) == ([200_000], True)

    run(receive())


@on_both_loops
def test_c2_a_flood_leaves_turns_to_other_tasks(run: Run) -> None:
    block = frame(b"x" * 180) * 2000

    async def serve(p: Peer) -> None:
        await p.accept()
        await p.send(*[block] * 20, frame(b"\x03\xe8", CLOSE))

    count, turns, longest = 0, 0, 0

    def on_frame(message: bytes) -> int:
        nonlocal count
        count += 1
        return 1

    async def others() -> None:
        nonlocal turns, longest
        while True:
            before = count
            await asyncio.sleep(0)
            turns += 1
            longest = max(longest, count - before)

    async def receive() -> None:
        async with peer(serve) as url:
            socket = await PicowsConnector().connect(url)
            task = asyncio.create_task(others())
            with pytest.raises(Disconnected):
                await socket.receive_all(on_frame, 100)
            task.cancel()
            await socket.close()

    run(receive())
    assert count == 40_000
    assert longest <= 2 * transport.READ_BYTES // 184
    assert turns >= 40_000 // longest


def test_how_long_a_server_asks_to_wait() -> None:
    assert retry_after_s({"Retry-After": "7"}) == 7.0
    assert retry_after_s({}) == 0.0
    assert retry_after_s(None) == 0.0
    assert retry_after_s({"Retry-After": "soon"}) == 0.0
    date = formatdate(time.time() + 100, usegmt=True)
    assert 90 < retry_after_s({"Retry-After": date}) <= 100


def test_refusals_are_explained() -> None:
    assert "location" in explain_status(451)
    assert "blocked" in explain_status(403)
    assert "too many requests" in explain_status(429)
    assert explain_status(500) == ""
