"""What becomes of a signal that was claimed for an order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from redis import Redis

from tests.integration.freqtrade.bot import Runner
from tests.integration.freqtrade.inside import run
from tests.integration.servers import free_port
from tests.unit.freqtrade.test_rules import entry

CLAIMED = """
from aggr_server.settings import Connections
from squeezeflow import rules
from squeezeflow.alarms import Alarms
from squeezeflow.desk import ORDER_GRACE_MS, Desk
from squeezeflow.lease import Lease
from squeezeflow.link import Link
from squeezeflow.teller import Teller

port, signal = int(sys.argv[2]), rules.decode(sys.argv[3].encode())
desk = Desk(dry_run=True)
desk.claimed(signal, MIDNIGHT)

def tell(port=port, after_ms=ORDER_GRACE_MS, dry_run=False):
    link = Link(Connections(redis_port=port))
    teller = Teller(
        link, desk, Lease("a"), Alarms(), dry_run=dry_run, now_ms=lambda: MIDNIGHT + after_ms
    )
    teller.tell()
    link.close()

def waits():
    return desk.claim_of(signal.signal_id) is not None
"""


@pytest.fixture
def runner(redis_port: int) -> Iterator[Runner]:
    """The strategy's side of Redis."""
    with Redis(port=redis_port) as client:
        yield Runner(client, {})


def claimed(database: Path, script: str, redis_port: int) -> str:
    """Run assertions on the claim of signal `id-1`; what was logged."""
    return run(database, CLAIMED + script, str(redis_port), msgspec.json.encode(entry()).decode())


def told(runner: Runner) -> list[tuple[str, str, str, bool]]:
    return [(fill.event, fill.signal_id, fill.reason, fill.dry_run) for fill in runner.fills()]


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_order_that_came_to_nothing_is_told_once_and_looked_after_where_money_is_real(
    tmp_path: Path, redis_port: int, runner: Runner, dry_run: bool
) -> None:
    log = claimed(
        tmp_path / "trades.sqlite",
        f"""
tell(after_ms=ORDER_GRACE_MS - 1, dry_run={dry_run})
assert waits()
for _ in range(2):
    tell(dry_run={dry_run})
    assert not waits()
""",
        redis_port,
    )
    assert told(runner) == [("rejected", "id-1", "not_filled", dry_run)]
    assert log.count("ERROR order without a trade") == (not dry_run)


def test_an_order_that_came_to_nothing_is_told_once_redis_is_back(
    tmp_path: Path, redis_port: int, runner: Runner
) -> None:
    log = claimed(
        tmp_path / "trades.sqlite",
        f"""
for _ in range(2):
    tell(port={free_port()})
    assert waits()
tell()
assert not waits()
""",
        redis_port,
    )
    assert told(runner) == [("rejected", "id-1", "not_filled", False)]
    assert log.count("ERROR order without a trade") == 1


def test_an_order_that_became_a_trade_is_no_failure_and_an_open_one_is_waited_for(
    tmp_path: Path, redis_port: int, runner: Runner
) -> None:
    log = claimed(
        tmp_path / "trades.sqlite",
        """
made = trade("id-1", amount=0)
tell()
assert waits()
made.amount = 1
Trade.commit()
tell()
assert not waits()
""",
        redis_port,
    )
    assert told(runner) == [("opened", "id-1", "", False)]
    assert "ERROR" not in log
