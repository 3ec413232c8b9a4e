"""What the replicas tell together."""

from __future__ import annotations

from typing import Any

from services.core.records import Heartbeat
from services.trading.leases import Leases, Shares
from services.trading.pulse import together


class Led(Leases):
    """Leases of which only the shares matter."""

    def __init__(self, *unled: str) -> None:
        self.shares = Shares(1, unled)


def beat(ts_ms: int, status: str = "ok", **details: Any) -> Heartbeat:
    return Heartbeat(
        service="strategy-runner", ts_ms=ts_ms, pid=1, cycle_ms=ts_ms, status=status,
        details=details,
    )  # fmt: skip


ONE = beat(1, states={"BTCUSDT": "WATCHING"}, warm=True, lag_ms=None, coverage={"BTCUSDT": 1.0})
TWO = beat(2, states={"ETHUSDT": "RESET"}, warm=False, lag_ms=300, coverage={"ETHUSDT": 0.9})


def test_symbols_of_all_replicas_are_told_and_the_worst_of_their_figures() -> None:
    whole = together(ONE, {"a": ONE, "b": TWO}, Led())
    assert whole.status == "ok"
    assert whole.cycle_ms == 2
    assert whole.details["states"] == {"BTCUSDT": "WATCHING", "ETHUSDT": "RESET"}
    assert whole.details["coverage"] == {"BTCUSDT": 1.0, "ETHUSDT": 0.9}
    assert whole.details["warm"] is False
    assert whole.details["lag_ms"] == 300
    assert whole.details["replicas"] == {"a": ["BTCUSDT"], "b": ["ETHUSDT"]}


def test_a_replica_that_only_follows_does_not_change_the_figures() -> None:
    idle = beat(3, states={}, warm=False)
    assert together(idle, {"a": ONE, "b": idle}, Led()).details["warm"] is True


def test_a_replica_in_trouble_is_named() -> None:
    troubled = beat(3, status="bars 12 s behind")
    whole = together(ONE, {"a": ONE, "b": troubled}, Led())
    assert whole.status == "b: bars 12 s behind"


def test_one_replica_alone_tells_its_own_status() -> None:
    troubled = beat(3, status="bars 12 s behind")
    assert together(troubled, {"a": troubled}, Led()).status == "bars 12 s behind"


def test_a_symbol_without_leader_is_no_good_service() -> None:
    whole = together(ONE, {"a": ONE, "b": TWO}, Led("SOLUSDT", "XRPUSDT"))
    assert whole.status == "no replica leads SOLUSDT, XRPUSDT"
