from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Iterator

import pytest
import uvloop

from aggr_server import log


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_has_utc_time_level_service_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("aggr-server")
    logging.getLogger("x").info("flushed %s", log.kv(points=3, lag_s=0.25, note="two words"))
    line = capsys.readouterr().err
    assert re.match(
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=INFO service=aggr-server logger=x "
        r'flushed points=3 lag_s=0\.25 note="two words"\n$',
        line,
    )


def test_line_breaks_in_a_message_do_not_break_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("aggr-server")
    logging.getLogger("x").warning("first\nsecond")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_lookup_that_fails_after_its_time_out_is_no_error_but_others_of_asyncio_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.setup("aggr-server")

    async def connect() -> None:
        loop = asyncio.get_running_loop()
        for error in (socket.gaierror(-3, "name resolution"), OSError("disk")):
            loop.call_exception_handler(
                {"message": "Future exception was never retrieved", "exception": error}
            )

    uvloop.run(connect())
    [line] = capsys.readouterr().err.splitlines()
    assert "never retrieved" in line
    assert "disk" in line


def test_quotes_in_a_value_cannot_end_it() -> None:
    assert log.kv(a='say "no"', empty="") == 'a="say \'no\'" empty=""'
