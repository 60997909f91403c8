"""The in-memory broker as a transport: actors run on it as they run on JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Self
from uuid import uuid4

from callboard.brokers import wire
from callboard.brokers.attempts import NO_PAST, Attempts, Past
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.keeper import Keeper
from callboard.brokers.mailbox import Kind, MailboxSpec, Order, Start
from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.memory.consumer import InMemoryConsumer
from callboard.brokers.memory.deadletter import InMemoryDeadLetters
from callboard.brokers.memory.mailboxes import InMemoryMailboxes
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.topic import overlap
from callboard.brokers.transport import BrokerTransport, Receipt, ReplyBox, ReplyFrame, Tick, Topology
from callboard.brokers.wire import Frame
from callboard.config import INBOX, Config
from callboard.errors import NoHandlerError, PublishUnknownError, TopologyError

__all__ = ["InMemoryTransport", "broker_of"]

MAX_ACK_PENDING = 100_000
BUDGET = 16.0
"""Seconds that a publish waits for the broker, as on JetStream."""
KIND, SERVICE = "callboard.kind", "callboard.service"
"""Keys of a consumer's metadata."""


class _Attempts(Attempts):
    def __init__(self) -> None:
        self._pasts: dict[tuple[str, str, int], Past] = {}

    async def past(self, delivery: BrokerDelivery) -> Past:
        return self._pasts.get((delivery.durable, delivery.stream, delivery.sequence), NO_PAST)

    async def record(self, delivery: BrokerDelivery, past: Past) -> None:
        self._pasts[delivery.durable, delivery.stream, delivery.sequence] = past


def broker_of(config: Config) -> InMemoryBroker:
    """The broker of everything in-memory that is built from this configuration."""
    if InMemoryBroker not in config.shared:
        config.shared[InMemoryBroker] = InMemoryBroker()
    broker: InMemoryBroker = config.shared[InMemoryBroker]
    return broker


class InMemoryTransport(BrokerTransport):
    """Several transports on one `broker` are several processes on one server; without one, a broker of its own."""

    def __init__(self, broker: InMemoryBroker | None = None) -> None:
        super().__init__()
        self.broker = broker or InMemoryBroker()
        self.clock = self.broker.clock
        self.attempts = _Attempts()
        self.dead_letters = InMemoryDeadLetters(self.broker)
        self._keeper = Keeper(self.clock)
        self._keeper.watch(self._tick)
        self._opened: set[InMemoryMailboxes] = set()
        self._connected = asyncio.Event()
        self._connected.set()

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """A transport on the one broker that everything built from this configuration shares."""
        return cls(broker_of(config))

    @property
    def servers(self) -> str:
        return "memory"

    async def _setup(self) -> None:
        self._keeper.start()

    async def _destroy(self) -> None:
        await self._keeper.stop()
        for mailboxes in tuple(self._opened):
            mailboxes.cut()

    def _tick(self, now: float) -> Iterable[BrokerDelivery]:  # noqa: ARG002
        self.statistics.loop_lag_now = self._keeper.late
        return ()

    def disconnect(self) -> None:
        """Lose the broker: nothing is delivered, and what is published waits, until `reconnect`. Idempotent."""
        self._connected.clear()
        for mailboxes in self._opened:
            mailboxes.pause()

    def reconnect(self) -> None:
        """Have it again. Idempotent."""
        self._connected.set()
        for mailboxes in self._opened:
            mailboxes.resume()

    async def publish(self, frame: Frame) -> Receipt:
        if not self._connected.is_set():
            wire.check_size(frame, self.broker.max_payload)
            try:
                async with self.clock.timeout(BUDGET):
                    await self._connected.wait()
            except TimeoutError:
                raise PublishUnknownError(frame.topic, BUDGET, "not connected") from None
        return self.broker.publish(frame)

    async def send(self, frame: Frame) -> None:
        if not self._connected.is_set():
            raise PublishUnknownError(frame.topic, 0.0, "not connected")
        self.broker.send(frame)

    def reply_box(self) -> ReplyBox:
        topic = f"{INBOX}.{uuid4().hex}"
        box = ReplyBox(topic, lambda: self.broker.inboxes.pop(topic, None))
        self.broker.inboxes[topic] = lambda frame: box.put(ReplyFrame(frame.headers, frame.body))
        return box

    def awaits(self, reply_topic: str) -> bool:
        return reply_topic in self.broker.inboxes

    async def check_handled(self, topic: str) -> None:
        for consumer in self.broker.consumers(topic):
            kind = _kind_of(consumer)
            if kind is not None and kind.answers and any(overlap(topics, topic) for topics in consumer.filters):
                return
        raise NoHandlerError(topic)

    async def prepare(self, topology: Topology) -> None:
        for topic in topology.publishes:
            self.broker.create_stream(topic)
        for spec in topology.mailboxes:
            self.broker.create_stream(spec.template.filter)
            self._check_owner(spec)
            consumer = self.broker.consumer(
                spec.filters,
                spec.durable,
                ack_wait=spec.ack_wait,
                max_ack_pending=1 if spec.order is Order.STRICT else MAX_ACK_PENDING,
                from_start=spec.start is Start.FIRST,
            )
            consumer.metadata |= {KIND: spec.kind.value, SERVICE: spec.service}

    async def remove(self, mailboxes: Sequence[MailboxSpec]) -> None:
        for spec in mailboxes:
            self.broker.remove_consumer(spec.template.filter, spec.durable)

    def _check_owner(self, spec: MailboxSpec) -> None:
        wanted = spec.template.filter
        for consumer in self.broker.consumers(wanted) if spec.kind.unicast else ():
            kind = _kind_of(consumer)
            if kind is None or not kind.unicast:
                continue
            owner = consumer.metadata[SERVICE]
            if owner != spec.service and any(overlap(topics, wanted) for topics in consumer.filters):
                raise TopologyError(
                    f"{spec.kind.value} {spec.template.text!r}",
                    f"belongs to the service {owner!r}, this one is {spec.service!r}; give it another topic",
                )

    def subscriber(self, mailboxes: Sequence[MailboxSpec]) -> BrokerSubscriber:
        return InMemoryMailboxes(self, self.broker, mailboxes, self._opened)

    def watch(self, tick: Tick) -> Callable[[], None]:
        return self._keeper.watch(tick)

    async def wait_closed(self) -> None:
        await asyncio.get_running_loop().create_future()


def _kind_of(consumer: InMemoryConsumer) -> Kind | None:
    """What a consumer is for; None for one that is no mailbox."""
    return Kind(consumer.metadata[KIND]) if KIND in consumer.metadata else None
