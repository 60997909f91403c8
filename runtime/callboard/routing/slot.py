"""Places for running messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from enum import Enum
from math import inf

from callboard.brokers.attempts import NO_PAST, Past
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import LEASE_SHARE, Intake, Lane
from callboard.routing.action import Action

__all__ = ["SLOT", "Interruption", "Slot", "Slots", "waiting_due"]

logger = logging.getLogger("callboard.handler")

LAST_WAIT = 1.0
"""Seconds that cancelled handlers have to end; one that swallows its cancellation is left behind."""


class Interruption(Enum):
    """Why a running handler was cancelled by the runtime."""

    TIMEOUT = "timeout"
    STOP = "stop"


class Slot:
    """A long-lived task that handles one message after another.

    Only while `running` may the runtime interrupt it: the handler is suspended then, so the cancellation lands
    inside the handler and nowhere in the settlement.
    """

    __slots__ = (
        "action",
        "deadline",
        "delivery",
        "error_type",
        "gated",
        "interruption",
        "lane",
        "limit",
        "past",
        "running",
        "task",
    )

    lane: Lane
    """Where the delivery came from; there is one as soon as there was a delivery."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.delivery: BrokerDelivery | None = None
        self.action: Action | None = None
        self.past = NO_PAST
        self.deadline = inf
        """Time at which the handler is cancelled."""
        self.limit = inf
        """Time at which the handler counts as hung."""
        self.running = False
        self.gated = False
        self.interruption: Interruption | None = None
        self.error_type: str | None = None
        """How the delivery ended: empty when it was handled, None while that is open, and when it was handed back."""

    def begin(self, delivery: BrokerDelivery, lane: Lane) -> None:
        """Take up a delivery."""
        self.delivery = delivery
        self.lane = lane
        self.action = None
        self.past = NO_PAST
        self.interruption = None
        self.error_type = None

    def enter_gate(self) -> None:
        """The delivery waits for others to end: it may be handed back at any time."""
        self.gated = self.running = True

    def enter_handler(self, deadline: float, limit: float = inf) -> None:
        """The handler begins; it has until `deadline`, and is hung after `limit`."""
        self.deadline = deadline
        self.limit = limit
        self.running = True

    @property
    def attempt(self) -> int:
        """Which attempt this is; 1 is the first."""
        return self.past.failed + 1

    def remember(self, action: Action | None, past: Past) -> None:
        """What the delivery is handled by, and what happened to its message before."""
        self.action = action
        self.past = past

    def leave_handler(self) -> None:
        """The handler ended, however it did. An interruption is over then and counts as no cancellation of the task:
        what runs next in it (task groups, timeouts) must not believe that it is cancelled."""
        if self.running and self.interruption is not None and self.task is not None:
            self.task.uncancel()
        self.running = self.gated = False
        self.deadline = self.limit = inf

    def end(self) -> None:
        """The delivery is settled."""
        self.delivery = None

    def interrupt(self, why: Interruption) -> None:
        """Cancel the handler that runs now, once."""
        if self.running and self.interruption is None and self.task is not None:
            self.interruption = why
            self.task.cancel()


SLOT: ContextVar[Slot | None] = ContextVar("callboard_slot", default=None)
"""The slot whose task this is, for log records; set once for each task. Tasks that it starts see it too."""


class Slots:
    """All slots of a handler loop: as many messages run at once."""

    def __init__(self) -> None:
        self._slots: list[Slot] = []
        self._changed = asyncio.Event()
        """A slot became free, or the deadline of a stop nearer."""

    def add(self) -> Slot:
        """One more."""
        self._slots.append(slot := Slot())
        return slot

    def changed(self) -> None:
        """Let `until_idle` look again."""
        self._changed.set()

    def tick(self, now: float) -> Iterator[BrokerDelivery]:
        """Cancel handlers whose time is up; name the running deliveries whose lease is due."""
        for slot in self._slots:
            if slot.delivery is None:
                continue
            if now >= slot.deadline:
                slot.interrupt(Interruption.TIMEOUT)
            if now - slot.delivery.touched > slot.lane.lease * LEASE_SHARE:
                yield slot.delivery

    def hung(self, now: float) -> Iterator[Slot]:
        """Slots whose handler outlived its hard limit, each once."""
        for slot in self._slots:
            if now >= slot.limit:
                slot.limit = inf
                yield slot

    def interrupt_gated(self) -> None:
        """Hand back what only waits for others to end."""
        for slot in self._slots:
            if slot.gated:
                slot.interrupt(Interruption.STOP)

    async def finish(self, deadline: Callable[[], float]) -> None:
        """Give what runs until `deadline()`, which may come nearer meanwhile; then cancel it."""
        await self._until_idle(deadline)
        for slot in self._slots:
            slot.interrupt(Interruption.STOP)
        last = asyncio.get_running_loop().time() + LAST_WAIT
        await self._until_idle(lambda: last)

    async def _until_idle(self, deadline: Callable[[], float]) -> None:
        clock = asyncio.get_running_loop().time
        while any(slot.delivery is not None for slot in self._slots) and clock() < deadline():
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline()):
                    await self._changed.wait()

    async def end(self) -> None:
        """End all tasks."""
        tasks = [slot.task for slot in self._slots if slot.task is not None]
        self._slots.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            _, hung = await asyncio.wait(tasks, timeout=LAST_WAIT)
            for task in hung:
                logger.error("a handler ignores its cancellation and is left behind: %s", task)


def waiting_due(intake: Intake, now: float) -> Iterator[BrokerDelivery]:
    """The deliveries that wait for a slot and whose lease is due."""
    for lane in intake.lanes:
        if lane.waiting:
            yield from _lane_due(lane, now - lane.lease * LEASE_SHARE)


def _lane_due(lane: Lane, limit: float) -> list[BrokerDelivery]:
    return [delivery for delivery in lane.waiting if delivery.touched < limit]
