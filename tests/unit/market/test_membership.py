from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggr_server.wire import Market
from services.market.membership import Membership

T = 1_790_000_100


def market(name: str, kind: str) -> Market:
    return Market(f"{name}:x", name, "X", "USDT", "spot" if kind == "spot" else "perp")


@given(
    st.dictionaries(
        st.text("ABCDEFGH", min_size=1, max_size=3),
        st.tuples(st.sampled_from(("spot", "perp")), st.floats(0.0, 1e9)),
        min_size=1,
        max_size=8,
    )
)
def test_a_second_in_which_everyone_traded_is_judged_as_if_each_had_been_looked_at(
    known: dict[str, tuple[str, float]],
) -> None:
    judged = []
    for everyone in (True, False):
        members = Membership()
        members.seed({f"{name}:x": volume for name, (_, volume) in known.items()})
        for t in range(T, T + 70):
            if t % 60 == 0:
                members.close_minute(t)
            for name, (kind, volume) in known.items():
                track = members.tracks.get(f"{name}:x") or members.admit(market(name, kind), t)
                track.saw(t, volume)
            members.judge(t, frozenset(), everyone=everyone)
            judged.append((members.coverage, members.degraded, members.good_since))
    assert judged[:70] == judged[70:]


def test_a_market_that_is_silent_does_not_count_although_everyone_has_traded() -> None:
    members = Membership()
    for name, kind in (("A", "spot"), ("B", "spot"), ("C", "perp")):
        members.admit(market(name, kind), T).saw(T, 1.0)
    members.judge(T, {"A:x"}, everyone=True)
    assert members.coverage == pytest.approx(0.5)
