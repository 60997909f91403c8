"""Messages that wait here until they are published."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from callboard.brokers import wire
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import Intake
from callboard.brokers.publisher import BrokerPublisher
from callboard.brokers.queue.mailbox import QueueMailbox
from callboard.brokers.queue.memory import InMemoryBrokerQueue, InMemoryQueueStore
from callboard.brokers.queue.queue import DEFAULT_RECORDS, DEFAULT_RETRY, BrokerQueue
from callboard.brokers.queue.relay import Relay
from callboard.brokers.transport import BrokerTransport
from callboard.clock import SYSTEM_CLOCK, Clock, Timer
from callboard.errors import SubstrateError
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation, PassedOn, trace_headers
from callboard.message import BrokerMessage

__all__ = ["BrokerPublisherQueue", "InMemoryBrokerPublisherQueue", "QueuedBrokerPublisher"]

logger = logging.getLogger("callboard.publisher")

MAX_PAYLOAD = 1024 * 1024
"""What a server takes unless its operator says otherwise: what is larger is refused before it is stored."""
SLOTS = 8
"""Keys that are forwarded at the same time."""
GRACE = 5.0
"""Seconds for what is being forwarded when the publisher is destroyed."""
EMPTYING = 5.0
"""Seconds in which an in-memory queue may still empty itself."""
COUNT = 10.0
"""Seconds between two counts of what waits."""
REVIVAL = 30.0
"""Seconds until a queue is read again whose reading failed for a reason that should not occur."""


class BrokerPublisherQueue(BrokerQueue):
    """A queue before a publisher: an outbox."""


class InMemoryBrokerPublisherQueue(InMemoryBrokerQueue, BrokerPublisherQueue):
    """An outbox in memory: what it holds ends with the process."""

    def __init__(
        self,
        name: str = "outbox",
        *,
        retry: int = DEFAULT_RETRY,
        records: int = DEFAULT_RECORDS,
        clock: Clock = SYSTEM_CLOCK,
        store: InMemoryQueueStore | None = None,
    ) -> None:
        super().__init__(name, retry=retry, records=records, clock=clock, store=store)


class QueuedBrokerPublisher(BrokerPublisher):
    """Puts messages into a queue, from which a relay sends them through another publisher.

    `send` returns when the queue has the message, whether a server can be reached or not. The inner publisher gets each
    message at least once, with its identifier, those of one `key` in the order in which they were put; `key` is a
    function of the message, by default its topic. What cannot go out holds back the later ones of its key, and nothing
    else, for as long as it takes.

    Both are set up and destroyed with this one. Messages of an in-memory queue are still sent at `destroy()`, for a few
    seconds; what remains then is logged. Whatever waits in another queue is sent when somebody opens it again.

    The span `create` covers the put, and its context goes with the message; the span `send` covers the sending. The
    inner publisher is to have no instrumentation of its own: its spans would take the place of `create`.
    """

    def __init__(
        self,
        publisher: BrokerPublisher,
        queue: BrokerQueue,
        *,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
        key: Callable[[BrokerMessage], str] | None = None,
    ) -> None:
        super().__init__()
        self.publisher = publisher
        """The one inside."""
        self.queue = queue
        self._instrumentation = instrumentation
        self._key = key or _topic
        self._intake = Intake(SLOTS)
        transport = publisher.transport
        self._clock = SYSTEM_CLOCK if transport is None else transport.clock
        self._mailbox = QueueMailbox(queue, self._intake, clock=self._clock, on_crash=self._revive)
        self._relay = Relay(self._intake, self._forward, transport=transport, retry=queue.retry)
        self._revival: Timer | None = None
        self._counting: asyncio.Task[None] | None = None
        self._started = False

    @property
    def transport(self) -> BrokerTransport | None:
        return self.publisher.transport

    async def send(self, message: BrokerMessage, *, transaction: Any = None) -> None:
        """Queue one message. With a `transaction` of the queue's store it is sent if and when that commits.

        Raises `TopicError`, `HeaderError`, `ContentEncodeError` or `MessageTooLargeError` for what could never be sent;
        nothing is stored then. Raises `SubstrateError` when the store does not answer. Cancelling leaves it unknown
        whether it is stored; queueing the same message again is safe.
        """
        await self.setup()
        await self._send(message, transaction)

    async def _send(self, message: BrokerMessage, transaction: Any = None) -> None:
        span = self._instrumentation.create(message.topic, message.identifier)
        try:
            frame = wire.encode(message, carrier=span.carrier)
            wire.check_size(frame, MAX_PAYLOAD)
            await self.queue.put(frame, key=self._key(message), transaction=transaction)
        except BaseException as error:
            span.fail(type(error).__name__, str(error))
            raise
        finally:
            span.end()

    async def _forward(self, delivery: BrokerDelivery) -> None:
        """Send a queued message: what goes out carries the context that it was created in."""
        span = self._instrumentation.send(delivery)
        created = PassedOn(trace_headers(delivery.headers))
        tokens = span.enter(), created.enter()
        try:
            message = delivery.message
            _ = message.content  # what cannot be read fails here, whatever the inner publisher looks at
            await self._instrumentation.sending("send", delivery.topic, self.publisher.send(message))
        except BaseException as error:
            span.fail(type(error).__name__, str(error))
            raise
        finally:
            created.leave(tokens[1])
            span.leave(tokens[0])
            span.end()

    async def _setup(self) -> None:
        await self.queue.setup()
        try:
            await self.publisher.setup()
        except SubstrateError as error:
            logger.warning("messages wait in queue %s until they can be sent: %s", self.queue.name, error)
        self._started = True
        self._intake.open()
        self._mailbox.start()
        self._relay.start()
        if self._instrumentation is not NO_INSTRUMENTATION:
            self._counting = asyncio.create_task(self._count(), name=f"count {self.queue.name}")

    async def _count(self) -> None:
        while True:
            try:
                self._instrumentation.statistics.outbox_now[self.queue.name] = await self.queue.count()
            except SubstrateError as error:
                logger.debug("what waits in queue %s is not known now: %s", self.queue.name, error)
            except Exception:
                logger.exception("queue %s cannot be counted", self.queue.name)
            await self._clock.sleep(COUNT)

    def _revive(self, error: BaseException) -> None:
        """The queue cannot be read, for a reason that should not occur: say so, and try again later."""
        logger.error("queue %s cannot be read, again in %.0f s", self.queue.name, REVIVAL, exc_info=error)
        self._revival = self._clock.call_later(REVIVAL, self._mailbox.start)

    async def _destroy(self) -> None:
        try:
            if self._started:
                await self._stop()
        finally:
            try:
                await self.publisher.destroy()
            finally:
                await self.queue.destroy()

    async def _stop(self) -> None:
        self._started = False
        counting, self._counting = self._counting, None
        if counting is not None:
            counting.cancel()
            await asyncio.wait({counting})
        if isinstance(self.queue, InMemoryBrokerQueue):
            with suppress(TimeoutError):
                async with asyncio.timeout(EMPTYING):
                    await self.queue.wait_empty()
        if self._revival is not None:
            self._revival.cancel()
        self._intake.close()
        try:
            await self._mailbox.drain()
            await self._relay.stop(GRACE)
        finally:
            await self._mailbox.stop()
        for frame in self.queue.frames if isinstance(self.queue, InMemoryBrokerQueue) else ():
            identifier = frame.headers.get(wire.IDENTIFIER)
            logger.error("message %s to %r of queue %s was not sent", identifier, frame.topic, self.queue.name)


def _topic(message: BrokerMessage) -> str:
    return message.topic
