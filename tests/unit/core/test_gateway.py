"""Nested tables of exchanges' URLs."""

from __future__ import annotations

from services.core.gateway import through_all

GATEWAY = "http://127.0.0.1:18090"


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
