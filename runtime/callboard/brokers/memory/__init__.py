"""A broker inside the process, with JetStream's semantics: what a test proves here, the server does too."""

from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.memory.publisher import InMemoryBrokerPublisher
from callboard.brokers.memory.subscriber import InMemoryBrokerSubscriber
from callboard.brokers.memory.transport import InMemoryTransport

__all__ = ["InMemoryBroker", "InMemoryBrokerPublisher", "InMemoryBrokerSubscriber", "InMemoryTransport"]
