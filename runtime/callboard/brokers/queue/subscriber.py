"""Messages that wait here until they are handled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from callboard.brokers.attempts import Attempts
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.queue.mailbox import QueueMailbox
from callboard.brokers.queue.memory import InMemoryBrokerQueue, InMemoryQueueStore
from callboard.brokers.queue.queue import DEFAULT_RECORDS, DEFAULT_RETRY, BrokerQueue, Origin
from callboard.brokers.queue.relay import Relay
from callboard.brokers.status import MailboxStatus
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.wire import IDENTIFIER, Frame
from callboard.clock import SYSTEM_CLOCK, Clock
from callboard.errors import InvalidArgumentError

__all__ = ["BrokerSubscriberQueue", "InMemoryBrokerSubscriberQueue", "QueuedBrokerSubscriber"]

GRACE = 2.0
"""Seconds for what is being queued when the subscriber is drained."""


class BrokerSubscriberQueue(BrokerQueue):
    """A queue behind a subscriber to the same topics: an inbox.

    Raises `InvalidArgumentError` for an empty set of topics. Queues of one name share their entries, whatever their
    topics: give a name to one group of subscribers only.
    """

    def __init__(
        self, topics: Iterable[str], name: str, *, retry: int = DEFAULT_RETRY, records: int = DEFAULT_RECORDS
    ) -> None:
        super().__init__(name, retry=retry, records=records)
        self.topics = set(topics)
        if not self.topics:
            raise InvalidArgumentError("a subscriber queue needs at least one topic; give it those of its subscriber")


class InMemoryBrokerSubscriberQueue(BrokerSubscriberQueue, InMemoryBrokerQueue):
    """An inbox in memory. What it holds ends with the process, although it is acknowledged where it came from: for
    tests, and for messages that may be lost."""

    def __init__(
        self,
        topics: Iterable[str],
        name: str = "inbox",
        *,
        retry: int = DEFAULT_RETRY,
        records: int = DEFAULT_RECORDS,
        clock: Clock = SYSTEM_CLOCK,
        store: InMemoryQueueStore | None = None,
    ) -> None:
        super().__init__(topics, name, retry=retry, records=records)
        self.clock = clock
        self.store = store or self.store


class QueuedBrokerSubscriber(BrokerSubscriber):
    """Puts what another subscriber receives into a queue, and delivers from there.

    A message is acknowledged to the transport when the queue has it, and removed from the queue when it is handled;
    in between the queue holds it, its delays and its failed attempts. Messages go into the queue in the order in which
    they arrive, also when the store was away for a time; they are handled as from a mailbox, oldest first, and one that
    waits for its next attempt holds nothing back.

    Both are set up and destroyed with this one. Raises `InvalidArgumentError` when their topics differ.
    """

    def __init__(self, subscriber: BrokerSubscriber, queue: BrokerSubscriberQueue) -> None:
        if subscriber.topics != queue.topics:
            raise InvalidArgumentError(
                f"the subscriber's topics {sorted(subscriber.topics)} and the queue's {sorted(queue.topics)} differ; "
                "give both the same"
            )
        super().__init__(subscriber.topics, transport=subscriber.transport)
        self.subscriber = subscriber
        """The one inside."""
        self.queue = queue
        subscriber.on_crash = self.crash
        self._mailbox = QueueMailbox(queue, self.intake, clock=self.transport.clock, on_crash=self.crash)
        self._relay = Relay(subscriber.intake, self._store, transport=self.transport, retry=queue.retry, in_place=True)

    @property
    def attempts(self) -> Attempts:
        return self._mailbox.attempts

    def status(self) -> Sequence[MailboxStatus]:
        return self.subscriber.status()

    async def _store(self, delivery: BrokerDelivery) -> None:
        # With its identifier: what derives one from the message's place does not know the place in the queue.
        headers = {IDENTIFIER: str(delivery.identifier), **delivery.headers}
        frame = Frame(delivery.topic, headers, delivery.body)
        await self.queue.put(frame, origin=Origin.of(delivery))

    async def _setup(self) -> None:
        await self.queue.setup()
        await self.subscriber.setup()
        self.intake.open()
        self._relay.start()
        self._mailbox.start()

    async def drain(self) -> None:
        self.intake.close()
        await asyncio.gather(self._mailbox.drain(), self._stop_filling())

    async def _stop_filling(self) -> None:
        await self.subscriber.drain()
        await self._relay.stop(GRACE)

    async def _destroy(self) -> None:
        try:
            await self.drain()
        finally:
            try:
                await self._mailbox.stop()
            finally:
                await self._destroy_both()

    async def _destroy_both(self) -> None:
        try:
            await self.subscriber.destroy()
        finally:
            await self.queue.destroy()
