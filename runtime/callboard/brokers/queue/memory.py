"""Queues in memory: what a test proves here, a database does too."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define

from callboard.brokers import wire
from callboard.brokers.queue.queue import DEFAULT_RECORDS, DEFAULT_RETRY, BrokerQueue, Origin, QueueEntry
from callboard.brokers.wire import Frame
from callboard.clock import SYSTEM_CLOCK, Clock
from callboard.errors import InvalidArgumentError

__all__ = ["InMemoryBrokerQueue", "InMemoryQueueStore"]

RESOLUTION = 1e-6
"""Seconds that a clock's arithmetic may be wrong: a timer must not find its entry due a rounding error later."""


@define(eq=False)
class _Entry:
    """A message in the store."""

    frame: Frame
    key: str | None
    origin: Origin | None
    due: float = 0.0
    delivered: int = 0
    failed: int = 0
    claimant: BrokerQueue | None = None


class _Table:
    """The entries of one name."""

    def __init__(self) -> None:
        self.entries: dict[int, _Entry] = {}
        """By number, oldest first."""
        self._known: set[str | Origin] = set()
        """Message ids and origins of what is here."""

    def add(self, number: int, entry: _Entry) -> bool:
        """Whether it is new; what waits already is not added again."""
        names = self._names(entry)
        if not self._known.isdisjoint(names):
            return False
        self._known.update(names)
        self.entries[number] = entry
        return True

    def remove(self, number: int) -> None:
        if (entry := self.entries.pop(number, None)) is not None:
            self._known.difference_update(self._names(entry))

    @staticmethod
    def _names(entry: _Entry) -> list[str | Origin]:
        names = (entry.frame.headers.get(wire.MESSAGE_ID), entry.origin)
        return [name for name in names if name is not None]


class InMemoryQueueStore:
    """What a database is for its queues: those with one name share their entries when they share the store.

    Lives as long as somebody holds it, whatever queues come and go. Not a thread-safe object.
    """

    def __init__(self) -> None:
        self._tables: defaultdict[str, _Table] = defaultdict(_Table)
        self._count = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def table(self, name: str) -> _Table:
        """What the queues of that name have."""
        return self._tables[name]

    def number(self) -> int:
        """The next entry's number."""
        self._count += 1
        return self._count

    def changed(self) -> None:
        """Wake everybody who waits for something to claim, or for an end."""
        waiting, self._waiting = self._waiting, set()
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def wait(self, clock: Clock, delay: float | None) -> None:
        """Return after the next change, or after `delay` seconds."""
        change = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        timer = None if delay is None else clock.call_later(delay, self.changed)
        try:
            await change
        finally:
            self._waiting.discard(change)
            if timer is not None:
                timer.cancel()


class InMemoryBrokerQueue(BrokerQueue):
    """A queue that lasts as long as its `store`: one of its own, unless it is given one to share.

    Keeps the contract's promises about keys, delays (by `clock`), duplicates and claims. It has no transactions: `put`
    raises `InvalidArgumentError` for one.
    """

    def __init__(
        self,
        name: str = "memory",
        *,
        retry: int = DEFAULT_RETRY,
        records: int = DEFAULT_RECORDS,
        clock: Clock = SYSTEM_CLOCK,
        store: InMemoryQueueStore | None = None,
    ) -> None:
        super().__init__(name, retry=retry, records=records)
        self.clock = clock
        self.store = store or InMemoryQueueStore()

    @property
    def frames(self) -> list[Frame]:
        """What is in the queue, claimed entries included, oldest first."""
        return [entry.frame for entry in self._entries.values()]

    async def put(
        self, frame: Frame, *, key: str | None = None, origin: Origin | None = None, transaction: Any = None
    ) -> None:
        if transaction is not None:
            raise InvalidArgumentError(
                f"queue {self.name!r} is in memory and has no transactions; leave it out, or use a database queue"
            )
        await self.setup()
        if self.store.table(self.name).add(self.store.number(), _Entry(frame, key, origin)):
            self.store.changed()

    async def claim(self, count: int) -> list[QueueEntry]:
        await self.setup()
        claimed: list[QueueEntry] = []
        for number, entry in self._claimable():
            if len(claimed) == count:
                break
            entry.claimant = self
            entry.delivered += 1
            claimed.append(QueueEntry(number, entry.frame, entry.key, entry.origin, entry.delivered, entry.failed))
        return claimed

    async def remove(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.store.table(self.name).remove(number)
        self.store.changed()

    async def put_back(self, number: int, *, delay: float, failed: int) -> None:
        if (entry := self._mine(number)) is not None:
            entry.claimant = None
            entry.failed = failed
            entry.due = self.clock.time() + delay
            self.store.changed()

    async def release(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if (entry := self._mine(number)) is not None:
                entry.claimant = None
                entry.delivered -= 1
        self.store.changed()

    async def wait(self) -> None:
        await self.setup()
        while next(self._claimable(), None) is None:
            await self.store.wait(self.clock, self._until_due())

    async def wait_empty(self) -> None:
        """Return when nothing is in the queue."""
        while self._entries:
            await self.store.wait(self.clock, None)

    async def count(self) -> int:
        return len(self._entries)

    async def _destroy(self) -> None:
        """Claims end with their claimant."""
        for entry in self._entries.values():
            if entry.claimant is self:
                entry.claimant = None
        self.store.changed()

    @property
    def _entries(self) -> dict[int, _Entry]:
        return self.store.table(self.name).entries

    def _mine(self, number: int) -> _Entry | None:
        entry = self._entries.get(number)
        return entry if entry is not None and entry.claimant is self else None

    def _claimable(self) -> Iterator[tuple[int, _Entry]]:
        """Entries that this queue may claim now, oldest first; to be claimed before the next one is asked for."""
        now = self.clock.time() + RESOLUTION
        blocked: set[str] = set()
        for number, entry in self._entries.items():
            if entry.claimant is self or entry.key in blocked:
                continue
            if entry.claimant is None and entry.due <= now:
                yield number, entry
            elif entry.key is not None:
                blocked.add(entry.key)

    def _until_due(self) -> float | None:
        """Seconds until a delayed entry is due; None when none is delayed."""
        now = self.clock.time()
        delays = [entry.due - now for entry in self._entries.values() if entry.claimant is None and entry.due > now]
        return min(delays, default=None)
