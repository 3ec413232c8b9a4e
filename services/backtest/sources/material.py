"""What a backtest is made of: tapes and the market that executes, from files or from InfluxDB."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aggr_server.wire import Market
from services.backtest.errors import BacktestError
from services.backtest.sources import bar_files, sample_files, trade_files
from services.backtest.sources.selection import execution_market, of_base, unrecorded, with_ends
from services.backtest.sources.table import Progress, part_of, silent
from services.backtest.sources.tape import SecondBars, Tape, tape_of
from services.influx_signal_manager import iso


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. `from_s`, `to_s`: None for as far as the data reach.

    `trades`: as `trade_files.parse_spec` reads it. `oi`, `funding`: base -> files. `backfill`:
    whether missing minutes are filled from stored candles.
    """

    bases: tuple[str, ...]
    from_s: int | None
    to_s: int | None
    exchange: str
    bars: tuple[Path, ...] = ()
    trades: tuple[str, ...] = ()
    oi: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    funding: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    backfill: bool = False

    @property
    def files(self) -> bool:
        """Whether the markets come from files."""
        return bool(self.bars or self.trades)


@dataclass(frozen=True, slots=True)
class Material:
    """Tapes, their execution markets by base, the time to run over, and what should be known."""

    tapes: tuple[Tape, ...]
    execution: dict[str, Market]
    from_s: int
    to_s: int
    notes: tuple[str, ...]


def from_files(wanted: Wanted, folder: Path, progress: Progress = silent) -> Material:
    """Read files; the columns go into `folder`. Raises `BacktestError`."""
    specs = [trade_files.parse_spec(text) for text in wanted.trades]
    specs = [spec for spec in specs if spec.market.base in wanted.bases] or specs
    bars, notes = trade_files.load(specs, part_of(progress, 0, 2))
    more, more_notes = bar_files.load(wanted.bars, wanted.bases, part_of(progress, 1, 2))
    both = {b.market for b in bars} & {b.market for b in more}
    if both:
        listed = ", ".join(sorted(m.market for m in both))
        raise BacktestError(f"{listed}: given as trades and as bars; give one of them")
    notes += more_notes
    tapes, execution = [], {}
    for base in wanted.bases:
        chosen, own_notes = with_ends(of_base(base, [*bars, *more]))
        notes += own_notes
        tape = tape_of(base, "trades" if wanted.trades else "bars", chosen, folder)
        names = [spec.path.name for spec in specs if spec.market.base == base]
        names += [path.name for path in wanted.bars]
        tapes.append(dataclasses.replace(tape, files=tuple(names)))
        execution[base], note = execution_market(
            base, tape.markets, wanted.exchange, _volumes(chosen)
        )
        partly = unrecorded(execution[base], tape.end_s - tape.first_s, tape.gaps)
        notes += [text for text in (note, partly) if text]
    sampled, sample_notes = with_samples(tapes, wanted)
    from_s, to_s = within(sampled, wanted)
    return Material(tuple(sampled), execution, from_s, to_s, (*notes, *sample_notes))


def with_samples(tapes: Sequence[Tape], wanted: Wanted) -> tuple[list[Tape], list[str]]:
    """The tapes with open interest and funding from files. Raises `BacktestError`."""
    found, notes = [], []
    for tape in tapes:
        if paths := wanted.oi.get(tape.base):
            series, count, own = sample_files.open_interest(paths)
            tape = dataclasses.replace(tape, oi=series, oi_samples=count)
            notes += own
        if paths := wanted.funding.get(tape.base):
            funding, own = sample_files.funding(paths)
            tape = dataclasses.replace(tape, funding=funding)
            notes += own
        found.append(tape)
    without = [tape.base for tape in found if not tape.oi_samples]
    if without:
        notes.append(f"no open interest of {', '.join(without)}: its part of the score is 0")
    if all(not tape.funding for tape in found):
        notes.append("no funding rates given: funding counts as 0 (--funding FILE)")
    return found, notes


def within(tapes: Sequence[Tape], wanted: Wanted) -> tuple[int, int]:
    """The time to run over, which the data must reach. Raises `BacktestError`."""
    first, end = min(t.first_s for t in tapes), max(t.end_s for t in tapes)
    from_s = first if wanted.from_s is None else wanted.from_s
    to_s = end if wanted.to_s is None else min(wanted.to_s, end)
    from_s = max(from_s, first)
    for tape in tapes:
        if max(from_s, tape.first_s) >= min(to_s, tape.end_s):
            raise BacktestError(
                f"{tape.base}: the data reach from {iso(tape.first_s * 1000)} to "
                f"{iso(tape.end_s * 1000)}, nothing of it lies between --from and --to"
            )
    return from_s, to_s


def _volumes(bars: Sequence[SecondBars]) -> dict[str, float]:
    return {b.market.market: float(b.buy.sum() + b.sell.sum()) for b in bars}
