"""The newest open interest of every venue and base, and what is known about its absence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from logging import INFO, WARNING, getLogger
from typing import Literal

from aggr_server.log import kv
from services.core.records import Alert, ContractInterest, OpenInterest
from services.market.history import OI_KNOWN_AFTER_S
from services.oi import guard
from services.oi.guard import Held
from services.oi.venues import Found

STALE_MS = 15 * 60_000
"""A venue's own time being older than this is a problem, though its value is taken."""

PROMPT_MS = OI_KNOWN_AFTER_S * 1000 // 2
"""An answer stands for no moment longer before its arrival, unless it is stale."""

DELISTED_MS = 6 * 3_600_000
"""A contract is taken for delisted once it has been out of the venue's answers for so long."""

State = Literal["fresh", "carried", "held"]

_log = getLogger(__name__)


class Book:
    """What is known, for the venues in `names`.

    `latest`: base -> venue -> the value that is believed. `held`: base -> venue -> a jump that is
    not. `fresh`, `alerts`: what nobody has fetched yet with `news`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.latest: dict[str, dict[str, OpenInterest]] = {}
        self.held: dict[str, dict[str, Held]] = {}
        self.samples = 0
        self._states: dict[tuple[str, str], State] = {}
        self._not_listed: set[tuple[str, str]] = set()
        self._fresh: list[OpenInterest] = []
        self._alerts: list[Alert] = []

    def remember(self, samples: Iterable[OpenInterest], held: Iterable[Held]) -> None:
        """Values of an earlier run; they are carried until the venue answers."""
        for sample in samples:
            if sample.exchange in self.names:
                self.latest.setdefault(sample.base, {}).setdefault(sample.exchange, sample)
        for jump in held:
            if jump.sample.exchange in self.names:
                self.held.setdefault(jump.sample.base, {})[jump.sample.exchange] = jump

    def take(self, name: str, found: Found, now_ms: int) -> dict[str, str]:
        """Take in what a poll of a venue brought; base -> why its value cannot be used."""
        problems = dict(found.problems)
        for base in found.bases:
            if base in problems:
                self._carry(base, name)
                continue
            contracts = found.contracts.get(base, [])
            if not contracts:
                if problem := self._absent(base, name, now_ms):
                    problems[base] = problem
                continue
            self._not_listed.discard((base, name))
            sample = summed(name, base, contracts, now_ms)
            self._judge(sample, now_ms)
            if now_ms - sample.ts_ms > STALE_MS:
                age_s = (now_ms - sample.ts_ms) // 1000
                problems[base] = f"the venue's value is {age_s} s old"
        return problems

    def fail(self, name: str) -> None:
        """A poll of a venue brought nothing."""
        for base in self.latest:
            self._carry(base, name)

    def news(self) -> tuple[list[OpenInterest], list[Alert]]:
        """Samples and alerts since the last call."""
        news = self._fresh, self._alerts
        self._fresh, self._alerts = [], []
        return news

    def expected(self, base: str) -> set[str]:
        """Venues that have a perpetual of the base, or have not said so far."""
        return {name for name in self.names if (base, name) not in self._not_listed}

    def states(self, base: str) -> Mapping[str, State]:
        """Where each venue's value comes from."""
        return {
            name: self._states.get((base, name), "carried") for name in self.latest.get(base, {})
        }

    def _judge(self, sample: OpenInterest, now_ms: int) -> None:
        base, name = sample.base, sample.exchange
        last = self.latest.get(base, {}).get(name)
        before = self.held.get(base, {}).pop(name, None)
        held = guard.judge(last, before, sample, now_ms)
        if held is not None:
            self.held.setdefault(base, {})[name] = held
            self._states[base, name] = "held"
            if before is None:
                self._tell(guard.begun(held, now_ms), name)
            return
        if before is not None:
            self._tell(guard.over(before, sample, now_ms), name)
        self.latest.setdefault(base, {})[name] = sample
        self._states[base, name] = "fresh"
        self._fresh.append(sample)
        self.samples += 1

    def _tell(self, alert: Alert, name: str) -> None:
        self._alerts.append(alert)
        text = kv(exchange=name, text=alert.text)
        _log.log(INFO if alert.ended_level else WARNING, "%s %s", alert.code, text)

    def _absent(self, base: str, name: str, now_ms: int) -> str:
        """Why the answer lacks the base; empty: the venue does not list it."""
        last = self.latest.get(base, {}).get(name)
        if last is not None and now_ms - last.ts_ms <= DELISTED_MS:
            self._carry(base, name)
            return "no longer in the venue's answer"
        self.latest.get(base, {}).pop(name, None)
        if (base, name) not in self._not_listed:
            self._not_listed.add((base, name))
            _log.info("no such perpetual %s", kv(exchange=name, base=base))
        return ""

    def _carry(self, base: str, name: str) -> None:
        if self._states.get((base, name)) == "fresh":
            self._states[base, name] = "carried"


def summed(name: str, base: str, contracts: list[ContractInterest], now_ms: int) -> OpenInterest:
    """A venue's perpetuals in one; its price is their mean, weighted by coins.

    Its time is that of the largest, since small ones may not change for hours. It is not far from
    `now_ms`, when the answer came: whoever reads the sample later takes it for known soon after.
    """
    largest = max(contracts, key=lambda contract: contract.coins)
    ts_ms = largest.ts_ms
    if now_ms - ts_ms <= STALE_MS:
        ts_ms = max(ts_ms, now_ms - PROMPT_MS)
    coins = sum(contract.coins for contract in contracts)
    usd = sum(contract.usd for contract in contracts)
    only = contracts[0] if len(contracts) == 1 else None
    return OpenInterest(
        exchange=name,
        base=base,
        ts_ms=ts_ms,
        coins=coins,
        usd=usd,
        price=usd / coins,
        raw=only.raw if only else None,
        unit=only.unit if only else None,
        contracts=contracts,
    )
