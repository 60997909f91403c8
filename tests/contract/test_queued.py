"""Queued publishers and subscribers, on every transport and with every kind of queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from callboard import BrokerMessageV1, BrokerMessageV1Payload, command
from callboard.brokers.duplicate import InMemoryBrokerSubscriberDuplicateValidator
from callboard.brokers.filtered import FilteredBrokerSubscriber
from callboard.brokers.mailbox import group_mailboxes
from callboard.brokers.memory import InMemoryBroker, InMemoryTransport
from callboard.brokers.publisher import BrokerPublisher, TransportBrokerPublisher
from callboard.brokers.queue import (
    BrokerPublisherQueue,
    BrokerSubscriberQueue,
    InMemoryBrokerPublisherQueue,
    InMemoryBrokerSubscriberQueue,
    InMemoryQueueStore,
    QueuedBrokerPublisher,
    QueuedBrokerSubscriber,
)
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.subscription import TransportBrokerSubscriber
from callboard.brokers.wire import IDENTIFIER, Frame
from callboard.database import DatabaseBrokerPublisherQueue, DatabaseBrokerSubscriberQueue
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.testing.conformance import Messaging, MessagingConformance
from callboard.testing.conformance.step import handling
from tests.contract.conftest import Connect
from tests.contract.letter import stored_letters
from tests.jetstream.eventually import eventually

TOPIC = "orders.placed"


class Queues(Protocol):
    """Makes queues on one store, each as another process would have it."""

    def outbox(self) -> BrokerPublisherQueue: ...
    def inbox(self, topics: Iterable[str], name: str) -> BrokerSubscriberQueue: ...


class InMemoryQueues:
    def __init__(self) -> None:
        self._store = InMemoryQueueStore()

    def outbox(self) -> BrokerPublisherQueue:
        return InMemoryBrokerPublisherQueue(store=self._store)

    def inbox(self, topics: Iterable[str], name: str) -> BrokerSubscriberQueue:
        return InMemoryBrokerSubscriberQueue(topics, name, store=self._store)


class DatabaseQueues:
    def __init__(self, database: str) -> None:
        self._database = database

    def outbox(self) -> BrokerPublisherQueue:
        return DatabaseBrokerPublisherQueue(self._database)

    def inbox(self, topics: Iterable[str], name: str) -> BrokerSubscriberQueue:
        return DatabaseBrokerSubscriberQueue(self._database, topics, name)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def queues(request: pytest.FixtureRequest, tmp_path: Path) -> Queues:
    """Queues on one store, which is empty."""
    if request.param == "memory":
        return InMemoryQueues()
    lite = f"sqlite:///{tmp_path / 'queues.db'}"
    return DatabaseQueues(lite if request.param == "sqlite" else request.getfixturevalue("postgres"))


class QueuedMessaging(Messaging):
    """A message system that is used through queues only."""

    def __init__(self, connect: Connect, queues: Queues, server: EmbeddedServer | None) -> None:
        super().__init__(connect)
        self._queues = queues
        self._server = server

    def publisher(self) -> BrokerPublisher:
        return QueuedBrokerPublisher(super().publisher(), self._queues.outbox())

    def subscriber(
        self, topics: Iterable[str], group_id: str = "shop", *, remove_topics_on_destroy: bool = False
    ) -> QueuedBrokerSubscriber:
        inner = super().subscriber(topics, group_id, remove_topics_on_destroy=remove_topics_on_destroy)
        return QueuedBrokerSubscriber(inner, self._queues.inbox(inner.topics, f"{group_id} {sorted(inner.topics)}"))

    async def dead_letters(self) -> Sequence[Frame]:
        if self._server is not None:
            return await stored_letters(self._server)
        transport = self.transport()
        assert isinstance(transport, InMemoryTransport)
        return transport.broker.dead_letters

    async def vanish(self, subscriber: BrokerSubscriber) -> None:
        assert isinstance(subscriber, QueuedBrokerSubscriber)
        await subscriber.transport.destroy()
        await subscriber.queue.destroy()


class QueuedConformance(MessagingConformance):
    """What holds without queues holds with them."""

    @pytest.mark.skip(reason="what is in a queue has no lease")
    async def test_received_message_keeps_its_lease_however_long_its_receiver_takes(self, messaging: Messaging) -> None:
        raise NotImplementedError


@asynccontextmanager
async def relayed(messaging: QueuedMessaging) -> AsyncGenerator[Messaging]:
    """A publisher does not live until its messages are sent: another process relays them."""
    async with messaging.publisher():
        yield messaging


class TestQueuedInMemory(QueuedConformance):
    @pytest.fixture
    async def messaging(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, queues: Queues
    ) -> AsyncGenerator[Messaging]:
        broker = InMemoryBroker()
        async with relayed(QueuedMessaging(lambda: InMemoryTransport(broker), queues, None)) as messaging:
            yield messaging


class TestQueuedJetStream(QueuedConformance):
    @pytest.fixture
    async def messaging(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, nats_server: EmbeddedServer, queues: Queues
    ) -> AsyncGenerator[Messaging]:
        options = ConnectionOptions((nats_server.url,))
        async with relayed(QueuedMessaging(lambda: JetStreamTransport(options), queues, nats_server)) as messaging:
            yield messaging


def message(content: Any, topic: str = TOPIC) -> BrokerMessageV1:
    return BrokerMessageV1(topic, BrokerMessageV1Payload(content))


def outbox(connect: Connect, queues: Queues) -> QueuedBrokerPublisher:
    return QueuedBrokerPublisher(TransportBrokerPublisher(connect()), queues.outbox())


def direct(connect: Connect, group_id: str = "looker") -> TransportBrokerSubscriber:
    return TransportBrokerSubscriber(connect(), group_mailboxes([TOPIC], group_id))


def inbox(connect: Connect, queues: Queues) -> QueuedBrokerSubscriber:
    return QueuedBrokerSubscriber(direct(connect, "shop"), queues.inbox([TOPIC], "inbox"))


async def contents(subscriber: BrokerSubscriber, count: int) -> list[Any]:
    """What comes next, however it comes: at the latest when a lease has run out."""
    async with asyncio.timeout(45):
        return [(await subscriber.receive()).content for _ in range(count)]


async def test_messages_leave_the_outbox_in_order_with_what_they_carry(connect: Connect, queues: Queues) -> None:
    """C11."""
    sent = [message(number) for number in range(50)]
    async with outbox(connect, queues) as publisher, direct(connect) as looker:
        for each in sent:
            await publisher.send(each)
        async with asyncio.timeout(20):
            assert [await looker.receive() for _ in sent] == sent
        await eventually(lambda: _empty(publisher))


async def _empty(publisher: QueuedBrokerPublisher) -> bool:
    return await publisher.queue.count() == 0


async def test_what_one_process_queued_another_one_sends(connect: Connect, queues: Queues) -> None:
    """C13."""
    async with queues.outbox() as queue:
        publisher = QueuedBrokerPublisher(TransportBrokerPublisher(connect()), queue)
        await publisher._send(message(1))  # pyright: ignore[reportPrivateUsage] - as if it died before it relayed
    async with outbox(connect, queues), direct(connect) as looker:
        assert await contents(looker, 1) == [1]


async def test_several_relays_of_one_outbox_keep_the_order_and_send_everything_once(
    connect: Connect, queues: Queues
) -> None:
    relays = [outbox(connect, queues) for _ in range(3)]
    async with relays[0] as one, relays[1], relays[2], direct(connect) as looker:
        for number in range(60):
            await one.send(message(number))
        assert await contents(looker, 60) == list(range(60))


async def test_three_restarts_of_the_handler_lose_nothing(connect: Connect, queues: Queues) -> None:
    """S04."""
    async with outbox(connect, queues) as publisher:
        for number in range(9):
            await publisher.send(message(number))
        seen: list[Any] = []
        for _ in range(3):
            async with inbox(connect, queues) as subscriber:
                seen += await contents(subscriber, 3)
    assert sorted(seen) == list(range(9))


async def test_messages_of_one_topic_are_handled_in_publish_order(connect: Connect, queues: Queues) -> None:
    """S05."""
    seen: list[dict[str, int]] = []

    @command(TOPIC)
    async def place(content: dict[str, int]) -> None:
        seen.append(content)

    async with outbox(connect, queues) as publisher:
        for number in range(8):
            await publisher.send(message({"number": number}))
        async with handling(inbox(connect, queues), place):
            await eventually(lambda: len(seen) == 8)
    assert seen == [{"number": number} for number in range(8)]


async def test_failing_message_is_tried_as_declared_behind_filter_and_queue(connect: Connect, queues: Queues) -> None:
    """S14."""
    tries: list[str] = []

    @command(TOPIC, retry=(0, 0.01))
    async def place(content: str) -> None:
        tries.append(content)
        if content == "broken":
            raise ValueError(content)

    filtered = FilteredBrokerSubscriber(direct(connect), InMemoryBrokerSubscriberDuplicateValidator())
    queue = queues.inbox([TOPIC], "inbox")
    async with outbox(connect, queues) as publisher, handling(QueuedBrokerSubscriber(filtered, queue), place):
        broken = message("broken")
        await publisher.send(broken)
        await publisher.send(message("good"))
        await eventually(lambda: sorted(tries) == ["broken"] * 3 + ["good"])
        await eventually(lambda: _none(queue))


async def _none(queue: BrokerSubscriberQueue) -> bool:
    return await queue.count() == 0


async def test_duplicate_that_the_stream_let_through_is_handled_once(connect: Connect, queues: Queues) -> None:
    """C17."""
    one = message("first")
    frames: list[Frame] = []
    validator = InMemoryBrokerSubscriberDuplicateValidator()
    async with connect() as transport, FilteredBrokerSubscriber(direct(connect), validator) as subscriber:
        for content, identifier in (("first", one.identifier), ("copy", one.identifier), ("last", None)):
            headers = {IDENTIFIER: str(identifier)} if identifier else {}
            frames.append(Frame(TOPIC, headers, f'"{content}"'.encode()))
            await transport.publish(frames[-1])
        assert await contents(subscriber, 2) == ["first", "last"]


async def test_messages_wait_in_the_outbox_while_the_server_is_away(
    nats_server: EmbeddedServer, queues: Queues
) -> None:
    """S01."""

    def connect() -> JetStreamTransport:
        return JetStreamTransport(ConnectionOptions((nats_server.url,)))

    async with outbox(connect, queues) as publisher:
        await publisher.send(message(0))
        await eventually(lambda: _empty(publisher))
        nats_server.kill()
        for number in range(1, 20):
            await publisher.send(message(number))
        assert await publisher.queue.count() == 19
        await nats_server.restart()
        async with direct(connect) as looker:
            assert await contents(looker, 20) == list(range(20))


async def test_outbox_can_be_opened_while_the_server_is_away(nats_server: EmbeddedServer, queues: Queues) -> None:
    """S01."""

    def connect() -> JetStreamTransport:
        return JetStreamTransport(ConnectionOptions((nats_server.url,)))

    nats_server.kill()
    async with outbox(connect, queues) as publisher:
        await publisher.send(message(1))
        await nats_server.restart()
        async with direct(connect) as looker:
            assert await contents(looker, 1) == [1]
