"""When a stream's silence means that something is broken. No I/O and no clock."""

from __future__ import annotations

FIRST_S = 9.0
"""How long after its confirmation a stream of trades may take to send anything."""

MIN_S = 5.0
BLIND_MIN_S = 8.0
UNSURE_S = 45.0
MAX_S = 1800.0
SUSPECT_GAPS = 12.0
SLOW_GAPS = 3.0
BLIND_GAPS = 20.0
BLIND_MAX_S = 600.0
SPARSE_GAPS = 30.0
SPARSE_MIN_S = 30.0
SPARSE_LONGEST = 3.0

SETTLING_S = 2.0
ESTABLISHED_EVENTS = 20
ESTABLISHED_TICKS = 10
ESTABLISHED_S = 30.0
MEMORY_S = 600.0


class Rate:
    """Events per second, learned over the last ten minutes or so in which it was observed."""

    __slots__ = ("_events", "_observed_s", "_ticks", "per_s")

    def __init__(self) -> None:
        self.per_s = 0.0
        self._observed_s = 0.0
        self._events = 0
        self._ticks = 0

    def observe(self, elapsed_s: float, events: int) -> None:
        """`events` came in `elapsed_s`."""
        self._observed_s += elapsed_s
        weight = min(1.0, elapsed_s / min(MEMORY_S, self._observed_s))
        self.per_s += weight * (events / elapsed_s - self.per_s)
        if events and self._ticks < ESTABLISHED_TICKS:
            self._ticks += 1
        self._events = min(ESTABLISHED_EVENTS, self._events + events)

    @property
    def established(self) -> bool:
        """Whether it rests on enough to judge by it alone; one burst is not enough."""
        return (
            self._events >= ESTABLISHED_EVENTS
            and self._ticks >= ESTABLISHED_TICKS
            and self._observed_s >= ESTABLISHED_S
        )

    def mean_gap_s(self) -> float:
        """Mean distance between two events; infinite if there were none."""
        return 1.0 / self.per_s if self.per_s > 0 else float("inf")


class Watch:
    """Judges one stream. Its rate outlives connections, everything else starts with each one.

    Trades (`sparse` false) are *suspected* early, because the venue's REST interface is then
    asked: after 12 mean distances, at least 5 s; a slow market after 3, at least 45 s; one that
    never sent anything after 10 s. Each time the venue knows of nothing newer, the next look is
    twice as far away. `is_mute_by_rate` is the stricter judgement where nobody can be asked.
    Forced orders (`sparse`) come in clusters: they are only ever judged by an established rate, and
    not before three times the longest silence they were ever heard after.
    """

    __slots__ = (
        "_longest_s",
        "_look_s",
        "_patience",
        "_seen_s",
        "_since_s",
        "_unheard_s",
        "heard",
        "rate",
        "sparse",
    )

    def __init__(self, *, sparse: bool = False) -> None:
        self.sparse = sparse
        self.rate = Rate()
        self.heard = False
        """Whether this connection has sent anything since it settled."""
        self._since_s = 0.0
        self._seen_s = 0.0
        self._look_s = 0.0
        self._unheard_s = 0.0
        self._longest_s = 0.0
        self._patience = 1.0

    def begin(self, now_s: float) -> None:
        """A connection has just confirmed the stream."""
        self._since_s = self._seen_s = self._look_s = now_s
        self._unheard_s = 0.0
        self.heard = False

    def observe(self, now_s: float, elapsed_s: float, events: int) -> None:
        """Call about once a second with the number of events since the last call.

        What arrives right after the confirmation may be history; it proves nothing.
        """
        if now_s - self._since_s < SETTLING_S:
            return
        # A silence counts when it is over: while it lasts it must not make itself seem normal.
        self._unheard_s += elapsed_s
        if events and self._unheard_s > 0:
            self.rate.observe(self._unheard_s, events)
            self._longest_s = max(self._longest_s, self._unheard_s)
            self._unheard_s = 0.0
        if events:
            self.heard = True
            self._seen_s = self._look_s = now_s
            self._patience = 1.0

    def silent_s(self, now_s: float) -> float:
        """Time since the last event, or since the confirmation."""
        return now_s - self._seen_s

    def suspicion(self, now_s: float) -> float:
        """From 1 on the stream is suspected, the more the higher."""
        if self.sparse:
            return self.silent_s(now_s) / self.blind_s() if self.rate.established else 0.0
        waited_s = now_s - self._look_s
        if self._look_s > self._seen_s:
            return waited_s / min(MAX_S, max(self.allowed_s(), self._look_s - self._seen_s))
        return waited_s / self.allowed_s()

    def allowed_s(self) -> float:
        """How long the stream may be silent before the venue is asked."""
        gap_s = self.rate.mean_gap_s()
        usual_s = min(SUSPECT_GAPS * gap_s, max(UNSURE_S, SLOW_GAPS * gap_s))
        usual_s = min(MAX_S, max(MIN_S, usual_s))
        if not self.heard:
            return FIRST_S
        return usual_s if self.rate.established else max(UNSURE_S, usual_s)

    def blind_s(self) -> float:
        """How long it may be silent where the venue cannot be asked; needs an established rate."""
        gap_s = self.rate.mean_gap_s()
        if self.sparse:
            usual_s = max(SPARSE_MIN_S, SPARSE_GAPS * gap_s, SPARSE_LONGEST * self._longest_s)
            return min(MAX_S, usual_s * self._patience)
        return min(BLIND_MAX_S, max(BLIND_MIN_S, BLIND_GAPS * gap_s)) * self._patience

    def is_mute_by_rate(self, now_s: float) -> bool:
        """The verdict where the venue cannot be asked."""
        return self.rate.established and self.silent_s(now_s) > self.blind_s()

    def is_late(self, now_s: float) -> bool:
        """Whether more would be expected than came; a hint, where another stream is known mute."""
        return self.rate.established and self.silent_s(now_s) > SLOW_GAPS * self.rate.mean_gap_s()

    def asked(self, now_s: float) -> None:
        """Nothing was found: look again, later than the last time."""
        self._look_s = now_s

    def restarted(self) -> None:
        """It was called mute and gets another connection; wait longer before the next time."""
        self._patience = min(64.0, self._patience * 2.0)
