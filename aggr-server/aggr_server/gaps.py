"""Which seconds of which markets are not known to be complete. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from aggr_server.exchanges.base import StreamKind
from aggr_server.wire import FORCED_ORDERS_ONLY, Gap

IN_FLIGHT_MS = 1000
"""Trades of this age may still have been under way when a connection broke."""

CLOCK_ERROR_MS = 500
"""How far a venue's clock may be ahead of ours when a subscription starts to deliver."""

MAX_SPANS = 500
"""Spans kept for one stream; beyond that the two oldest become one."""


class Span(msgspec.Struct):
    """Seconds [from_s, to_s) of one stream. While `open`, it goes on, at least until `to_s`.

    `final`: nobody will fetch what was missed; the span stays recorded as it is.
    """

    market: str
    kind: StreamKind
    from_s: int
    to_s: int
    reason: str
    open: bool = False
    final: bool = False


class GapBook:
    """Spans of every stream: open, then over, then fetched in whole or in part, or final.

    The spans of a stream never overlap: a gap that begins inside one that may still be fetched
    goes on as that. A gap is reported every second while it is open, once when it has ended, and
    once more whenever what was missed has been fetched: shorter, or empty. `fetched` takes effect
    by `settle`, called when the bars that were rebuilt have been handed out: what is kept on disk
    is never ahead of them.
    """

    def __init__(self, interval_s: int = 1) -> None:
        self.recorded = 0
        self.fetched_s = 0
        self.version = 0
        """Grows with every change, the passing of time in an open gap excepted."""
        self._interval_s = interval_s
        self._spans: dict[tuple[str, StreamKind], list[Span]] = {}
        self._news: dict[tuple[str, str, int], Gap] = {}
        self._fetched: list[tuple[str, StreamKind, int, int]] = []

    def begin(self, market: str, kind: StreamKind, from_s: int, reason: str) -> None:
        """Nothing is certain of the stream since `from_s`; a gap that is open stays as it is."""
        spans = self._spans.setdefault((market, kind), [])
        if spans and spans[-1].open:
            return
        self.version += 1
        from_s = self._floor(from_s)
        if spans and spans[-1].to_s > from_s:
            last = spans[-1]
            self.add(market, kind, from_s, last.to_s, reason)
            if not last.final:
                last.open = True
                return
            from_s = last.to_s
        spans.append(Span(market, kind, from_s, from_s, reason, open=True))
        self._bound(spans)
        self.recorded += 1

    def end(self, market: str, kind: StreamKind, to_s: int) -> int:
        """The stream is complete from `to_s` on; the first whole period that is."""
        to_s = -(-to_s // self._interval_s) * self._interval_s
        spans = self._spans.get((market, kind))
        if spans and spans[-1].open:
            span = spans[-1]
            span.open = False
            span.to_s = max(to_s, span.from_s + self._interval_s, span.to_s)
            self._tell(span)
            to_s = span.to_s
        return to_s

    def add(self, market: str, kind: StreamKind, from_s: int, to_s: int, reason: str) -> None:
        """[from_s, to_s) is not complete, while the stream goes on."""
        from_s = self._floor(from_s)
        to_s = -(-to_s // self._interval_s) * self._interval_s
        spans = self._spans.setdefault((market, kind), [])
        for from_part, to_part in list(_uncovered(spans, from_s, to_s)):
            span = Span(market, kind, from_part, to_part, reason)
            spans.append(span)
            self.recorded += 1
            self._tell(span)
        spans.sort(key=lambda span: span.from_s)
        if spans and spans[-1].open:
            spans[-1].to_s = max(spans[-1].to_s, to_s)
        self._bound(spans)

    def fetched(self, market: str, kind: StreamKind, from_s: int, to_s: int) -> None:
        """[from_s, to_s) has been rebuilt from the venue's own record and is complete."""
        self._fetched.append((market, kind, from_s, to_s))

    def settle(self) -> None:
        """The bars of all that was fetched are handed out."""
        fetched, self._fetched = self._fetched, []
        for market, kind, from_s, to_s in fetched:
            self._cut((market, kind), from_s, to_s)

    def give_up(self, market: str, kind: StreamKind, before_s: int) -> None:
        """What is missing before `before_s` will not be fetched."""
        spans = self._spans.get((market, kind), [])
        for span in list(spans):
            if span.from_s >= before_s or span.final:
                continue
            if span.open or span.to_s > before_s:
                cut = max(span.from_s + self._interval_s, self._floor(before_s))
                rest = msgspec.structs.replace(span, from_s=cut)
                span.open, span.to_s = False, cut
                spans.insert(spans.index(span) + 1, rest)
                self._tell(rest)
            span.final = True
            self._tell(span)

    def close(self, market: str, at_s: int) -> None:
        """The market is no longer followed since `at_s`: nothing more becomes of its gaps."""
        for kind in ("trades", "liquidations"):
            self.end(market, kind, at_s)
            for span in self._spans.pop((market, kind), []):
                self._tell(span)

    def forget(self, before_s: int) -> None:
        """Spans that are over before `before_s` are old news: they stay recorded as they are."""
        for key, spans in list(self._spans.items()):
            if spans and not spans[0].open and spans[0].to_s < before_s:
                self._spans[key] = [s for s in spans if s.open or s.to_s >= before_s]
                self.version += 1

    def is_open(self, market: str, kind: StreamKind = "trades") -> bool:
        """Whether nothing certain is known of the stream at present."""
        spans = self._spans.get((market, kind), [])
        return bool(spans) and spans[-1].open

    def touches(self, market: str, from_s: int, to_s: int) -> bool:
        """Whether trades of [from_s, to_s) are not known to be complete."""
        spans = self._spans.get((market, "trades"), ())
        return any(s.from_s < to_s and (s.open or s.to_s > from_s) for s in spans)

    def pending(self, market: str, open_until_s: int = 0) -> list[Span]:
        """Gaps in the trades of a market that may still be fetched, newest first.

        Of one that is open, the part before `open_until_s`.
        """
        found = []
        for span in reversed(self._spans.get((market, "trades"), ())):
            if span.final or (span.open and span.from_s >= open_until_s):
                continue
            if span.open:
                span = msgspec.structs.replace(span, to_s=open_until_s)
            if not self._settles(span):
                found.append(span)
        return found

    def spans(self) -> Iterator[Span]:
        """Everything known, to be kept on disk."""
        for spans in self._spans.values():
            yield from spans

    def restore(self, spans: Iterable[Span]) -> None:
        """Take over what was known before a restart."""
        for span in spans:
            self._spans.setdefault((span.market, span.kind), []).append(span)
            self._tell(span)

    def report(self, second: int) -> list[Gap]:
        """What to record when `second` has closed."""
        news, self._news = list(self._news.values()), {}
        for spans in self._spans.values():
            if spans and spans[-1].open:
                span = spans[-1]
                to_s = max(second, span.from_s) + self._interval_s
                news.append(_gap(span, max(to_s, span.to_s)))
        return news

    def _settles(self, span: Span) -> bool:
        return any(
            market == span.market
            and kind == span.kind
            and from_s < span.to_s
            and to_s > span.from_s
            for market, kind, from_s, to_s in self._fetched
        )

    def _cut(self, key: tuple[str, StreamKind], from_s: int, to_s: int) -> None:
        spans = self._spans.get(key, [])
        left: list[Span] = []
        for span in spans:
            end_s = max(to_s, span.to_s) + 1 if span.open else span.to_s
            if to_s <= span.from_s or from_s >= end_s:
                left.append(span)
                continue
            self.fetched_s += min(to_s, end_s) - max(from_s, span.from_s)
            before = msgspec.structs.replace(span, to_s=from_s, open=False)
            after = msgspec.structs.replace(span, from_s=to_s)
            self._tell(msgspec.structs.replace(span, to_s=span.from_s, open=False))
            for part, kept in ((before, span.from_s < from_s), (after, to_s < end_s)):
                if kept:
                    left.append(part)
                    self._tell(part)
        if key in self._spans:
            self._spans[key] = left

    def _tell(self, span: Span) -> None:
        self.version += 1
        if not span.open:
            gap = _gap(span, span.to_s)
            self._news[gap.market, gap.reason, gap.from_s] = gap

    def _bound(self, spans: list[Span]) -> None:
        while len(spans) > MAX_SPANS:
            first, second = spans[0], spans.pop(1)
            self._tell(msgspec.structs.replace(second, to_s=second.from_s, open=False))
            first.to_s, first.open = second.to_s, second.open
            first.final = first.final and second.final
            self._tell(first)

    def _floor(self, second: int) -> int:
        return second // self._interval_s * self._interval_s


def _gap(span: Span, to_s: int) -> Gap:
    reason = FORCED_ORDERS_ONLY if span.kind == "liquidations" else span.reason
    return Gap(span.market, span.from_s, to_s, reason)


def _uncovered(spans: Iterable[Span], from_s: int, to_s: int) -> Iterator[tuple[int, int]]:
    """The parts of [from_s, to_s) outside `spans`, which are in order."""
    for span in spans:
        if not span.open and span.to_s <= from_s:
            continue
        if span.from_s >= to_s:
            break
        if from_s < span.from_s:
            yield from_s, span.from_s
        if span.open:
            return
        from_s = max(from_s, span.to_s)
    if from_s < to_s:
        yield from_s, to_s
