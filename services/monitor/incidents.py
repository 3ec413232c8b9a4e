"""Incidents: told once when they begin and once when they are over, and with them what follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from services.core.records import Alert
from services.monitor.measure.catalog import READINGS

Level = Literal["info", "warning", "critical"]

RANK: Mapping[Level, int] = {"info": 0, "warning": 1, "critical": 2}
UNKNOWN_S = 600.0
"""An incident ends when it has not been measured for so long, though its source could be read."""
SETTLE_S = 120.0
"""What followed from an incident has this long to recover after it."""
FLAPS = 3
FLAP_WINDOW_S = 1800.0
FLAP_CLEAR_S = 900.0
"""What begins the third time in the window comes and goes; it must then be well for longer."""
REMIND_AFTER_S = 6 * 3600.0
REMIND_EVERY_S = 24 * 3600.0
NAMED = 8
MOST_NAMED = 100


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A rule held against a reading. `code` and `subject` together name the incident.

    `wrong`: beyond the limit; `well`: so far within it that an incident ends; neither: it goes on.
    `badness`: the greater, the worse. `hold_s`: how long it must be wrong before anyone is told,
    `clear_s`: how long it must be well. `since_s`: for how long it has been so already.
    `because_of`: incidents (`code:subject`, or `code` with any subject) that explain it.
    """

    code: str
    subject: str
    level: Level
    text: str
    remedy: str = ""
    reading: str = ""
    badness: float = 1.0
    wrong: bool = True
    well: bool = False
    hold_s: float = 0.0
    clear_s: float = 15.0
    since_s: float = 0.0
    because_of: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`code:subject`."""
        return f"{self.code}:{self.subject}"

    @property
    def advice(self) -> str:
        """The text, and what to do."""
        return f"{self.text}; {self.remedy}" if self.remedy else self.text


class Incident(Alert, frozen=True, kw_only=True):
    """An incident that was told and is not over, as Redis keeps it: the alert that told it, and
    what its end needs. `what`: without the remedy; `worst`: the same when it was worst.

    `with_it`: what it explained so far. `reminded_ms`: when it was told of last, 0: only once.
    """

    reading: str = ""
    began_ms: int = 0
    badness: float = 1.0
    what: str = ""
    worst: str = ""
    with_it: tuple[str, ...] = ()
    reminded_ms: int = 0
    flapping: bool = False


@dataclass(slots=True)
class _Track:
    """Since when a key is wrong or well without a break, and when it was last measured.

    `right_s`: when it was last measured and not wrong.
    """

    seen_s: float
    right_s: float = float("-inf")
    wrong_s: float | None = None
    well_s: float | None = None


@dataclass(slots=True)
class Incidents:
    """`open`: incidents that were told and are not over, by key.

    What is not measured for a while is neither wrong nor well: nothing begins, nothing ends.
    `changed`: `open` differs from what it was when this was last set to False.
    """

    open: dict[str, Incident] = field(default_factory=dict)
    changed: bool = False
    _tracks: dict[str, _Track] = field(default_factory=dict)
    _ended: dict[str, tuple[float, int]] = field(default_factory=dict)
    _begun: dict[str, list[float]] = field(default_factory=dict)

    def update(self, findings: Iterable[Finding], now_s: float) -> list[Alert]:
        """What to tell now. `now_s`: any clock in seconds that only goes forward on the whole."""
        known = {finding.key: finding for finding in findings}
        self._follow(known, now_s)
        told = self._over(known, now_s)
        causes = self._causes(known)
        explained = _explained(known, causes)
        told += self._begin(known, explained, now_s)
        self._note(known, explained)
        return told + self._remind(known, now_s)

    def _follow(self, known: Mapping[str, Finding], now_s: float) -> None:
        for key, finding in known.items():
            track = self._tracks.setdefault(key, _Track(now_s))
            track.seen_s = now_s
            if finding.wrong:
                since_s = max(track.right_s, now_s - finding.since_s)
                track.wrong_s = since_s if track.wrong_s is None else min(track.wrong_s, since_s)
            else:
                track.right_s, track.wrong_s = now_s, None
            if not finding.well:
                track.well_s = None
            elif track.well_s is None:
                track.well_s = now_s
        for key in self.open:
            if key not in known:
                self._tracks.setdefault(key, _Track(now_s)).well_s = None
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        self._tracks = {
            key: track
            for key, track in self._tracks.items()
            if key in self.open or now_s - track.seen_s < UNKNOWN_S
        }
        self._ended = {k: end for k, end in self._ended.items() if now_s - end[0] < SETTLE_S}
        recent = {
            key: [begin for begin in begins if now_s - begin < FLAP_WINDOW_S]
            for key, begins in self._begun.items()
        }
        self._begun = {key: begins for key, begins in recent.items() if begins}

    def _over(self, known: Mapping[str, Finding], now_s: float) -> list[Alert]:
        blind = {f.subject for f in known.values() if f.reading == "monitor_blind" and f.wrong}
        told = []
        for key, incident in list(self.open.items()):
            track, finding = self._tracks[key], known.get(key)
            if finding is None:
                kind = READINGS.get(incident.reading)
                unknown_s = now_s - track.seen_s
                if unknown_s < UNKNOWN_S or (kind is not None and kind.source in blind):
                    continue
                how = f"given up, not measured for {span(unknown_s)}: "
            else:
                clear_s = FLAP_CLEAR_S if incident.flapping else finding.clear_s
                if track.well_s is None or now_s - track.well_s < clear_s:
                    continue
                how = f"over after {span(now_s - (incident.began_ms or incident.ts_ms) / 1000)}: "
            self._close(key)
            self._ended[key] = (now_s, RANK[incident.level])
            told.append(_end(incident, how, now_s))
        return told

    def _causes(self, known: Mapping[str, Finding]) -> dict[str, int]:
        """Everything that may explain something else, with its rank."""
        causes = {key: RANK[incident.level] for key, incident in self.open.items()}
        for key, finding in known.items():
            if finding.wrong:
                causes.setdefault(key, RANK[finding.level])
        for key, (_, rank) in self._ended.items():
            causes.setdefault(key, rank)
        return causes

    def _begin(
        self, known: Mapping[str, Finding], explained: Mapping[str, str], now_s: float
    ) -> list[Alert]:
        # The most severe first, so that it silences the others on the same reading.
        ready = sorted(known.values(), key=lambda finding: -RANK[finding.level])
        told = []
        for finding in ready:
            since_s = self._tracks[finding.key].wrong_s
            if since_s is None or now_s - since_s < finding.hold_s or finding.key in self.open:
                continue
            if finding.key in explained or self._more_severe(finding):
                continue
            begins = self._begun.setdefault(finding.key, [])
            begins.append(now_s)
            following = tuple(_label(known[k]) for k, by in explained.items() if by == finding.key)
            incident = _incident(finding, following, begins, since_s, now_s)
            self._absorb(finding)
            self.open[finding.key] = incident
            self.changed = True
            told.append(_alert(incident))
        return told

    def _more_severe(self, finding: Finding) -> bool:
        return any(
            RANK[incident.level] > RANK[finding.level]
            for incident in self.open.values()
            if finding.reading and _same(incident, finding)
        )

    def _absorb(self, finding: Finding) -> None:
        """Less severe incidents of the same reading go on as this one."""
        for key, incident in list(self.open.items()):
            if finding.reading and _same(incident, finding):
                self._close(key)

    def _close(self, key: str) -> None:
        del self.open[key]
        self.changed = True

    def _note(self, known: Mapping[str, Finding], explained: Mapping[str, str]) -> None:
        """Keep how bad each incident has been, and what it explained."""
        for key, incident in self.open.items():
            finding = known.get(key)
            new = incident
            if finding is not None and finding.wrong and finding.badness > incident.badness:
                new = msgspec.structs.replace(new, badness=finding.badness, worst=finding.text)
            labels = [_label(known[k]) for k, by in explained.items() if by == key]
            if more := [label for label in labels if label not in incident.with_it]:
                following = (*incident.with_it, *more)[:MOST_NAMED]
                new = msgspec.structs.replace(new, with_it=following)
            if new != incident:
                self.open[key] = new
                self.changed = True

    def _remind(self, known: Mapping[str, Finding], now_s: float) -> list[Alert]:
        told = []
        for key, incident in self.open.items():
            age_s = now_s - incident.ts_ms / 1000
            if incident.level != "critical" or age_s < REMIND_AFTER_S:
                continue
            if now_s - incident.reminded_ms / 1000 < REMIND_EVERY_S:
                continue
            finding = known.get(key)
            text = finding.advice if finding is not None and finding.wrong else incident.text
            reminded = msgspec.structs.replace(incident, reminded_ms=int(now_s * 1000))
            self.open[key] = reminded
            self.changed = True
            told.append(
                msgspec.structs.replace(
                    _alert(incident),
                    text=f"still so after {span(age_s)}: {text}",
                    ts_ms=int(now_s * 1000),
                )
            )
        return told


def span(seconds: float) -> str:
    """A length of time for people: `40 s`, `5 min 12 s`, `3 h 20 min`, `2 d 4 h`."""
    whole = max(0, int(seconds))
    for big, small, size, unit in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60)):
        if whole >= size:
            return f"{whole // size} {big} {whole % size // unit} {small}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _explained(known: Mapping[str, Finding], causes: Mapping[str, int]) -> dict[str, str]:
    """Key of each finding that is wrong because of something else -> key of that.

    Nothing explains what is more severe, nor what is itself among the explanations of its rule.
    """
    found: dict[str, str] = {}
    for key, finding in known.items():
        names = finding.because_of
        if not finding.wrong or any(_matches(name, key) for name in names):
            continue
        rank = RANK[finding.level]
        for by, weight in causes.items():
            explains = weight >= rank and any(_matches(name, by) for name in names)
            if explains and _first(by, found) != key:
                found[key] = by
                break
    # What explains may have an explanation itself: the first of them is the one that is told.
    return {key: _first(by, found) for key, by in found.items()}


def _first(key: str, explained: Mapping[str, str]) -> str:
    while (by := explained.get(key)) is not None:
        key = by
    return key


def _matches(name: str, key: str) -> bool:
    """Whether `code` or `code:subject` means a key."""
    return key == name if ":" in name else key.partition(":")[0] == name


def _same(incident: Incident, finding: Finding) -> bool:
    return (incident.reading, incident.subject) == (finding.reading, finding.subject)


def _label(finding: Finding) -> str:
    return f"{finding.subject} ({finding.code})"


def _listed(labels: tuple[str, ...]) -> str:
    if not labels:
        return ""
    more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
    return f"; with it: {', '.join(labels[:NAMED])}{more}"


def _incident(
    finding: Finding,
    following: tuple[str, ...],
    begins: list[float],
    since_s: float,
    now_s: float,
) -> Incident:
    flapping = len(begins) >= FLAPS
    text = f"{finding.advice}{_listed(following)}"
    if flapping:
        text += (
            f"; it comes and goes, {len(begins)} times in {span(now_s - begins[0])}: the next "
            f"message comes when it has been well for {span(FLAP_CLEAR_S)}"
        )
    return Incident(
        level=finding.level,
        code=finding.code,
        subject=finding.subject,
        text=text,
        ts_ms=int(now_s * 1000),
        reading=finding.reading,
        began_ms=int(since_s * 1000),
        badness=finding.badness,
        what=finding.text,
        worst=finding.text,
        with_it=following[:MOST_NAMED],
        flapping=flapping,
    )


def _alert(incident: Incident) -> Alert:
    """What is told of it: without what only its end needs."""
    return Alert(
        level=incident.level,
        code=incident.code,
        subject=incident.subject,
        text=incident.text,
        ts_ms=incident.ts_ms,
    )


def _end(incident: Incident, how: str, now_s: float) -> Alert:
    what = incident.what or incident.text
    worst = f"; at its worst: {incident.worst}" if incident.worst not in ("", what) else ""
    return Alert(
        level="info",
        code=incident.code,
        subject=incident.subject,
        text=f"{how}{what}{worst}{_listed(incident.with_it)}",
        ts_ms=int(now_s * 1000),
        ended_level=incident.level,
    )
