"""The two halves of strategy-runner that meet freqtrade: what it shows, and what it is told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import SimpleNamespace, TracebackType
from typing import Any, cast

from services.core import names
from services.core.records import Fill, Signal
from services.trading.fills import FillBook
from tests.integration.freqtrade.bot import Runner

REFRESH_S = 0.25


class Writer:
    """Keeps an entry in its key until its window ends, and a CLOSE until it is withdrawn."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._signals: dict[str, Signal] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._refresh, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def show(self, signal: Signal) -> None:
        """Keep it in its key in place of what stands there."""
        with self._lock:
            self._signals[signal.symbol] = signal
            self._runner.refresh(signal)

    def withdraw(self, symbol: str) -> None:
        """Delete the key."""
        with self._lock:
            self._signals.pop(symbol, None)
            self._runner.withdraw(symbol)

    def shown(self, symbol: str) -> bool:
        """Whether the key is there."""
        return bool(self._runner.redis.exists(names.signal(symbol)))

    def _refresh(self) -> None:
        while not self._stopping.wait(REFRESH_S):
            with self._lock:
                now_ms = time.time_ns() // 1_000_000
                for symbol, signal in list(self._signals.items()):
                    if signal.action != "CLOSE" and now_ms > signal.valid_until_ms:
                        del self._signals[symbol]
                        self._runner.withdraw(symbol)
                    else:
                        self._runner.refresh(signal, wake=False)


class Book(FillBook):
    """strategy-runner's book of fills; counts what it takes to be news."""

    def __init__(self, *symbols: str) -> None:
        traders = {symbol: SimpleNamespace(live=True) for symbol in symbols}
        desk = SimpleNamespace(traders=traders, save=lambda trader: None)
        super().__init__(cast(Any, desk), lambda: None)
        self.news: Counter[tuple[str, str]] = Counter()

    def take(self, runner: Runner) -> Counter[tuple[str, str]]:
        """Apply all that stands in the stream. How often (event, signal id) was news."""
        for fill in runner.fills():
            assert self.apply(fill)
        return self.news

    def of(self, runner: Runner, signal: Signal) -> list[str]:
        """What was news of a signal, in the order of the events' names."""
        found = {e: n for (e, id_), n in self.take(runner).items() if id_ == signal.signal_id}
        return sorted(Counter(found).elements())

    def _opened(self, trader: object, fill: Fill) -> None:
        self.news["opened", fill.signal_id] += 1

    def _closed(self, trader: object, fill: Fill) -> None:
        self.news["closed", fill.signal_id] += 1

    def _rejected(self, trader: object, fill: Fill) -> None:
        self.news["rejected", fill.signal_id] += 1
