"""A publisher and a subscriber with their queues in a database."""

from __future__ import annotations

from callboard import BrokerMessageV1, BrokerMessageV1Payload
from callboard.brokers.memory import InMemoryBrokerPublisher
from callboard.brokers.queue.publisher import QueuedBrokerPublisher
from callboard.brokers.wire import encode
from callboard.database import DatabaseBrokerPublisherQueue
from tests.jetstream.eventually import eventually


def message(number: int) -> BrokerMessageV1:
    return BrokerMessageV1("orders.placed", BrokerMessageV1Payload(number))


async def test_messages_in_an_outbox_are_published_in_order(url: str) -> None:
    """C11."""
    inner = InMemoryBrokerPublisher()
    outbox = DatabaseBrokerPublisherQueue(url)
    async with QueuedBrokerPublisher(inner, outbox) as publisher:
        for number in range(50):
            await publisher.send(message(number))
        await eventually(lambda: len(inner.messages) == 50)
        assert [sent.content for sent in inner.messages] == list(range(50))
        await eventually(lambda: _empty(outbox))


async def test_messages_that_were_queued_before_are_published_by_who_comes_next(url: str) -> None:
    """C13. S04."""
    async with DatabaseBrokerPublisherQueue(url) as outbox:
        for number in range(5):
            await outbox.put(encode(message(number)), key="orders.placed")
    inner = InMemoryBrokerPublisher()
    async with QueuedBrokerPublisher(inner, DatabaseBrokerPublisherQueue(url)):
        await eventually(lambda: len(inner.messages) == 5)
    assert [sent.content for sent in inner.messages] == list(range(5))


async def _empty(queue: DatabaseBrokerPublisherQueue) -> bool:
    return await queue.count() == 0
