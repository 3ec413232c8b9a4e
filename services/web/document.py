"""What a page shows, as it is embedded in it. `assets/page.js` and `chart.js` read these names."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal[
    "text",
    "wrap",
    "int",
    "num",
    "z",
    "points",
    "price",
    "usd",
    "money",
    "amount",
    "times",
    "coins",
    "pct",
    "share",
    "time",
    "duration",
]
Tone = Literal["", "good", "bad"]
Color = Literal["spot", "perp", "oi", "equity", "drawdown", "plain"]
Values = list[float | None]


class Figure(msgspec.Struct, frozen=True):
    """A key figure; None: not defined."""

    label: str
    value: float | str | None
    kind: Kind
    tone: Tone = ""
    note: str = ""


class Column(msgspec.Struct, frozen=True):
    """A column of a table. `tone`: values above 0 are good, below are bad."""

    label: str
    kind: Kind
    hint: str = ""
    tone: bool = False


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of raw values, formatted by the page. `jumps`: row i leads to jump i of the page.

    `groups`: a heading before row i, or nothing; a table with groups cannot be sorted.
    """

    title: str
    columns: list[Column]
    rows: list[list[Any]]
    side: Literal["left", "right"] = "left"
    note: str = ""
    empty: str = "Nothing."
    jumps: bool = False
    groups: list[str] | None = None
    wide: bool = False


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One value for each bar, None where there is none. `area`: filled to the side named."""

    name: str
    values: Values
    color: Color
    kind: Kind
    axis: Literal["left", "right"] = "right"
    area: Literal["", "above", "below"] = ""
    steps: bool = False


class Candles(msgspec.Struct, frozen=True):
    """Prices of each bar, quote per base; None where there is none."""

    open: Values
    high: Values
    low: Values
    close: Values


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the chart. `weight`: its share of the height. `strip`: the phases.

    `shaded`: the times of setups are shaded, and the gap between its two lines.
    """

    title: str
    weight: float
    lines: list[Line] = []
    candles: Candles | None = None
    shaded: bool = False
    strip: bool = False


class Span(msgspec.Struct, frozen=True, rename={"from_s": "from", "to_s": "to"}):
    """A phase over [from_s, to_s)."""

    from_s: int
    to_s: int
    phase: str
    direction: int = 0


class Trade(msgspec.Struct, frozen=True, kw_only=True, rename={"from_s": "from", "to_s": "to"}):
    """An arrow for the entry, a ring for the exit, None while there is none."""

    from_s: float
    entry: float
    side: int
    text: str = ""
    to_s: float | None = None
    exit: float | None = None
    won: bool | None = None


class Level(msgspec.Struct, frozen=True, rename={"from_s": "from", "to_s": "to"}):
    """A horizontal line of the price panel over [from_s, to_s)."""

    from_s: int
    to_s: int
    price: float
    name: str
    strong: bool = False


class Moment(msgspec.Struct, frozen=True):
    """A vertical line through all panels."""

    t: int
    name: str


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """One chart: `count` bars of `step` seconds from `start` on, which share the time axis."""

    name: str
    start: int
    step: int
    count: int
    panels: list[Panel]
    spans: list[Span] = []
    trades: list[Trade] = []
    levels: list[Level] = []
    moments: list[Moment] = []


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A page. `jumps`: market and trade of each row of the table that leads to the chart.

    `verdict`: a sentence that stands out; `said`: lines below the title.
    """

    title: str
    subtitle: str
    said: list[str]
    figures: list[Figure]
    markets: list[Market]
    tables: list[Table]
    warnings: list[str] = []
    jumps: list[tuple[int, int]] = []
    verdict: str = ""
    verdict_tone: Tone = ""
    credit: str = ""
