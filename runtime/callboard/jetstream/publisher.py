"""Sending to JetStream."""

from __future__ import annotations

from callboard.brokers.publisher import TransportBrokerPublisher
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation
from callboard.jetstream.connection import ConnectionOptions
from callboard.jetstream.transport import JetStreamTransport

__all__ = ["JetStreamBrokerPublisher"]


class JetStreamBrokerPublisher(TransportBrokerPublisher):
    """Publishes on a connection of its own. A topic without a stream is refused with `NoStreamError`."""

    def __init__(
        self, options: ConnectionOptions | None = None, instrumentation: Instrumentation = NO_INSTRUMENTATION
    ) -> None:
        super().__init__(JetStreamTransport(options), instrumentation)
