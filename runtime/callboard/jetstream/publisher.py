"""Sending to JetStream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callboard.brokers.publisher import TransportBrokerPublisher
from callboard.config import Config, StreamSettings
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation
from callboard.jetstream.connection import ConnectionOptions
from callboard.jetstream.transport import JetStreamTransport

__all__ = ["JetStreamBrokerPublisher"]


class JetStreamBrokerPublisher(TransportBrokerPublisher):
    """Publishes on a connection of its own. The stream of a topic is created at the first message to it."""

    def __init__(
        self,
        options: ConnectionOptions | None = None,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
        *,
        streams: StreamSettings | None = None,
    ) -> None:
        super().__init__(JetStreamTransport(options, streams), instrumentation)

    @classmethod
    def _configured(cls, config: Config) -> Mapping[str, Any]:
        return {"options": ConnectionOptions.from_config(config), "streams": config.streams}
