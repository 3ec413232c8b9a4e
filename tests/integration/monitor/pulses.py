"""Services that do nothing but give signs of life, each a process: `pulses.py PORT NAME ...`.

A process for each name is forked; its pid is printed, and it ends with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

import msgspec
from redis import Redis
from redis.exceptions import RedisError

from services.core import names
from services.core.records import Heartbeat

EVERY_S = 0.3
TTL_MS = 1500
PR_SET_PDEATHSIG = 1


def main(port: int, services: list[str]) -> None:
    """Entry point; returns in the children only, when they are ended."""
    for service in services:
        if pid := os.fork():
            print(service, pid, flush=True)
        else:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            beat(port, service)
    print("all", os.getpid(), flush=True)
    signal.pause()


def beat(port: int, service: str) -> None:
    """Give signs of life without end, through outages of Redis."""
    redis = Redis(port=port, socket_timeout=1, socket_connect_timeout=1)
    while True:
        record = Heartbeat(
            service=service, ts_ms=time.time_ns() // 1_000_000, pid=os.getpid(), cycle_ms=1.0
        )
        with contextlib.suppress(RedisError):
            redis.set(names.heartbeat(service), msgspec.json.encode(record), px=TTL_MS)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
