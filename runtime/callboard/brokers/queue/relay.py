"""From an intake to somewhere else."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterable
from math import inf

from attrs import define

from callboard.backoff import Backoff
from callboard.brokers.deadletter import DEAD_LETTER_PAUSE, DeadLetter, DeadLetters, bury
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import LEASE_SHARE, Intake
from callboard.brokers.transport import BrokerTransport
from callboard.clock import SYSTEM_CLOCK, Clock
from callboard.errors import (
    CallboardError,
    ClosedError,
    ContentDecodeError,
    ContentEncodeError,
    HeaderError,
    MessageTypeError,
    PublishRefusedError,
    TopicError,
)
from callboard.lifecycle import being_cancelled

__all__ = ["Relay"]

logger = logging.getLogger("callboard.relay")

QUICK = 0.05
"""Seconds between quick tries."""
PATIENT = Backoff(base=1.0, maximum=30.0)
"""Between the tries after them."""
LAST_WAIT = 1.0
"""Seconds that cancelled slots have to end."""

_UNREADABLE = (ContentDecodeError, ContentEncodeError, HeaderError, MessageTypeError, TopicError)


@define(eq=False)
class _Slot:
    task: asyncio.Task[None] | None = None
    delivery: BrokerDelivery | None = None
    lease: float = inf
    pausing: bool = False
    """Between two tries: nothing is under way."""


class _NoDeadLetters(DeadLetters):
    async def put(self, letter: DeadLetter, carrier: dict[str, str]) -> None:  # noqa: ARG002
        raise PublishRefusedError(letter.delivery.topic, "there is no transport to keep dead letters on")


class Relay:
    """Gives each delivery of an intake to `forward`, in as many slots as the intake has, and acknowledges it then.

    Forwarding is not handling: there is no failure policy here, and nothing is given up. What `forward` cannot take
    now, for whatever reason, is tried `retry` more times at once, then with a backoff of up to 30 s for as long as it
    takes: it goes back to where it came from and leaves the slot to others, or with `in_place` it stays in its slot,
    which keeps the order where everything goes to the same place anyway. Only what cannot be read is a dead letter at
    once, on `transport`.

    Leases are renewed meanwhile. Messages of one slot are forwarded in the order of their deliveries. A message that
    was being forwarded when the process died is forwarded again.
    """

    def __init__(
        self,
        intake: Intake,
        forward: Callable[[BrokerDelivery], Awaitable[None]],
        *,
        transport: BrokerTransport | None,
        retry: int,
        in_place: bool = False,
    ) -> None:
        self._intake = intake
        self._forward = forward
        self._transport = transport
        self._clock: Clock = SYSTEM_CLOCK if transport is None else transport.clock
        self._dead_letters = _NoDeadLetters() if transport is None else transport.dead_letters
        self._retry = retry
        self._in_place = in_place
        self._slots: list[_Slot] = []
        self._troubled: set[str] = set()
        """Topics whose messages cannot be forwarded at the moment: said once, not for each try."""
        self._unwatch: Callable[[], None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to forward."""
        self._stopping = False
        self._slots.clear()
        if self._transport is not None:
            self._unwatch = self._transport.watch(self._leases)
        for _ in range(self._intake.concurrency):
            slot = _Slot()
            # An empty context: no span or variable of whoever starts this reaches a message.
            slot.task = asyncio.get_running_loop().create_task(
                self._work(slot), name="callboard relay", context=contextvars.Context()
            )
            self._slots.append(slot)

    async def stop(self, grace: float) -> None:
        """Begin nothing more, give what is under way `grace` seconds to end, and hand the rest back. Idempotent."""
        self._stopping = True
        self._intake.close()
        for slot in self._slots:
            if slot.pausing and slot.task is not None:
                slot.task.cancel()
        await self._ended(grace, cancel=False)
        await self._ended(LAST_WAIT, cancel=True)
        if self._unwatch is not None:
            self._unwatch()

    async def _ended(self, within: float, *, cancel: bool) -> None:
        running = [slot.task for slot in self._slots if slot.task is not None and not slot.task.done()]
        for task in running:
            if cancel:
                task.cancel()
        if running:
            _, hung = await asyncio.wait(running, timeout=within)
            for task in hung:
                if cancel:
                    logger.error("a relay ignores its cancellation and is left behind: %s", task)

    # One slot

    async def _work(self, slot: _Slot) -> None:
        while True:
            try:
                lane, delivery = await self._intake.take()
            except ClosedError:
                return
            begun = self._clock.time()
            slot.delivery, slot.lease = delivery, lane.lease
            try:
                await self._serve(slot, delivery)
            finally:
                slot.delivery = None
                self._intake.release(lane, self._clock.time() - begun, delivery.body_size)

    async def _serve(self, slot: _Slot, delivery: BrokerDelivery) -> None:
        """Whatever happens to a message, it goes back, and the slot goes on with the next one."""
        try:
            await self._carry(slot, delivery)
        except (Exception, asyncio.CancelledError):
            if being_cancelled():
                await _hand_back(delivery, 0.0)
                raise
            logger.exception("message %s of %s cannot be settled", delivery.sequence, delivery.durable)
            await _hand_back(delivery, DEAD_LETTER_PAUSE)

    async def _carry(self, slot: _Slot, delivery: BrokerDelivery) -> None:
        tries = 0
        while (error := await self._try(delivery)) is not None:
            tries += 1
            if self._stopping:
                await delivery.nak()
                return
            if tries <= self._retry:
                await self._pause(slot, QUICK)
                continue
            self._say_stuck(delivery, error)
            if not self._in_place:
                await delivery.nak(PATIENT.delay(delivery.delivered))
                return
            await self._pause(slot, PATIENT.delay(tries - self._retry))
        await delivery.ack()

    async def _try(self, delivery: BrokerDelivery) -> BaseException | None:
        """Forward, unless somebody filters it out; why it must be tried again, or None."""
        try:
            if not delivery.is_misdirected and await delivery.admit():
                await self._forward(delivery)
        except _UNREADABLE as error:
            logger.error("message %s of %s cannot be read: %s", delivery.sequence, delivery.durable, error)  # noqa: TRY400
            await bury(self._dead_letters, delivery, error, at=self._clock.now())
        except (Exception, asyncio.CancelledError) as error:  # a task inside `forward` may have been cancelled
            if being_cancelled():
                raise
            return error
        else:
            self._say_flowing(delivery)
        return None

    async def _pause(self, slot: _Slot, seconds: float) -> None:
        slot.pausing = True
        try:
            await self._clock.sleep(seconds)
        finally:
            slot.pausing = False

    def _say_stuck(self, delivery: BrokerDelivery, error: BaseException) -> None:
        if delivery.topic not in self._troubled:
            self._troubled.add(delivery.topic)
            logger.warning(
                "messages to %r of %s wait and are tried again, first message %s: %s: %s",
                delivery.topic,
                delivery.durable,
                delivery.identifier,
                type(error).__name__,
                error,
                exc_info=None if isinstance(error, CallboardError) else error,
            )

    def _say_flowing(self, delivery: BrokerDelivery) -> None:
        if delivery.topic in self._troubled:
            self._troubled.discard(delivery.topic)
            logger.info("messages to %r of %s go on", delivery.topic, delivery.durable)

    def _leases(self, now: float) -> Iterable[BrokerDelivery]:
        """What runs and what waits keeps its lease."""
        for slot in self._slots:
            if slot.delivery is not None and now - slot.delivery.touched > slot.lease * LEASE_SHARE:
                yield slot.delivery
        for lane in self._intake.lanes:
            for delivery in tuple(lane.waiting):
                if now - delivery.touched > lane.lease * LEASE_SHARE:
                    yield delivery


async def _hand_back(delivery: BrokerDelivery, delay: float) -> None:
    if not delivery.settled:
        try:
            await delivery.nak(delay)
        except CallboardError as error:
            logger.warning("message %s of %s is not handed back: %s", delivery.sequence, delivery.durable, error)
