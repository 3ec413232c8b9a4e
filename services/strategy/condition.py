"""What stands between a symbol and the next step of the method, one condition at a time."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Bound = Literal["least", "most"]
Kind = Literal["step", "guard", "points"]

DAY_S = 86_400
STEP: Final = "step"
GUARD: Final = "guard"
POINTS: Final = "points"
LEAST: Final = "least"
MOST: Final = "most"


class Condition(NamedTuple):
    """A condition in the newest second; the fields are those of `services.core.views.Wait`."""

    code: str
    text: str
    met: bool
    have: float | None = None
    need: float | None = None
    bound: Bound = LEAST
    unit: str = ""
    kind: Kind = STEP
    way: str = ""


def least(
    code: str,
    what: str,
    have: float | None,
    need: float,
    unit: str = "z",
    *,
    met: bool | None = None,
    kind: Kind = STEP,
    way: str = "",
) -> Condition:
    """`have` must be `need` at least; `met`: where the method's own comparison is another."""
    if met is None:
        met = have is not None and have >= need
    return _bounded(Condition(code, what, met, have, need, LEAST, unit, kind, way), "at least")


def most(
    code: str,
    what: str,
    have: float | None,
    need: float,
    unit: str = "z",
    *,
    met: bool | None = None,
    kind: Kind = STEP,
    way: str = "",
) -> Condition:
    """`have` must be `need` at most."""
    if met is None:
        met = have is not None and have <= need
    return _bounded(Condition(code, what, met, have, need, MOST, unit, kind, way), "at most")


def _bounded(found: Condition, words: str) -> Condition:
    """With both figures in its text; not met while one is not known."""
    assert found.need is not None
    shown = "not known" if found.have is None else amount(found.have, found.unit)
    text = f"{found.text}: {shown}, {words} {amount(found.need, found.unit)}"
    return found._replace(text=text, met=found.met and found.have is not None)


def held(code: str, have_s: int, need_s: int, *, way: str = "") -> Condition:
    """What comes before it must hold for some seconds in a row."""
    text = f"held for {have_s} of {need_s} s"
    return Condition(code, text, have_s >= need_s, have_s, need_s, LEAST, "s", STEP, way)


def passed(code: str, what: str, have_s: int, need_s: int, *, way: str = "") -> Condition:
    """Time must pass."""
    text = f"{what}: {have_s} of {need_s} s"
    return Condition(code, text, have_s >= need_s, have_s, need_s, LEAST, "s", STEP, way)


def flag(code: str, text: str, met: bool, *, kind: Kind = STEP, way: str = "") -> Condition:
    """A condition that is no comparison."""
    return Condition(code, text, met, None, None, LEAST, "", kind, way)


def amount(value: float, unit: str) -> str:
    """A figure as short as it can be told."""
    if unit == "share":
        return f"{value:.0%}"
    return f"{value} {unit}" if isinstance(value, int) else f"{value:.2f} {unit}"


def clock(t: int) -> str:
    """Time of day of a UTC second."""
    minute = t % DAY_S // 60
    return f"{minute // 60:02}:{minute % 60:02}:{t % 60:02} UTC"
