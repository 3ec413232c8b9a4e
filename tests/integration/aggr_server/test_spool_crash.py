"""The spool of a process that is killed at any moment, and of one whose power is cut."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aggr_server.epitaph import decode
from aggr_server.spool import Spool
from aggr_server.wire import Bar, ClosedSecond
from tests.integration.servers import ROOT

BEGIN = 1_700_000_000
MAX_BYTES = 1 << 30
AT_MOST = 3000
ROUNDS = 30

# Appends until it is killed, but not without end if that comes late; confirms some of it, and says
# what is certainly kept.
CHILD = """
import asyncio, sys
from pathlib import Path
from aggr_server.spool import Spool
from tests.integration.aggr_server.test_spool_crash import AT_MOST, MAX_BYTES, closed

async def main(folder, confirms):
    spool = Spool.open(Path(folder), MAX_BYTES, keep_s=50)
    number = spool.waiting if spool.last_second is None else spool.last_second - BEGIN + 1
    for _ in range(AT_MOST):
        spool.append(closed(number))
        sys.stdout.write(f"{number} {spool._cursor}\\n")
        sys.stdout.flush()
        number += 1
        if confirms and number % 7 == 0:
            unsent = await spool.unsent(20_000)
            spool.confirm(unsent.records)
    await asyncio.sleep(600)

BEGIN = 1_700_000_000
asyncio.run(main(sys.argv[1], sys.argv[2] == "yes"))
"""


def closed(number: int) -> ClosedSecond:
    """A second like no other, of 1 to 40 bars."""
    second = BEGIN + number
    bars = [
        Bar(second, f"A:{n}", 1.5, 2.5, 0.5, number / 3, number, n, number, n, 0.0, 0.0)
        for n in range(1 + number * 7 % 40)
    ]
    return ClosedSecond("c", "e", number, second, number, None, bars)


def run_and_kill(folder: Path, after_s: float, *, confirms: bool) -> tuple[int, int]:
    """Let a child append until it is killed; the last second it had kept, and its cursor."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "aggr-server")])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), "yes" if confirms else "no"],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    first = child.stdout.readline()
    time.sleep(after_s)
    child.kill()
    rest, _ = child.communicate()
    lines = (first + rest).decode().splitlines(keepends=True)
    number, cursor = next(line for line in reversed(lines) if line.endswith("\n")).split()
    return int(number), int(cursor)


@pytest.mark.parametrize("confirms", [False, True])
async def test_c5_a_killed_process_loses_no_second_that_it_had_kept(
    tmp_path: Path, *, confirms: bool
) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    dice = random.Random(seed)
    folder = tmp_path / "spool"
    for round_ in range(ROUNDS // 2):
        last, cursor = await asyncio.to_thread(
            run_and_kill, folder, dice.uniform(0.0, 0.08), confirms=confirms
        )
        spool = Spool.open(folder, MAX_BYTES, keep_s=50)
        try:
            assert spool.last_second is not None
            assert spool.last_second >= BEGIN + last, f"seed {seed}, round {round_}"
            assert spool._cursor >= cursor
            begin, end = spool._cursor, spool.last_second - BEGIN + 1
            expected = [closed(n) for n in range(begin, end)]
            assert spool.waiting == len(expected)
            tail = spool.tail(50)
            assert tail == [closed(n) for n in range(max(0, end - 50), end)], f"seed {seed}"
            found: list[ClosedSecond] = []
            while (unsent := await spool.unsent(100_000)).records:
                assert unsent.lost == []
                found += [decode(record.payload) for record in unsent.records]
                if not confirms and found:
                    break
                spool.confirm(unsent.records)
            assert found == expected[: len(found)], f"seed {seed}, round {round_}"
            assert len(found) == len(expected) or not confirms
        finally:
            spool.close()


async def test_what_a_power_cut_leaves_of_the_last_seconds_is_used(tmp_path: Path) -> None:
    """The kernel may have written any part of what was not yet synced, holes being zeros."""
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    dice = random.Random(seed)
    for round_ in range(20):
        folder = tmp_path / str(round_)
        spool = Spool.open(folder, MAX_BYTES)
        for number in range(50):
            spool.append(closed(number))
        spool.close()
        (path,) = folder.glob("*.segment")
        data = bytearray(path.read_bytes())
        torn = dice.randrange(len(data) // 2, len(data))
        for start in range(torn // 512 * 512, len(data), 512):
            if dice.random() < 0.5:
                data[start : start + 512] = bytes(len(data[start : start + 512]))
        path.write_bytes(data[: dice.randrange(torn, len(data))])
        spool = Spool.open(folder, MAX_BYTES)
        try:
            assert spool.last_second is not None
            next_ = spool.last_second - BEGIN + 1
            for number in range(next_, next_ + 3):
                spool.append(closed(number))
            found: list[ClosedSecond] = []
            lost: set[int] = set()
            while (unsent := await spool.unsent(1 << 20)).records:
                found += [decode(record.payload) for record in unsent.records]
                lost |= {s for from_s, to_s in unsent.lost for s in range(from_s, to_s)}
                spool.confirm(unsent.records)
        finally:
            spool.close()
        numbers = [message.second - BEGIN for message in found]
        assert found == [closed(n) for n in numbers]
        missing = set(range(next_ + 3)) - set(numbers)
        assert {BEGIN + n for n in missing} <= lost, f"seed {seed}, round {round_}"
