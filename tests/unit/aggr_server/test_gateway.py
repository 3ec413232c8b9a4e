from __future__ import annotations

import pytest

from aggr_server.gateway import through_gateway


@pytest.mark.parametrize(
    ("url", "gateway", "expected"),
    [
        ("wss://h.com:9443/ws", "", "wss://h.com:9443/ws"),
        ("wss://h.com:9443/ws", "http://g:18090", "ws://g:18090/h.com/ws"),
        ("wss://h.com/ws", "https://g/x/", "wss://g/x/h.com/ws"),
        ("https://h.com/api", "https://g/x/", "https://g/x/h.com/api"),
        ("https://h.com/api?a=1&b=2", "http://g:1", "http://g:1/h.com/api?a=1&b=2"),
        ("https://h.com", "http://g:1", "http://g:1/h.com"),
        ("wss://h.com", "http://g:1", "ws://g:1/h.com"),
    ],
)
def test_the_exchanges_host_becomes_part_of_the_gateways_path(
    url: str, gateway: str, expected: str
) -> None:
    assert through_gateway(url, gateway) == expected
