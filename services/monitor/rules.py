"""Rules of the alerts: which reading is wrong, from what value on, for how long, and how grave.

They are in `rules.toml`, which also explains each key; a file of the operator's goes before it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aggr_server.env import SettingsError
from services.monitor.incidents import Finding
from services.monitor.measure.catalog import READINGS, SOURCES
from services.monitor.readings import Reading

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = Path(__file__).with_name("rules.toml")
NAMED = 5
"""So many subjects of a venue are named in its message."""

Seconds = Annotated[float, Meta(ge=0, le=604_800)]
Rules = Mapping[str, "Rule"]
"""By id, in the order of the file."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file, which says what the keys mean. `reading`: of `catalog.READINGS`."""

    reading: str
    severity: Literal["info", "warning", "critical"]
    text: Annotated[str, Meta(min_length=1)]
    remedy: Annotated[str, Meta(min_length=1)]
    subjects: tuple[str, ...] = ()
    above: float | None = None
    below: float | None = None
    beyond: float | None = None
    equals: float | None = None
    clear_below: float | None = None
    clear_above: float | None = None
    for_s: Seconds = 0.0
    clear_s: Seconds = 15.0
    per: Literal["", "venue"] = ""
    because_of: tuple[str, ...] = ()
    because_of_if: str = ""
    enabled: bool = True

    def wrong(self, value: float) -> bool:
        """Whether a value is to be told of."""
        if self.above is not None:
            return value > self.above
        if self.below is not None:
            return value < self.below
        if self.beyond is not None:
            return abs(value) > self.beyond
        return value == self.equals

    def well(self, value: float) -> bool:
        """Whether it ends what was told; between the two, an incident goes on and none begins."""
        if self.clear_below is not None:
            return (abs(value) if self.beyond is not None else value) <= self.clear_below
        if self.clear_above is not None:
            return value >= self.clear_above
        return not self.wrong(value)

    def badness(self, value: float) -> float:
        """The greater, the worse."""
        if self.below is not None:
            return -value
        return abs(value) if self.beyond is not None else value


def load(path: str = "") -> Rules:
    """The shipped rules, under those of the file at `path`, which is relative to the project.

    Raises `SettingsError`, one line, for a file or rule that cannot be used.
    """
    tables = _tables(SHIPPED)
    own = (ROOT / path) if path else SHIPPED
    if own != SHIPPED:
        for name, table in _tables(own).items():
            tables[name] = {**tables.get(name, {}), **table}
    rules = {name: _rule(own, name, table) for name, table in tables.items()}
    for name, rule in rules.items():
        if problem := _problem(name, rule, rules):
            raise _refusal(own, name, problem)
    return {name: rule for name, rule in rules.items() if rule.enabled}


def findings(readings: Sequence[Reading], rules: Rules) -> list[Finding]:
    """Each reading held against the rules on it, also where it is well: absence is unknown."""
    named = {(rule.reading, subject) for rule in rules.values() for subject in rule.subjects}
    by_name: dict[str, list[Reading]] = {}
    for reading in readings:
        by_name.setdefault(reading.name, []).append(reading)
    return [
        _finding(name, rule, subject, group)
        for name, rule in rules.items()
        for subject, group in _groups(rule, by_name.get(rule.reading, ()), named)
    ]


def _groups(
    rule: Rule, readings: Sequence[Reading], named: set[tuple[str, str]]
) -> Iterator[tuple[str, list[Reading]]]:
    """What makes one incident, by its subject."""
    groups: dict[str, list[Reading]] = {}
    for reading in readings:
        if rule.subjects:
            if reading.subject not in rule.subjects:
                continue
        elif (rule.reading, reading.subject) in named:
            continue
        subject = reading.subject
        if rule.per == "venue":
            subject = re.split("[/:]", subject, maxsplit=1)[0]
        groups.setdefault(subject, []).append(reading)
    yield from groups.items()


