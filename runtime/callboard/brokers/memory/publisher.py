"""Sending to an in-memory broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.memory.transport import InMemoryTransport, broker_of
from callboard.brokers.publisher import TransportBrokerPublisher
from callboard.config import Config
from callboard.message import BrokerMessage

__all__ = ["InMemoryBrokerPublisher"]


class InMemoryBrokerPublisher(TransportBrokerPublisher):
    """Publishes to `broker`, or to one of its own; the stream of a topic is created at the first message to it.

    `messages` lists what was sent, the objects themselves, in order: what a test looks at first.
    """

    def __init__(self, broker: InMemoryBroker | None = None) -> None:
        self.broker = broker or InMemoryBroker()
        super().__init__(InMemoryTransport(self.broker))
        self.messages: list[BrokerMessage] = []

    @classmethod
    def _configured(cls, config: Config) -> Mapping[str, Any]:
        return {"broker": broker_of(config)}

    async def _send(self, message: BrokerMessage) -> None:
        await super()._send(message)
        self.messages.append(message)
