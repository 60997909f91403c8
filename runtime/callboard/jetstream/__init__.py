"""NATS JetStream: everything that knows nats-py and the server is in this package."""

from callboard.jetstream.connection import ConnectionOptions
from callboard.jetstream.publisher import JetStreamBrokerPublisher
from callboard.jetstream.subscriber import JetStreamBrokerSubscriber
from callboard.jetstream.transport import JetStreamTransport

__all__ = ["ConnectionOptions", "JetStreamBrokerPublisher", "JetStreamBrokerSubscriber", "JetStreamTransport"]