def _finding(name: str, rule: Rule, subject: str, group: Sequence[Reading]) -> Finding:
    worst = max(group, key=lambda reading: rule.badness(reading.value))
    wrong = [reading for reading in group if rule.wrong(reading.value)]
    detail = worst.detail
    if rule.per and wrong:
        shown = ", ".join(reading.subject for reading in wrong[:NAMED])
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        detail = f"{shown}{more}{': ' * bool(detail)}{detail}"
    return Finding(
        code=name,
        subject=subject,
        level=rule.severity,
        text=_text(rule, subject, worst, detail),
        remedy=worst.remedy or rule.remedy,
        reading=rule.reading,
        badness=rule.badness(worst.value),
        wrong=bool(wrong),
        well=all(rule.well(reading.value) for reading in group),
        hold_s=rule.for_s,
        clear_s=rule.clear_s,
        since_s=worst.since_s,
        because_of=_causes(rule, subject, worst),
    )


def _text(rule: Rule, subject: str, worst: Reading, detail: str) -> str:
    text = _filled(rule.text, subject, worst.value, detail).rstrip(" :")
    return f"{text} ({detail})" if detail and "{detail" not in rule.text else text


def _filled(template: str, subject: str, value: float, detail: str) -> str:
    return template.format(subject=subject, value=value, value_gb=value / 1e9, detail=detail)


def _causes(rule: Rule, subject: str, worst: Reading) -> tuple[str, ...]:
    if rule.because_of_if not in worst.detail:
        return ()
    # Of a monitor that is blind, the source is the subject.
    source = READINGS[rule.reading].source or worst.subject
    service = SOURCES.get(source, "")
    return tuple(
        cause.format(subject=subject, source=service)
        for cause in rule.because_of
        if service or "{source}" not in cause
    )


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"ALERT_RULES={path}: {reason}. Name a file that this service may read, or leave it "
            "empty. Correct it in .env."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"ALERT_RULES={path}: {error}. Correct the file.") from None
    for name, table in document.items():
        if not isinstance(table, dict):
            raise _refusal(path, name, "a rule is a table, written as [name] above its keys")
    return document


def _rule(path: Path, name: str, table: Mapping[str, Any]) -> Rule:
    try:
        return msgspec.convert(table, Rule)
    except msgspec.ValidationError as error:
        raise _refusal(path, name, str(error)) from None


def _problem(name: str, rule: Rule, rules: Rules) -> str:
    """Why a rule cannot be used, empty if it can."""
    if not re.fullmatch("[a-z0-9_]+", name):
        return "its name may have small letters, digits and _ only"
    if rule.reading not in READINGS:
        return f"nothing measures {rule.reading!r}; there are {', '.join(sorted(READINGS))}"
    limits = [rule.above, rule.below, rule.beyond, rule.equals]
    if sum(limit is not None for limit in limits) != 1:
        return "it needs one of above, below, beyond and equals"
    upper = rule.above if rule.beyond is None else rule.beyond
    if rule.clear_below is not None and (upper is None or rule.clear_below > upper):
        return "clear_below goes with above or beyond, and is not over it"
    if rule.clear_above is not None and (rule.below is None or rule.clear_above < rule.below):
        return "clear_above goes with below, and is not under it"
    for cause in rule.because_of:
        if cause.partition(":")[0] not in rules:
            return f"because_of names {cause!r}, but there is no such rule"
    return _bad_template(rule)


def _bad_template(rule: Rule) -> str:
    try:
        _filled(rule.text, "subject", 1.5, "detail")
        for cause in rule.because_of:
            cause.format(subject="subject", source="source")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        return f"its text or because_of cannot be filled in: {error!r}"
    return ""


def _refusal(path: Path, name: str, problem: str) -> SettingsError:
    return SettingsError(
        f"ALERT_RULES={path}: rule {name}: {problem}. Correct the file; "
        "services/monitor/rules.toml explains every key."
    )
