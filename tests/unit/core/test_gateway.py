"""URLs of exchanges behind a gateway."""

from __future__ import annotations

import pytest

from services.core.gateway import through, through_all

GATEWAY = "http://127.0.0.1:18090"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://fapi.binance.com/fapi/v1", f"{GATEWAY}/fapi.binance.com/fapi/v1"),
        ("https://www.okx.com", f"{GATEWAY}/www.okx.com"),
        (
            "wss://ws.okx.com:8443/ws/v5/public",
            "ws://127.0.0.1:18090/ws.okx.com/ws/v5/public",
        ),
        ("https://host/path?a=1&b=2", f"{GATEWAY}/host/path?a=1&b=2"),
    ],
)
def test_the_host_becomes_the_first_part_of_the_path(url: str, expected: str) -> None:
    assert through(url, GATEWAY) == expected


def test_a_gateway_with_tls_and_a_path_keeps_both() -> None:
    assert through("wss://a.b/c", "https://front/x/") == "wss://front/x/a.b/c"
    assert through("https://a.b/c", "https://front/x/") == "https://front/x/a.b/c"


def test_without_a_gateway_nothing_changes() -> None:
    urls = {"public": "https://a.b", "v": {"w": ["wss://c.d/e"]}}
    assert through_all(urls, "") == urls


def test_nested_urls_are_rewritten_and_other_values_kept() -> None:
    urls = {"public": "https://a.b", "v": {"w": ["wss://c.d/e", 5]}, "name": "a.b", "none": None}
    assert through_all(urls, GATEWAY) == {
        "public": f"{GATEWAY}/a.b",
        "v": {"w": ["ws://127.0.0.1:18090/c.d/e", 5]},
        "name": "a.b",
        "none": None,
    }
