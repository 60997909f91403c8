"""Queues between a program and its transport: an outbox before publishing, an inbox before handling."""

from callboard.brokers.queue.memory import InMemoryBrokerQueue, InMemoryQueueStore
from callboard.brokers.queue.publisher import (
    BrokerPublisherQueue,
    InMemoryBrokerPublisherQueue,
    QueuedBrokerPublisher,
)
from callboard.brokers.queue.queue import BrokerQueue
from callboard.brokers.queue.subscriber import (
    BrokerSubscriberQueue,
    InMemoryBrokerSubscriberQueue,
    QueuedBrokerSubscriber,
)

__all__ = [
    "BrokerPublisherQueue",
    "BrokerQueue",
    "BrokerSubscriberQueue",
    "InMemoryBrokerPublisherQueue",
    "InMemoryBrokerQueue",
    "InMemoryBrokerSubscriberQueue",
    "InMemoryQueueStore",
    "QueuedBrokerPublisher",
    "QueuedBrokerSubscriber",
]
