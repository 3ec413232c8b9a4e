from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from scripts.stack.ports import Need, require_free
from scripts.stack.running import StackError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_free_ports_pass(free: int) -> None:
    require_free([Need("redis", "127.0.0.1", free, "REDIS_PORT")])


def test_a_taken_port_is_named_with_service_holder_and_setting(taken: int) -> None:
    with pytest.raises(StackError) as caught:
        require_free([Need("redis", "127.0.0.1", taken, "REDIS_PORT")])
    text = str(caught.value)
    for part in (str(taken), "redis", f"process {os.getpid()}", "REDIS_PORT"):
        assert part in text


def test_one_line_for_each_port(taken: int, free: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        needs = [
            Need("a", "127.0.0.1", taken, "A"),
            Need("b", "127.0.0.1", free, "B"),
            Need("c", "127.0.0.1", other.getsockname()[1], "C"),
        ]
        with pytest.raises(StackError) as caught:
            require_free(needs)
    assert len(str(caught.value).splitlines()) == 2


def test_the_same_port_for_two_services_is_refused(free: int) -> None:
    needs = [Need("a", "127.0.0.1", free, "A_PORT"), Need("b", "127.0.0.1", free, "B_PORT")]
    with pytest.raises(StackError, match=r"A_PORT.*B_PORT"):
        require_free(needs)


def test_an_address_of_another_machine_is_refused(free: int) -> None:
    with pytest.raises(StackError, match="not available"):
        require_free([Need("a", "192.0.2.1", free, "A_PORT")])


def test_a_closed_listener_is_no_obstacle() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    accepted, _ = server.accept()
    for one in (accepted, client, server):  # leaves the server's side in TIME_WAIT
        one.close()
    require_free([Need("redis", "127.0.0.1", port, "REDIS_PORT")])
