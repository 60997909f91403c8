"""Subscribing to topics of an in-memory broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from callboard.brokers.mailbox import group_mailboxes
from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.memory.transport import InMemoryTransport, broker_of
from callboard.brokers.subscription import TransportBrokerSubscriber
from callboard.config import Config

__all__ = ["InMemoryBrokerSubscriber"]


class InMemoryBrokerSubscriber(TransportBrokerSubscriber):
    """Messages of `topics` (NATS wildcards work) on `broker`, or on one of its own.

    Subscribers of one `group_id` on one broker compete for messages; each group gets each message, from the beginning
    of the streams. What a subscriber held that fell silent is handed to another one after `ack_wait` seconds.
    """

    def __init__(
        self,
        topics: Iterable[str],
        broker: InMemoryBroker | None = None,
        *,
        group_id: str = "callboard",
        ack_wait: float = 30.0,
        remove_topics_on_destroy: bool = False,
    ) -> None:
        topics = set(topics)
        self.broker = broker or InMemoryBroker()
        super().__init__(
            InMemoryTransport(self.broker),
            group_mailboxes(topics, group_id, ack_wait=ack_wait),
            remove_topics_on_destroy=remove_topics_on_destroy,
        )
        self.topics = topics

    @classmethod
    def _configured(cls, config: Config) -> Mapping[str, Any]:
        return {**super()._configured(config), "broker": broker_of(config)}
