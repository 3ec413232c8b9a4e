from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aggr_server.shards import Shard, parse

ROOT = Path(__file__).resolve().parents[3]

MARKETS = [f"{e}:{s}{n}" for e in ("BINANCE", "OKEX") for s in ("BTC-", "eth") for n in range(200)]


@pytest.mark.parametrize("count", range(1, 17))
def test_every_market_is_in_exactly_one_shard(count: int) -> None:
    shards = [Shard(index, count) for index in range(1, count + 1)]
    holders = [sum(shard.holds(market) for shard in shards) for market in MARKETS]
    assert holders == [1] * len(MARKETS)
    share = len(MARKETS) / count
    for shard in shards:
        assert share / 3 < sum(map(shard.holds, MARKETS)) < share * 2


def test_the_shard_of_a_market_is_the_same_in_every_process() -> None:
    code = (
        "import sys; from aggr_server.shards import Shard; "
        "print([Shard(1, 7).holds(m) for m in sys.argv[1:]])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code, *MARKETS[:50]],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "aggr-server")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "12345")
    }
    assert answers == {str([Shard(1, 7).holds(m) for m in MARKETS[:50]])}


def test_names_and_folders_of_shards_do_not_collide() -> None:
    shards = [Shard(index, 3) for index in (1, 2, 3)]
    assert [s.named("aggr-1") for s in shards] == ["aggr-1", "aggr-1-2", "aggr-1-3"]
    assert len({s.folder(Path("/data")) for s in shards}) == 3
    assert shards[0].folder(Path("/data")) == Path("/data")


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no shard: write I/N"):
        parse(text)


def test_a_shard_is_read() -> None:
    assert parse("2/3") == Shard(2, 3)
