from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from aggr_server.transport import explain_status, retry_after_s, through_gateway


@pytest.mark.parametrize(
    ("url", "gateway", "expected"),
    [
        ("wss://h.com:9443/ws", "", "wss://h.com:9443/ws"),
        ("wss://h.com:9443/ws", "http://g:18090", "ws://g:18090/h.com/ws"),
        ("wss://h.com/ws", "https://g/x/", "wss://g/x/h.com/ws"),
        ("https://h.com/api?a=1&b=2", "http://g:1", "http://g:1/h.com/api?a=1&b=2"),
        ("wss://h.com", "http://g:1", "ws://g:1/h.com"),
    ],
)
def test_the_exchanges_host_becomes_part_of_the_gateways_path(
    url: str, gateway: str, expected: str
) -> None:
    assert through_gateway(url, gateway) == expected


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
