from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aggr_server.dedup import RecentIds


@given(st.lists(st.integers(0, 30), max_size=200))
def test_the_last_ids_are_never_taken_twice(ids: list[int]) -> None:
    recent = RecentIds(size=10)
    accepted: list[int] = []
    for id in ids:
        known = id in accepted[-10:]
        if recent.add(id):
            assert not known
            accepted.append(id)
        else:
            assert id in accepted[-20:]
