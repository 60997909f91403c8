"""Deliveries of an in-memory broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from callboard.brokers.intake import Intake, Lane
from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.memory.consumer import InMemoryConsumer, InMemoryDelivery
from callboard.brokers.status import MailboxStatus
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import BrokerTransport, Topology
from callboard.errors import TopologyError

__all__ = ["InMemoryMailboxes"]


class _Mailbox:
    """Pulls from one consumer exactly what there is room for."""

    def __init__(
        self,
        spec: MailboxSpec,
        consumer: InMemoryConsumer,
        intake: Intake,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._spec = spec
        self._consumer = consumer
        self._on_crash = on_crash
        self._lane: Lane = intake.lane(spec.concurrency, self.refill)
        self._lane.lease = consumer.ack_wait
        self._owed = 0
        self._cut = self._paused = False
        consumer.on_removed.append(self._removed)

    def refill(self) -> None:
        wanted = self._lane.free - len(self._lane.waiting) - self._owed
        if wanted > 0 and not (self._cut or self._paused):
            self._owed += wanted
            self._consumer.pull(self._deliver, wanted)

    def _deliver(self, delivery: InMemoryDelivery) -> None:
        self._owed -= 1
        self._lane.offer(delivery)

    def _removed(self) -> None:
        self._on_crash(TopologyError(f"mailbox {self._consumer.durable}", "is gone: its durable was removed"))

    def status(self) -> MailboxStatus:
        topic, lag = self._spec.template.text, self._consumer.pending
        return MailboxStatus(self._spec.durable, topic, not (self._cut or self._paused), self._lane.flow, lag=lag)

    def pause(self) -> None:
        """Pull no more until `resume`."""
        self._paused = True
        self._owed = 0
        self._consumer.cancel(self._deliver)

    def resume(self) -> None:
        """Pull again."""
        self._paused = False
        self.refill()

    def cut(self) -> None:
        """Pull no more, and hand nothing back: what waits here is delivered elsewhere when its lease has run out."""
        self._cut = True
        self._consumer.cancel(self._deliver)
        if self._removed in self._consumer.on_removed:
            self._consumer.on_removed.remove(self._removed)
        self._lane.waiting.clear()

    async def drain(self) -> None:
        waiting = tuple(self._lane.waiting)
        self.cut()
        for delivery in waiting:
            await delivery.nak()


class InMemoryMailboxes(BrokerSubscriber):
    """The mailboxes of one actor on an in-memory broker, sharing its slots. `opened` are those of their connection."""

    def __init__(
        self,
        transport: BrokerTransport,
        broker: InMemoryBroker,
        specs: Sequence[MailboxSpec],
        opened: set[InMemoryMailboxes],
    ) -> None:
        super().__init__((topics for spec in specs for topics in spec.filters), transport=transport)
        self._broker = broker
        self._specs = specs
        self._opened = opened
        self._mailboxes: list[_Mailbox] = []

    async def _setup(self) -> None:
        self.intake.open()
        await self.transport.prepare(Topology(self._specs, ()))
        for spec in self._specs:
            consumer = self._broker.consumer(spec.filters, spec.durable)
            self._mailboxes.append(_Mailbox(spec, consumer, self.intake, self.crash))
        self._opened.add(self)
        for mailbox in self._mailboxes:
            mailbox.refill()

    def status(self) -> Sequence[MailboxStatus]:
        return [mailbox.status() for mailbox in self._mailboxes]

    def pause(self) -> None:
        """The connection is lost for a while."""
        for mailbox in self._mailboxes:
            mailbox.pause()

    def resume(self) -> None:
        """It is there again."""
        for mailbox in self._mailboxes:
            mailbox.resume()

    def cut(self) -> None:
        """The connection ended."""
        for mailbox in self._mailboxes:
            mailbox.cut()

    async def drain(self) -> None:
        self.intake.close()
        self._opened.discard(self)
        for mailbox in self._mailboxes:
            await mailbox.drain()

    async def _destroy(self) -> None:
        await self.drain()
        self._mailboxes.clear()
