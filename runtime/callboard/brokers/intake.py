"""Between mailboxes and slots: who is handed the next delivery, and how many more a mailbox may ask for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from callboard.brokers.delivery import BrokerDelivery
from callboard.errors import ClosedError

__all__ = ["LEASE_SHARE", "Intake", "Lane", "Window"]

LOOK_AHEAD = 0.1
"""Seconds of work kept waiting in memory, so that a fast handler never waits for the network."""
MAX_MESSAGES = 1000
"""Prefetch limit: 48-57 k msg/s at 1000, no faster above (two cores, loopback)."""
MAX_BYTES = 8 * 1024 * 1024
SMOOTHING = 0.1
LEASE_SHARE = 1 / 3
"""A lease is renewed after this part of `ack_wait`."""


class Window:
    """How many messages may wait in memory: about 100 ms of work, by the measured handling time.

    Nothing is prefetched before the first measurement, nor for handlers slower than 100 ms over all slots: what
    waits here is what another worker could have begun.
    """

    __slots__ = ("_bytes", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._bytes = 0.0

    def observe(self, seconds: float, size: int) -> None:
        """Learn from one handled message: how long it took and how many bytes it had."""
        if self._seconds == 0.0:
            self._seconds, self._bytes = max(seconds, 1e-6), float(size)
            return
        self._seconds += SMOOTHING * (seconds - self._seconds)
        self._bytes += SMOOTHING * (size - self._bytes)

    def size(self, slots: int) -> int:
        """Messages to keep waiting for `slots` slots."""
        if self._seconds == 0.0:
            return 0
        by_time = LOOK_AHEAD * slots / max(self._seconds, 1e-6)
        by_memory = MAX_BYTES / max(self._bytes, 1.0)
        return int(min(by_time, by_memory, MAX_MESSAGES))


class Lane:
    """One mailbox's share of an intake: what waits, what runs, and the room left."""

    __slots__ = ("_intake", "lease", "limit", "refill", "running", "waiting", "window")

    def __init__(self, intake: Intake, limit: int, refill: Callable[[], None]) -> None:
        self._intake = intake
        self.limit = limit
        self.refill = refill
        self.lease = 30.0
        """Seconds that the server waits for a sign of life (`ack_wait`)."""
        self.running = 0
        self.waiting: deque[BrokerDelivery] = deque()
        self.window = Window()

    @property
    def capacity(self) -> int:
        """Deliveries that this mailbox may hold, waiting and running."""
        return self.limit + self.window.size(self.limit)

    @property
    def room(self) -> int:
        """Deliveries that may still arrive: free slots and the prefetch window, less what waits."""
        return max(0, self.free + self.window.size(self.limit) - len(self.waiting))

    @property
    def free(self) -> int:
        """Slots that could take a delivery of this mailbox now."""
        return min(self.limit - self.running, self._intake.free)

    def offer(self, delivery: BrokerDelivery) -> None:
        """Take a delivery in."""
        self.waiting.append(delivery)
        if self.running < self.limit:
            self._intake.wake()


class Intake:
    """Hands what waits in several mailboxes to slots: round robin, none above its own limit.

    One mailbox's deliveries are handed out in the order in which they arrived.
    """

    def __init__(self, concurrency: int = 1) -> None:
        self.concurrency = concurrency
        """Slots; may be changed until the first mailbox is opened."""
        self.running = 0
        self.lanes: list[Lane] = []
        self._next = 0
        self._closed = False
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._wraps: list[Callable[[BrokerDelivery], BrokerDelivery]] = []

    @property
    def free(self) -> int:
        """Slots with nothing to do."""
        return self.concurrency - self.running

    def through(self, wrap: Callable[[BrokerDelivery], BrokerDelivery]) -> None:
        """Pass every delivery through `wrap` before it is handed out: how a filter gets its say."""
        self._wraps.append(wrap)

    def lane(self, limit: int | None, refill: Callable[[], None]) -> Lane:
        """A new mailbox; `refill` is called when there may be room for more."""
        lane = Lane(self, min(limit or self.concurrency, self.concurrency), refill)
        self.lanes.append(lane)
        return lane

    def wake(self) -> None:
        """Let one waiting slot look again."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def take(self) -> tuple[Lane, BrokerDelivery]:
        """The next delivery, as soon as there is one. Cancelling loses nothing. Raises `ClosedError` after `close`."""
        while not self._closed:
            if (taken := self._pop()) is not None:
                return taken
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.wake()
                raise
        raise ClosedError("subscriber")

    def open(self) -> None:
        """Begin with no mailboxes: also after a setup that was given up half-way."""
        self.lanes.clear()
        self._closed = False

    def close(self) -> None:
        """Hand out nothing more: `take` raises `ClosedError`. What waits stays for its mailbox to hand back."""
        self._closed = True
        while self._waiters:
            self.wake()

    def _pop(self) -> tuple[Lane, BrokerDelivery] | None:
        lanes = self.lanes
        for step in range(len(lanes)):
            lane = lanes[(self._next + step) % len(lanes)]
            if lane.waiting and lane.running < lane.limit:
                self._next = (self._next + step + 1) % len(lanes)
                lane.running += 1
                self.running += 1
                delivery = lane.waiting.popleft()
                for wrap in self._wraps:
                    delivery = wrap(delivery)
                return lane, delivery
        return None

    def release(self, lane: Lane, seconds: float, size: int) -> None:
        """A slot is free again after `seconds` with a delivery of `size` bytes from `lane`."""
        lane.running -= 1
        self.running -= 1
        lane.window.observe(seconds, size)
        if lane.waiting and lane.limit < self.concurrency:
            self.wake()
        if len(self.lanes) == 1:
            lane.refill()
            return
        for each in self.lanes:
            each.refill()
