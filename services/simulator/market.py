"""The simulated market: its trades, as they are made.

Times are absolute: UTC seconds, or milliseconds where the name says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from aggr_server.clock import now_ms
from services.simulator import bars as reduce
from services.simulator.bars import Bars
from services.simulator.candles import Candles
from services.simulator.instruments import Instrument, Trade
from services.simulator.ledger import Ledger, LedgerError
from services.simulator.model import BASES, HISTORY_S, Model
from services.simulator.trades import Splitter

FIRST_ID = 1_000_001
_DRAFT_S = 8

_Draft = tuple[int, bool, int, int, bool]
"""Millisecond, bought, ticks, lots, forced: a trade before it gets its id."""


class Market:
    """All instruments, their past and their present.

    `live_from` is None until trading is planned to begin. `load`: see `Splitter`.
    """

    def __init__(
        self,
        seed: int,
        instruments: Sequence[Instrument],
        ledger: Ledger,
        clock: Callable[[], int] = now_ms,
        *,
        load: float = 1.0,
    ) -> None:
        stored = ledger.get("seed")
        if stored is not None and stored != seed:
            raise LedgerError(
                f"SIMULATOR_SEED={seed}, but the ledger in SIMULATOR_DIR was made with seed "
                f"{stored}. Set SIMULATOR_SEED={stored}, or empty that folder."
            )
        ledger.put("seed", seed)
        self.seed = seed
        self.ledger = ledger
        self.clock = clock
        self.model = Model(seed)
        self.instruments = {i.market: i for i in instruments}
        self.live_from = ledger.get("live_from")
        self._order = tuple(instruments)
        self._splitters = {b.name: Splitter(seed, b, self._order, load) for b in BASES}
        last = ledger.last()
        self.next_ids = last[1] if last else [FIRST_ID] * len(self._order)
        self.made_until = last[0] + 1 if last else self.live_from
        self._candles: dict[str, Candles] = {}
        self._drafts: dict[int, list[tuple[int, list[_Draft]]]] = {}

    def plan(self, live_from: int) -> None:
        """Trading begins at second `live_from`, for good."""
        self.ledger.put("live_from", live_from)
        self.live_from = live_from
        self.made_until = live_from

    def skip_to(self, second: int) -> None:
        """Leave the seconds before `second` without trades."""
        self.made_until = second

    def bars(self, instrument: Instrument, start: int, end: int) -> Bars:
        """One-second bars of the relative seconds [start, end), from the very trades."""
        flow = self.model.paths[instrument.base].seconds(start, end)
        batch = self._splitters[instrument.base].trades(flow, instrument)
        return reduce.of_trades(batch, instrument)

    def coarse_bars(self, instrument: Instrument, start: int, end: int) -> Bars:
        """The same from the flow, without single trades; much cheaper."""
        flow = self.model.paths[instrument.base].seconds(start, end)
        split = self._splitters[instrument.base].market_flow(flow, instrument)
        return reduce.of_flow(split, instrument)

    def make(self, second: int) -> list[Trade]:
        """Make the trades of the next second, record them, and return them in time order."""
        if second != self.made_until:
            raise ValueError(f"second {second} is not the next one, {self.made_until} is")
        if second not in self._drafts:
            self._draft(second)
        trades: list[Trade] = []
        next_ids = list(self.next_ids)
        for number, draft in self._drafts.pop(second):
            for ms, buy, ticks, lots, forced in draft:
                trades.append(
                    Trade(
                        self._order[number], next_ids[number], second * 1000 + ms,
                        buy, ticks, lots, forced,
                    )
                )  # fmt: skip
                next_ids[number] += 1
        trades.sort(key=lambda trade: trade.ts_ms)
        self.ledger.append(second, trades, next_ids)
        self.next_ids = next_ids
        self.made_until = second + 1
        return trades

    def _draft(self, second: int) -> None:
        """Compute some seconds at once, which costs hardly more than one."""
        start = second - self._anchor()
        drafts: dict[int, list[tuple[int, list[_Draft]]]] = {
            s: [] for s in range(second, second + _DRAFT_S)
        }
        for number, instrument in enumerate(self._order):
            flow = self.model.paths[instrument.base].seconds(start, start + _DRAFT_S)
            batch = self._splitters[instrument.base].trades(flow, instrument)
            columns = (batch.ms, batch.buy, batch.ticks, batch.lots, batch.forced)
            rows = list(zip(*(column.tolist() for column in columns), strict=True))
            edges = np.searchsorted(batch.second, range(start, start + _DRAFT_S + 1)).tolist()
            for offset, (first, last) in enumerate(pairwise(edges)):
                drafts[second + offset].append((number, rows[first:last]))
        self._drafts = drafts

    def open_interest(self, instrument: Instrument, second: int | None = None) -> float:
        """Coins open in a perpetual, one-sided."""
        relative = self.relative() if second is None else second - (self.live_from or second)
        return self.model.open_interest(instrument.base, relative) * instrument.oi_share

    def candles(self, instrument: Instrument) -> Candles:
        """Candles of a market up to now."""
        book = self._candles.get(instrument.market)
        if book is None or book.anchor != self._pending_anchor():
            book = Candles(self, instrument, self._pending_anchor())
            self._candles[instrument.market] = book
        book.advance(self.relative())
        return book

    def relative(self) -> int:
        """The current second relative to the anchor; just before it until trading is planned."""
        if self.live_from is None:
            return -1
        return max(-HISTORY_S, self.clock() // 1000 - self.live_from)

    def _anchor(self) -> int:
        if self.live_from is None:
            raise RuntimeError("trading has not been planned yet")
        return self.live_from

    def _pending_anchor(self) -> int:
        return self.live_from if self.live_from is not None else self.clock() // 1000 + 1
