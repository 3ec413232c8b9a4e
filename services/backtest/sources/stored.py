"""Markets out of InfluxDB, with the history before them the way strategy-runner loads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aggr_server.influx import InfluxClient
from aggr_server.wire import Market
from services.backtest.errors import BacktestError
from services.backtest.sources.material import Material, Wanted, with_samples, within
from services.backtest.sources.past import Reach, past
from services.backtest.sources.selection import check_classes, execution_market
from services.backtest.sources.table import Progress, part_of, silent
from services.backtest.sources.tape import DAY_S, Spool, Tape, spans
from services.influx_signal_manager import iso
from services.market import columns
from services.market.backfill import FilledHistory
from services.market.history import OI_STALE_S, History
from services.market.markets import Directory, read_influx
from services.strategy.params import Params

REMEDY = "older ones are kept as minutes only, see INFLUX_RETENTION_1S"


async def from_influx(
    influx: InfluxClient,
    wanted: Wanted,
    params: Params,
    folder: Path,
    progress: Progress = silent,
) -> Material:
    """Read what is stored; the columns go into `folder`.

    Raises `BacktestError`, `InfluxError` and `InfluxUnavailable`.
    """
    directory = Directory(wanted.bases)
    directory.update(await read_influx(influx))
    history = History(influx)
    filling = FilledHistory(influx, history) if wanted.backfill else None
    reader = _Reader(history, filling, wanted, params, folder)
    tapes = []
    for i, base in enumerate(wanted.bases):
        markets = directory.of_base(base)
        tapes.append(await reader.tape(base, markets, part_of(progress, i, len(wanted.bases))))
    sampled, notes = with_samples(tapes, wanted)
    from_s, to_s = within(sampled, wanted)
    return Material(tuple(sampled), reader.execution, from_s, to_s, (*reader.notes, *notes))


class _Reader:
    def __init__(
        self,
        history: History,
        filling: FilledHistory | None,
        wanted: Wanted,
        params: Params,
        folder: Path,
    ) -> None:
        self._history = history
        self._filling = filling
        self._exchange = wanted.exchange
        assert wanted.to_s is not None
        self._from_s, self._to_s = wanted.from_s, wanted.to_s
        self._lookback_s = params.lookback_s
        self._folder = folder
        self.execution: dict[str, Market] = {}
        self.notes: list[str] = []

    async def tape(self, base: str, markets: Sequence[Market], progress: Progress) -> Tape:
        if not markets:
            raise BacktestError(
                f"InfluxDB knows no market of {base}: is it among AGGR_SYMBOLS of the collector?"
            )
        check_classes(base, markets)
        oldest = await self._oldest(base, markets)
        from_s = oldest if self._from_s is None else self._from_s
        wanted = (from_s - self._lookback_s) // 60 * 60
        start = self._start(base, oldest, wanted)
        volumes = await self._history.volumes(markets, start - DAY_S, start)
        chosen, note = execution_market(base, markets, self._exchange, volumes)
        self.execution[base] = chosen
        self.notes += [note] if note else []
        reach = Reach(base, wanted, start, from_s, self._to_s, self._lookback_s)
        before = await past(self._history, self._filling, markets, chosen, reach)
        self.notes += before.notes
        start = before.first_s
        spool, end_s = await self._seconds(base, markets, start, progress)
        oi = await self._history.open_interest(base, reach.minutes_from_s, end_s)
        return Tape(
            base,
            "influxdb",
            tuple(markets),
            start,
            end_s,
            tuple(spool.pieces),
            gaps=tuple(await self._history.gaps(markets, start, end_s)),
            minutes=tuple(minute._replace(oi=oi.at(minute.t + 59)) for minute in before.minutes),
            filled=before.filled,
            begin_s=before.begin_s,
            volumes=await self._history.volumes(markets, start - DAY_S, start),
            oi=oi,
            oi_samples=sum(bool(oi.at(t)) for t in range(start, end_s, OI_STALE_S)),
        )

    async def _oldest(self, base: str, markets: Sequence[Market]) -> int:
        """The first whole minute of which one-second bars are stored."""
        oldest = await self._history.oldest_second(markets)
        if oldest is None or oldest >= self._to_s:
            found = "none is stored" if oldest is None else f"the oldest is of {_utc(oldest)}"
            raise BacktestError(
                f"{base}: no one-second bars before {_utc(self._to_s)}: {found}; {REMEDY}"
            )
        return -(-oldest // 60) * 60

    def _start(self, base: str, oldest: int, wanted: int) -> int:
        """The first second to be read: that of the window before the start, if it is stored."""
        start = max(wanted, oldest)
        if self._from_s is None:
            return start
        if start > self._from_s:
            self.notes.append(
                f"{base}: one-second bars begin at {_utc(start)}, not at {_utc(self._from_s)}; "
                f"{REMEDY}"
            )
        elif start > wanted:
            self.notes.append(
                f"{base}: one-second bars begin at {_utc(start)}, "
                f"{(self._from_s - start) // 60} minutes before the start instead of "
                f"{self._lookback_s // 60}; {REMEDY}"
            )
        return start

    async def _seconds(
        self, base: str, markets: Sequence[Market], start: int, progress: Progress
    ) -> tuple[Spool, int]:
        spool, last = Spool(self._folder, base), start
        for from_s, to_s in spans(start, self._to_s):
            bars = await self._history.bars(markets, from_s, to_s)
            last = max([last, *(bar.time for bar in bars)])
            spool.add(columns.of_bars(base, markets, bars, from_s, to_s))
            progress((to_s - start) / (self._to_s - start))
        end_s = last + 1
        spool.end(end_s)
        return spool, end_s


def _utc(t: int) -> str:
    return iso(t * 1000)
