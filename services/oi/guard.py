"""A venue's open interest that jumps is not believed until it stays there.

Units are what venues change without notice, and an answer may lack a contract: both look like a
squeeze of leverage, and neither is one.
"""

from __future__ import annotations

import msgspec

from services.core.records import Alert, OpenInterest
from services.market.symbols import symbol_of

CODE = "oi_jump"
JUMP = 3.0
"""Factor, either way, against the last value in coins."""

LARGE_SHARE = 0.1
"""A contract with at least this share of its venue's open interest is watched by itself."""

SAME = 1.5
CONFIRM_MS = 15 * 60_000
CONFIRM_SAMPLES = 2


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A jump that is not believed yet. `sample`: its newest value, `before`: coins until then.

    `what`: what jumped, for people. `since_ms`: when it began to stay where it is; `confirmed`:
    samples since that agree with it.
    """

    sample: OpenInterest
    before: float
    what: str
    since_ms: int
    confirmed: int = 0


def jump(last: OpenInterest, sample: OpenInterest) -> str:
    """How the venue, or one of its large contracts, tripled or fell to a third; empty: neither."""
    if _far(last.coins, sample.coins, JUMP):
        return f"from {_text(last.coins)} to {_text(sample.coins)} coins"
    now = {contract.contract: contract.coins for contract in sample.contracts}
    for contract in last.contracts:
        coins = now.get(contract.contract, 0.0)
        if contract.coins >= LARGE_SHARE * last.coins and _far(contract.coins, coins, JUMP):
            return f"in {contract.contract} from {_text(contract.coins)} to {_text(coins)} coins"
    return ""


def judge(
    last: OpenInterest | None, held: Held | None, sample: OpenInterest, now_ms: int
) -> Held | None:
    """What is held now; None if `sample` is to be taken as it is.

    A jump is believed once it has stayed within a factor of 1.5 for 15 minutes and at least two
    further samples.
    """
    if last is None or not (what := jump(last, sample)):
        return None
    if held is None or _far(held.sample.coins, sample.coins, SAME):
        return Held(sample=sample, before=last.coins, what=what, since_ms=now_ms)
    confirmed = held.confirmed + 1
    if confirmed >= CONFIRM_SAMPLES and now_ms - held.since_ms >= CONFIRM_MS:
        return None
    return msgspec.structs.replace(held, sample=sample, confirmed=confirmed)


def begun(held: Held, now_ms: int) -> Alert:
    """The alert on a jump."""
    return Alert(
        level="warning",
        code=CODE,
        symbol=symbol_of(held.sample.base),
        text=f"{_named(held)} jumped {held.what}, not believed until it lasts "
        f"{CONFIRM_MS // 60_000} min; compare with the venue's site",
        ts_ms=now_ms,
    )


def over(held: Held, taken: OpenInterest, now_ms: int) -> Alert:
    """The alert on the end of a jump. `taken`: the value that is believed."""
    ending = "is back in its range" if _nearer_before(held, taken) else "stayed there and is taken"
    return Alert(
        level="info",
        code=CODE,
        symbol=symbol_of(taken.base),
        text=f"{_named(held)} {ending}: {_text(taken.coins)} coins",
        ts_ms=now_ms,
        ended_level="warning",
    )


def _nearer_before(held: Held, taken: OpenInterest) -> bool:
    return abs(taken.coins - held.before) < abs(taken.coins - held.sample.coins)


def _named(held: Held) -> str:
    return f"open interest of {held.sample.base} at {held.sample.exchange}"


def _text(coins: float) -> str:
    return f"{coins:,.0f}" if coins >= 1000 else f"{coins:g}"


def _far(one: float, other: float, factor: float) -> bool:
    low, high = sorted((one, other))
    return low <= 0.0 or high / low >= factor
