"""From a queue into the slots of an intake."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from math import inf
from typing import Any, cast

from callboard.backoff import Backoff
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import Intake, Lane
from callboard.brokers.queue.delivery import QueueAttempts, QueueDelivery
from callboard.brokers.queue.queue import BrokerQueue, QueueEntry
from callboard.clock import Clock
from callboard.errors import SubstrateError
from callboard.lifecycle import being_cancelled

__all__ = ["QueueMailbox"]

logger = logging.getLogger("callboard.queue")

AWAY = Backoff(base=0.1, maximum=5.0)
"""Between two tries of a store that does not answer."""
DRAIN = 2.0
"""Seconds that a drain waits for the store to take what was handed back."""


class QueueMailbox:
    """Claims entries of a queue as far as an intake has room for them, and settles them in batches.

    Entries of one key are offered one at a time, in order: the next one when the one before is settled. When that goes
    back to the queue, those behind it go back as well. While slots are idle because what was claimed is all behind
    others of its keys, it looks further, up to `queue.records` entries: one key that is stuck stops no other.

    While the store is away it waits, and goes on by itself. Anything else that ends it is told to `on_crash`; it may be
    started again then.
    """

    def __init__(
        self, queue: BrokerQueue, intake: Intake, *, clock: Clock, on_crash: Callable[[BaseException], None]
    ) -> None:
        self.queue = queue
        self.attempts = QueueAttempts()
        self._intake = intake
        self._clock = clock
        self._on_crash = on_crash
        self._lane: Lane | None = None
        self._lines: dict[str, deque[QueueEntry]] = {}
        """What is behind the one that is out, by key; its key stays here until that one's end is settled."""
        self._behind = 0
        self._handled: list[int] = []
        self._returned: deque[tuple[QueueDelivery, float]] = deque()
        self._unbegun: list[int] = []
        self._drained = False
        self._nudge = asyncio.Event()
        """There is something to settle, or room."""
        self._at_rest = asyncio.Event()
        """Everything is settled, and nothing is under way at the store."""
        self._task: asyncio.Task[None] | None = None
        self._arrival: asyncio.Task[None] | None = None
        """Pending while the queue has nothing for us."""
        self._failures = 0

    def start(self) -> None:
        """Begin to claim. Deliveries come as soon as there are entries."""
        self._drained = False
        if self._lane is None:
            self._lane = self._intake.lane(None, self._nudge.set)
            self._lane.lease = inf
        self._nudge.set()
        self._at_rest.clear()
        self._task = _spawn(self._run(), f"queue {self.queue.name}")

    async def drain(self) -> None:
        """Claim no more and hand back what no slot has begun; what has begun can still be settled. Idempotent.

        Returns when the store has everything so far, or after a few seconds: what it does not take is handed back when
        the queue is destroyed.
        """
        self._drained = True
        self._hand_back()
        if self._task is None or self._task.done():
            return
        self._at_rest.clear()
        self._nudge.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await self._at_rest.wait()

    async def stop(self) -> None:
        """Drain, settle what was settled since, and end. Idempotent."""
        await self.drain()
        tasks = [task for task in (self._task, self._arrival) if task is not None]
        self._task = self._arrival = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()
        if lost := len(self._handled) + len(self._returned):
            logger.warning("queue %s: the store did not take %d settlements; these come again", self.queue.name, lost)

    # What deliveries tell

    def remove(self, delivery: QueueDelivery) -> None:
        """A delivery is done, or given up: it never comes again."""
        self.attempts.end(delivery)
        self._handled.append(delivery.entry.number)
        key = delivery.entry.key
        if key is not None and (line := self._lines.get(key)) is not None:
            if line:
                self._behind -= 1
                self._offer(line.popleft())
            else:
                del self._lines[key]
        self._nudge.set()

    def put_back(self, delivery: QueueDelivery, delay: float) -> None:
        """A delivery comes again after `delay` seconds, and those behind it after it."""
        self._returned.append((delivery, delay))
        self._nudge.set()

    # The puller

    async def _run(self) -> None:
        try:
            while True:
                await self._rest()
                try:
                    await self._settle()
                    await self._claim()
                except SubstrateError as error:
                    await self._bear(error)
        except (Exception, asyncio.CancelledError) as error:
            if being_cancelled():
                raise
            self._on_crash(error)
        finally:
            self._at_rest.set()

    async def _rest(self) -> None:
        """Until there is something to do."""
        if not self._nudge.is_set():
            self._at_rest.set()
        await self._nudge.wait()
        self._nudge.clear()
        self._at_rest.clear()

    async def _bear(self, error: SubstrateError) -> None:
        """The store is away: wait before the next try."""
        self._failures += 1
        if self._failures == 1:
            logger.warning("queue %s waits for its store: %s", self.queue.name, error)
        await self._clock.sleep(AWAY.delay(self._failures))
        self._nudge.set()

    def _is_well(self) -> None:
        """The store gave us something, or said that it has something."""
        if self._failures:
            logger.info("queue %s goes on", self.queue.name)
        self._failures = 0

    async def _settle(self) -> None:
        """Tell the store what happened. What it has not confirmed is told again; telling it twice changes nothing,
        because nothing is claimed in between.

        An entry goes back before those behind it: they cannot overtake it.
        """
        while numbers := self._handled[: self.queue.records]:
            await self.queue.remove(numbers)
            del self._handled[: len(numbers)]
        while self._returned:
            delivery, delay = self._returned[0]
            failed = (await self.attempts.past(delivery)).failed
            await self.queue.put_back(delivery.entry.number, delay=delay, failed=failed)
            self._returned.popleft()
            self.attempts.end(delivery)
            self._give_up_line(delivery.entry.key)
        while numbers := self._unbegun[: self.queue.records]:
            await self.queue.release(numbers)
            del self._unbegun[: len(numbers)]

    async def _claim(self) -> None:
        if not self._may_find() or (count := self._wanted()) <= 0:
            return
        entries = await self.queue.claim(count)
        for entry in entries:
            self._accept(entry)
        if len(entries) < count:
            self._arrival = _spawn(self.queue.wait(), f"queue {self.queue.name} waits")
            self._arrival.add_done_callback(lambda _: self._nudge.set())
        if entries:
            self._is_well()
            self._nudge.set()

    def _may_find(self) -> bool:
        """Whether something may have come since nothing was found. Raises what the queue raised meanwhile."""
        arrival = self._arrival
        if arrival is None:
            return True
        if arrival.done():
            self._arrival = None
            if not arrival.cancelled():
                arrival.result()
                self._is_well()
        return self._arrival is None

    def _wanted(self) -> int:
        """Entries to claim: enough for each slot; more for the window once half of it is empty; and as many again as
        there are behind others while slots are idle nevertheless."""
        lane, records = self._lane, self.queue.records
        if lane is None or self._drained:
            return 0
        room = lane.room - self._behind
        if lane.free > len(lane.waiting) and self._behind * 2 <= records:
            return min(max(room, self._behind), records - self._behind)
        if (len(lane.waiting) + self._behind) * 2 <= lane.capacity:
            return min(room, records - self._behind)
        return 0

    def _accept(self, entry: QueueEntry) -> None:
        """Offer an entry, put it behind the one of its key, or let it go: what we have no room for, others may."""
        line = None if entry.key is None else self._lines.get(entry.key)
        if self._drained or self._lane is None:
            self._unbegun.append(entry.number)
        elif line is not None:
            line.append(entry)
            self._behind += 1
        elif self._lane.room > 0:
            if entry.key is not None:
                self._lines[entry.key] = deque()
            self._offer(entry)
        else:
            self._unbegun.append(entry.number)

    def _offer(self, entry: QueueEntry) -> None:
        if self._lane is not None:
            delivery = QueueDelivery(self, entry, self._clock.time())
            self.attempts.begin(delivery, entry.failed)
            self._lane.offer(delivery)

    def _hand_back(self) -> None:
        """Release what waits, and what is behind it or behind what runs."""
        waiting = self._lane.waiting if self._lane is not None else deque[BrokerDelivery]()
        while waiting:
            delivery = cast("QueueDelivery", waiting.popleft())
            delivery.settled = True
            self.attempts.end(delivery)
            self._unbegun.append(delivery.entry.number)
            self._give_up_line(delivery.entry.key)
        for line in self._lines.values():
            self._let_go(line)

    def _give_up_line(self, key: str | None) -> None:
        if key is not None:
            self._let_go(self._lines.pop(key, deque[QueueEntry]()))

    def _let_go(self, line: deque[QueueEntry]) -> None:
        self._unbegun.extend(entry.number for entry in line)
        self._behind -= len(line)
        line.clear()


def _spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """A task with an empty context: no span or variable of whoever set the queue up reaches a message."""
    return asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())
