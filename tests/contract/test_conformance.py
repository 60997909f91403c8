"""The public conformance suite, over every message system that comes with Callboard."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from callboard.brokers.duplicate import InMemoryBrokerSubscriberDuplicateValidator
from callboard.brokers.filtered import FilteredBrokerSubscriber
from callboard.brokers.memory import (
    InMemoryBroker,
    InMemoryBrokerPublisher,
    InMemoryBrokerSubscriber,
    InMemoryTransport,
)
from callboard.brokers.publisher import BrokerPublisher
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import Receipt
from callboard.brokers.wire import Frame
from callboard.clock import VirtualClock
from callboard.embedded import EmbeddedServer
from callboard.errors import PublishUnknownError
from callboard.jetstream import (
    ConnectionOptions,
    JetStreamTransport,
)
from callboard.jetstream.publisher import JetStreamBrokerPublisher
from callboard.jetstream.subscriber import JetStreamBrokerSubscriber
from callboard.testing.conformance import Connect, Messaging, MessagingConformance, TransportConformance
from tests.contract.letter import stored_letters


class InterruptibleBroker(InMemoryBroker):
    """A broker that can be away."""

    away = False

    def publish(self, frame: Frame) -> Receipt:
        if self.away:
            raise PublishUnknownError(frame.topic, 0.0, "away")
        return super().publish(frame)


class InMemoryMessaging(Messaging):
    """Several processes on one in-memory broker, whose time is virtual."""

    ack_wait = 30.0

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.broker = InterruptibleBroker(clock=self.clock)
        super().__init__(lambda: InMemoryTransport(self.broker))

    def publisher(self) -> BrokerPublisher:
        return InMemoryBrokerPublisher(self.broker)

    def subscriber(
        self, topics: Iterable[str], group_id: str = "shop", *, remove_topics_on_destroy: bool = False
    ) -> BrokerSubscriber:
        return InMemoryBrokerSubscriber(
            topics, self.broker, group_id=group_id, remove_topics_on_destroy=remove_topics_on_destroy
        )

    async def dead_letters(self) -> Sequence[Frame]:
        return self.broker.dead_letters

    @asynccontextmanager
    async def outage(self) -> AsyncGenerator[None]:
        self.broker.away = True
        yield
        self.broker.away = False

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await super().advance(0.001)  # threads and other processes have a time of their own


class JetStreamMessaging(Messaging):
    """Several processes on one server, with a connection each."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._options = ConnectionOptions((server.url,))
        super().__init__(lambda: JetStreamTransport(self._options))

    def publisher(self) -> BrokerPublisher:
        return JetStreamBrokerPublisher(self._options)

    def subscriber(
        self, topics: Iterable[str], group_id: str = "shop", *, remove_topics_on_destroy: bool = False
    ) -> BrokerSubscriber:
        return JetStreamBrokerSubscriber(
            topics,
            self._options,
            group_id=group_id,
            ack_wait=self.ack_wait,
            remove_topics_on_destroy=remove_topics_on_destroy,
        )

    async def dead_letters(self) -> Sequence[Frame]:
        return await stored_letters(self._server)

    def outage(self) -> AbstractAsyncContextManager[None]:
        return self._killed()

    @asynccontextmanager
    async def _killed(self) -> AsyncGenerator[None]:
        self._server.kill()
        yield
        await self._server.restart()


class TestInMemoryTransport(TransportConformance):
    @pytest.fixture
    def connect(self) -> Connect:
        broker = InMemoryBroker()
        return lambda: InMemoryTransport(broker)


class TestJetStreamTransport(TransportConformance):
    @pytest.fixture
    def connect(self, nats_server: EmbeddedServer) -> Connect:  # pyright: ignore[reportIncompatibleMethodOverride]
        return lambda: JetStreamTransport(ConnectionOptions((nats_server.url,)))


class TestInMemoryMessaging(MessagingConformance):
    @pytest.fixture
    def messaging(self) -> Messaging:
        return InMemoryMessaging()


class FilteredMessaging(InMemoryMessaging):
    """With a filter of duplicates behind each subscriber."""

    def subscriber(
        self, topics: Iterable[str], group_id: str = "shop", *, remove_topics_on_destroy: bool = False
    ) -> BrokerSubscriber:
        inner = super().subscriber(topics, group_id, remove_topics_on_destroy=remove_topics_on_destroy)
        return FilteredBrokerSubscriber(inner, InMemoryBrokerSubscriberDuplicateValidator(clock=self.clock))


class TestFilteredMessaging(MessagingConformance):
    """Nothing that is promised is lost to a filter: retries, redeliveries and leases come through."""

    @pytest.fixture
    def messaging(self) -> Messaging:
        return FilteredMessaging()


class TestJetStreamMessaging(MessagingConformance):
    @pytest.fixture
    def messaging(self, nats_server: EmbeddedServer) -> Messaging:  # pyright: ignore[reportIncompatibleMethodOverride]
        return JetStreamMessaging(nats_server)
