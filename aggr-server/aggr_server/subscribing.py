"""Asking a venue for streams over an open connection, and understanding what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aggr_server import clock
from aggr_server.exchanges.base import Ack, Adapter, Rejection, Subscription
from aggr_server.streams import StreamState

CONFIRM_WITHIN_S = 15.0
GROUP_WITHIN_S = 5.0
"""The same, where one group after the other is asked for."""
UNANSWERED_S = 1.0
"""After a message the venue does not confirm: time it may take to reject it."""
STRIKES = 3
PAUSE_S = 1.0
"""Before a stream that was rejected alone is asked for again."""

Send = Callable[[str], Awaitable[None]]
Group = list[StreamState]


class NotSubscribed(Exception):
    """The venue did not confirm what it was asked for."""


class Roll:
    """How to ask for the streams of a feed; survives its connections.

    Usually everything is asked for at once. After a rejection that does not say what it is about,
    one group after the other is, and a group that is rejected is halved, until the culprits are
    found. Only a stream rejected alone, `STRIKES` times, is given up, and only if the venue
    accepts others.
    """

    def __init__(self) -> None:
        self.groups: list[Group] = []
        """What to ask for one after the other; empty: everything at once."""
        self.asking: Group = []
        """What was being asked for when the connection ended, if it did so then."""
        self.strikes: dict[StreamState, int] = {}

    def forget(self) -> None:
        """The streams are other ones now, or all is well."""
        self.groups = []
        self.asking = []
        self.strikes = {}


class Subscriber:
    """The subscriptions of one connection. `answered` must see every `Ack` and `Rejection`."""

    def __init__(
        self,
        adapter: Adapter,
        channel: str,
        states: Sequence[StreamState],
        roll: Roll,
        send: Send,
    ) -> None:
        self._adapter = adapter
        self._channel = channel
        self._states = list(states)
        self._roll = roll
        self._send = send
        self._due = 0
        self._done = asyncio.Event()
        self._reason = ""
        self._asked: Group = []
        self._careful = bool(roll.groups)
        self._finished = False

    async def run(self) -> list[StreamState]:
        """Ask for everything; return what the venue delivers.

        Streams it refuses by name are refused right away. Raises `NotSubscribed`.
        """
        if self._careful:
            accepted = await self._one_by_one()
        else:
            accepted = self._states
            await self._ask(accepted)
            if self._reason:
                raise NotSubscribed(f"subscription rejected: {self._reason}")
        self._finished = True
        return [state for state in accepted if not state.refused]

    def answered(self, event: Ack | Rejection) -> None:
        """The venue answered. Raises `NotSubscribed` if it takes back what it had confirmed."""
        if isinstance(event, Rejection) and not self._named(event):
            if self._finished:
                raise NotSubscribed(f"subscription rejected: {event.reason}")
            self._reason = event.reason
            if not self._careful:
                self._roll.groups = halves(self._states)
                self._done.set()
        self._due -= 1
        if self._due <= 0:
            self._done.set()

    def _named(self, event: Rejection) -> bool:
        """Whether it is clear which stream is meant; refuse that one."""
        among = self._states if self._finished else self._asked
        meant = [
            state
            for state in among
            if state.stream.instrument.wire == event.wire and event.kind in ("", state.kind)
        ]
        if len(meant) != 1:
            return False
        meant[0].refuse(event.reason)
        return True

    async def _ask(self, group: Group) -> None:
        messages = self._messages(group)
        self._asked, self._reason = group, ""
        self._due = answers = sum(message.acks for message in messages)
        self._done.clear()
        for message in messages:
            await self._send(message.text)
            await clock.sleep(self._adapter.message_spacing_s)
        if self._due <= 0:
            if self._careful:
                await clock.sleep(UNANSWERED_S)
            return
        within_s = GROUP_WITHIN_S if self._careful else CONFIRM_WITHIN_S
        try:
            async with clock.timeout(within_s):
                await self._done.wait()
        except TimeoutError:
            self._reason = self._reason or f"not confirmed within {within_s:.0f} s"
            if not self._careful and self._due < answers:
                self._roll.groups = halves(group)

    def _messages(self, group: Group) -> list[Subscription]:
        return self._adapter.subscriptions(self._channel, [state.stream for state in group])

    async def _one_by_one(self) -> list[StreamState]:
        known = set(self._states)
        waiting = [[s for s in group if s in known] for group in self._roll.groups]
        accepted: list[Group] = []
        rejected: dict[StreamState, str] = {}
        if len(self._roll.asking) == 1 and self._strike(culprit := self._roll.asking[0]):
            rejected[culprit] = "the exchange closes the connection when it is asked for"
            waiting = [group for group in waiting if group != [culprit]]
        while waiting:
            group = waiting.pop(0)
            if not group:
                continue
            if len(group) > 1 and len(self._messages(group)) > 1:
                waiting[:0] = halves(group)
                continue
            self._roll.groups = [*accepted, *halves(group), *waiting]
            self._roll.asking = group
            await self._ask(group)
            self._roll.asking = []
            if not self._reason:
                accepted.append(group)
            elif len(group) > 1:
                waiting[:0] = halves(group)
            elif self._strike(group[0]):
                rejected[group[0]] = self._reason
            else:
                waiting.append(group)
                await clock.sleep(PAUSE_S)
        return self._judge(accepted, rejected)

    def _strike(self, state: StreamState) -> bool:
        self._roll.strikes[state] = self._roll.strikes.get(state, 0) + 1
        return self._roll.strikes[state] >= STRIKES

    def _judge(self, accepted: list[Group], rejected: dict[StreamState, str]) -> list[StreamState]:
        delivered = [state for group in accepted for state in group if not state.refused]
        if not delivered:
            reason = next(iter(rejected.values()), "") or "every stream is refused"
            self._roll.forget()
            raise NotSubscribed(f"subscription rejected: {reason}")
        for state, reason in rejected.items():
            state.refuse(reason)
        self._roll.forget()
        return delivered


def halves(group: Group) -> list[Group]:
    """Two groups, or the same one if it cannot be split."""
    if len(group) < 2:
        return [group]
    middle = len(group) // 2
    return [group[:middle], group[middle:]]
