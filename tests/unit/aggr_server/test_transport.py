from __future__ import annotations

import time
from email.utils import formatdate

from aggr_server.transport import explain_status, retry_after_s


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
