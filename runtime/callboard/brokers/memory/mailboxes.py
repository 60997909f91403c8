"""Deliveries of an in-memory broker."""

from __future__ import annotations

from collections.abc import Sequence

from callboard.brokers.intake import Intake, Lane
from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.memory.consumer import InMemoryConsumer, InMemoryDelivery
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import BrokerTransport

__all__ = ["InMemoryMailboxes"]


class _Mailbox:
    """Pulls from one consumer exactly what there is room for."""

    def __init__(self, consumer: InMemoryConsumer, intake: Intake, limit: int | None) -> None:
        self._consumer = consumer
        self._lane: Lane = intake.lane(limit, self.refill)
        self._lane.lease = consumer.ack_wait
        self._owed = 0

    def refill(self) -> None:
        wanted = self._lane.free - len(self._lane.waiting) - self._owed
        if wanted > 0:
            self._owed += wanted
            self._consumer.pull(self._deliver, wanted)

    def _deliver(self, delivery: InMemoryDelivery) -> None:
        self._owed -= 1
        self._lane.offer(delivery)

    async def drain(self) -> None:
        self._consumer.cancel(self._deliver)
        while self._lane.waiting:
            await self._lane.waiting.popleft().nak()


class InMemoryMailboxes(BrokerSubscriber):
    """The mailboxes of one actor on an in-memory broker, sharing its slots."""

    def __init__(self, transport: BrokerTransport, broker: InMemoryBroker, specs: Sequence[MailboxSpec]) -> None:
        super().__init__((topics for spec in specs for topics in spec.filters), transport=transport)
        self._broker = broker
        self._specs = specs
        self._mailboxes: list[_Mailbox] = []

    async def _setup(self) -> None:
        for spec in self._specs:
            consumer = self._broker.consumer(spec.filters, spec.durable)
            self._mailboxes.append(_Mailbox(consumer, self.intake, spec.concurrency))
        for mailbox in self._mailboxes:
            mailbox.refill()

    async def drain(self) -> None:
        self.intake.close()
        for mailbox in self._mailboxes:
            await mailbox.drain()

    async def _destroy(self) -> None:
        await self.drain()
        self._mailboxes.clear()
