"""Writes what weeks of collecting leave in InfluxDB, as fast as it takes it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from random import Random
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from aggr_server.points import gap_line, market_line
from aggr_server.wire import TIMEFRAMES, Gap, Market, Timeframe
from scripts.stack.running import StackError
from services.core import names
from services.core.schema import DEFAULT_POLICY

LINES = 10_000
WRITERS = 2
SHAPES, LENGTH = 16, 4096
VENUES = ("BINANCE", "COINBASE", "OKEX", "KRAKEN", "BINANCE_FUTURES", "BYBIT", "BITGET",
          "DERIBIT", "HUOBI", "GATEIO")  # fmt: skip
SPOT = 4
"""The first so many venues have spot markets, the others perpetuals."""

REASONS = ("start", "down", "silence", "late", "liquidations")
OI_EVERY_S = 300
READINGS, READINGS_EVERY_S = 150, 60


def markets(count: int) -> list[Market]:
    """`count` markets, of each symbol one at every venue."""
    found = []
    for number in range(count):
        symbol, venue = divmod(number, len(VENUES))
        base, kind = f"COIN{symbol}", "spot" if venue < SPOT else "perp"
        name = f"{VENUES[venue]}:{base.lower()}usdt"
        found.append(Market(name, VENUES[venue], base, "USDT", kind))  # type: ignore[arg-type]
    return found


@dataclass
class Filling:
    """Points of `markets` into the database at `port`. Counts what was written."""

    port: int
    database: str
    markets: Sequence[Market]
    points: int = 0

    def __post_init__(self) -> None:
        luck = Random(1)
        self._shapes = [list(_fields(luck)) for _ in range(SHAPES)]

    def bars(self, timeframe: Timeframe, start: int, end: int) -> None:
        """A bar of every market in each step of [start, end)."""
        self._write(timeframe.retention_policy, self._bars(timeframe, start, end))

    def rest(self, start: int, end: int) -> None:
        """What else is kept: gaps, open interest, readings and what the markets are."""
        self._write(DEFAULT_POLICY, self._rest(start, end))

    def second(self, t: int) -> None:
        """The bars of one second, as the collector stores them."""
        self.bars(TIMEFRAMES[0], t, t + 1)

    def _bars(self, timeframe: Timeframe, start: int, end: int) -> Iterator[str]:
        heads = [f"{timeframe.measurement},market={m.market} " for m in self.markets]
        for t in range(start, end, timeframe.seconds):
            step = t // timeframe.seconds
            for number, head in enumerate(heads):
                fields = self._shapes[number % SHAPES][(step + 17 * number) % LENGTH]
                yield f"{head}{fields} {t}"

    def _rest(self, start: int, end: int) -> Iterator[str]:
        for t in range(start, end, 3600):
            for number, market in enumerate(self.markets):
                yield market_line(market, t)
                reason = REASONS[(t // 3600 + number) % len(REASONS)]
                yield gap_line(Gap(market.market, t + number, t + number + 5, reason))
        perps = [m for m in self.markets if m.kind == "perp"]
        for t in range(start, end, OI_EVERY_S):
            for market in perps:
                yield (
                    f"{names.OI_MEASUREMENT},symbol={market.base}USDT,exchange={market.exchange},"
                    f"aggregate_type=exchange coins={1000 + t % 977}.5 {t}"
                )
        for t in range(start, end, READINGS_EVERY_S):
            for number in range(READINGS):
                yield (
                    f"{names.READINGS_MEASUREMENT},name=n{number % 15},subject=s{number} "
                    f"value={t % 89}.5 {t}"
                )

    def _write(self, policy: str, lines: Iterator[str]) -> None:
        """Send batches, the next being made while InfluxDB stores the ones before."""
        with ThreadPoolExecutor(WRITERS) as pool:
            sending: deque[Future[None]] = deque()
            while batch := list(islice(lines, LINES)):
                self.points += len(batch)
                if len(sending) == WRITERS:
                    sending.popleft().result()
                sending.append(pool.submit(self._send, policy, batch))
            for sent in sending:
                sent.result()

    def _send(self, policy: str, batch: list[str]) -> None:
        query = urlencode({"db": self.database, "rp": policy, "precision": "s"})
        url = f"http://127.0.0.1:{self.port}/write?{query}"
        try:
            with urlopen(Request(url, "\n".join(batch).encode()), timeout=120):
                pass
        except HTTPError as error:
            raise StackError(f"InfluxDB took no points: {error.read()[:200]!r}") from error


def _fields(luck: Random) -> Iterator[str]:
    """Bars of a market that moves at random, each as its fields."""
    price = math.exp(luck.uniform(0, 10))
    tick = 10.0 ** -max(0, 5 - len(str(int(price))))
    for _ in range(LENGTH):
        opened, price = price, price * math.exp(luck.gauss(0, 1e-4))
        corners = (opened, max(opened, price) + tick, min(opened, price) - tick, price)
        values = [round(corner / tick) * tick for corner in corners]
        values += [round(luck.lognormvariate(8, 2), 4) for _ in range(2)]
        open_, high, low, close, bought, sold = (repr(round(v, 8)) for v in values)
        yield (
            f"open={open_},high={high},low={low},close={close},vbuy={bought},vsell={sold},"
            f"cbuy={luck.randrange(1, 60)}i,csell={luck.randrange(1, 60)}i,lbuy=0.0,lsell=0.0"
        )
