"""Between mailboxes and slots: who is handed the next delivery, and how many more a mailbox may ask for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable

from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.killswitch import KillSwitch
from callboard.brokers.status import Flow
from callboard.errors import ClosedError

__all__ = ["LEASE_SHARE", "Intake", "Lane", "Window"]

LOOK_AHEAD = 0.1
"""Seconds of work kept waiting in memory, so that a fast handler never waits for the network."""
MAX_MESSAGES = 1000
"""Prefetch limit: 48-57 k msg/s at 1000, no faster above (two cores, loopback)."""
MAX_BYTES = 8 * 1024 * 1024
SMOOTHING = 0.1
EXACTLY, SELDOM = 32, 16
"""The window follows each of the first measurements, and then every so manieth."""
LEASE_SHARE = 1 / 3
"""A lease is renewed after this part of `ack_wait`."""


class Window:
    """How many messages may wait in memory: about 100 ms of work, by the measured handling time.

    Nothing is prefetched before the first measurement, nor for handlers slower than 100 ms over all slots: what
    waits here is what another worker could have begun.
    """

    __slots__ = ("_bytes", "_observed", "_seconds", "_size", "_slots")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._seconds = 0.0
        self._bytes = 0.0
        self._observed = 0
        self._size = -1
        """As worked out last; -1 when it has to be worked out again."""

    def observe(self, seconds: float, size: int) -> None:
        """Learn from one handled message: how long it took and how many bytes it had."""
        self._observed += 1
        if self._observed < EXACTLY or not self._observed % SELDOM:
            self._size = -1
        if self._seconds == 0.0:
            self._seconds, self._bytes = max(seconds, 1e-6), float(size)
            return
        self._seconds += SMOOTHING * (seconds - self._seconds)
        self._bytes += SMOOTHING * (size - self._bytes)

    @property
    def size(self) -> int:
        """Messages to keep waiting for the slots."""
        if self._size < 0:
            self._size = self._work_out()
        return self._size

    def _work_out(self) -> int:
        if self._seconds == 0.0:
            return 0
        by_time = LOOK_AHEAD * self._slots / max(self._seconds, 1e-6)
        by_memory = MAX_BYTES / max(self._bytes, 1.0)
        return int(min(by_time, by_memory, MAX_MESSAGES))


class Lane:
    """One mailbox's share of an intake: what waits, what runs, and the room left.

    It is open, paused, or probing: paused it asks for nothing and what waits is handed back; a pause ends with one
    message at a time, until somebody opens it or pauses it again.
    """

    __slots__ = (
        "_intake",
        "_until",
        "allowed",
        "lease",
        "limit",
        "pausable",
        "refill",
        "running",
        "switch",
        "waiting",
        "window",
    )

    def __init__(self, intake: Intake, limit: int, refill: Callable[[], None]) -> None:
        self._intake = intake
        self.limit = limit
        self.allowed = limit
        """Deliveries that may run at once now: `limit` while open, 1 while probing, 0 while paused."""
        self.pausable = True
        """False where what is handed back does not come again."""
        self._until = 0.0
        self.refill = refill
        self.lease = 30.0
        """Seconds that the server waits for a sign of life (`ack_wait`)."""
        self.running = 0
        self.waiting: deque[BrokerDelivery] = deque()
        self.window = Window(limit)
        self.switch = KillSwitch()

    @property
    def capacity(self) -> int:
        """Deliveries that this mailbox may hold, waiting and running."""
        return self.allowed if self._until else self.allowed + self.window.size

    @property
    def room(self) -> int:
        """Deliveries that may still arrive: free slots and the prefetch window, less what waits."""
        return max(0, self.free + self._ahead - len(self.waiting))

    @property
    def _ahead(self) -> int:
        return self.window.size if self.is_open else 0

    @property
    def free(self) -> int:
        """Slots that could take a delivery of this mailbox now."""
        return min(self.allowed - self.running, self._intake.concurrency - self._intake.running)

    @property
    def is_open(self) -> bool:
        """Whether it is neither paused nor probing."""
        return not self._until

    @property
    def is_paused(self) -> bool:
        """Whether it asks for nothing at all."""
        return not self.allowed

    @property
    def flow(self) -> Flow:
        """Which of the three it is."""
        if self.is_open:
            return Flow.OPEN
        return Flow.PAUSED if self.is_paused else Flow.PROBING

    @property
    def ready(self) -> bool:
        """Whether a slot may take something: to handle it, or while paused to hand it back."""
        return bool(self.waiting) and (self.running < self.allowed or not self.allowed)

    def pause(self, until: float) -> None:
        """Take nothing until this loop time, then probe. Of several pauses the longest counts."""
        if not self.pausable:
            return
        self._until = max(until, self._until) if self.is_paused else until
        self.allowed = 0

    def failed(self, message: Hashable, now: float) -> float:
        """A message failed, and it may not be its own fault. Seconds until the next try when the mailbox is paused now,
        else 0."""
        return self._pause_for(lambda: self.switch.failed(message), now)

    def trip(self, now: float) -> float:
        """What the mailbox's handler needs is away. Seconds until the next try."""
        return self._pause_for(self.switch.trip, now)

    def _pause_for(self, decide: Callable[[], float], now: float) -> float:
        if not self.pausable:
            return 0.0
        if self.is_paused:  # it began before
            return max(self._until - now, 0.1)
        if seconds := decide():
            self.pause(now + seconds)
        return seconds

    def succeeded(self, message: Hashable) -> bool:
        """A message was handled. True when this ends a pause."""
        self.switch.succeeded(message)
        if self.is_open:
            return False
        self.open()
        return True

    def open(self) -> None:
        """Go on at full width."""
        self._until = 0.0
        self.allowed = self.limit
        self._widened()

    def tick(self, now: float) -> None:
        """Begin to probe once a pause is over."""
        if self.is_paused and now >= self._until:
            self.allowed = 1
            self._widened()

    def _widened(self) -> None:
        for _ in range(min(len(self.waiting), self.allowed)):
            self._intake.wake()
        self.refill()

    def offer(self, delivery: BrokerDelivery) -> None:
        """Take a delivery in."""
        self.waiting.append(delivery)
        if self.running < self.allowed or not self.allowed:
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

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits, and nothing is paused."""
        if self.running:
            return False
        for lane in self.lanes:  # noqa: SIM110 - asked ten times a second of every actor, and `any` takes twice as long
            if lane.waiting or not lane.is_open:
                return False
        return True

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
            if (taken := self.pop()) is not None:
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

    def pop(self) -> tuple[Lane, BrokerDelivery] | None:
        """The next delivery, when there is one already; None after `close`."""
        if self._closed:
            return None
        lanes = self.lanes
        for step in range(len(lanes)):
            lane = lanes[(self._next + step) % len(lanes)]
            if lane.ready:
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
        lane.window.observe(seconds, size)
        self.give_back(lane)

    def give_back(self, lane: Lane) -> None:
        """A slot is free again that handled nothing."""
        lane.running -= 1
        self.running -= 1
        if lane.waiting and lane.allowed < self.concurrency:
            self.wake()
        if len(self.lanes) == 1:
            lane.refill()
            return
        for each in self.lanes:
            each.refill()
