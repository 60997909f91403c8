"""Subscribing to topics of an in-memory broker."""

from __future__ import annotations

from collections.abc import Iterable

from callboard.brokers.mailbox import group_mailboxes
from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.memory.transport import InMemoryTransport
from callboard.brokers.subscription import TransportBrokerSubscriber

__all__ = ["InMemoryBrokerSubscriber"]


class InMemoryBrokerSubscriber(TransportBrokerSubscriber):
    """Messages of `topics` (NATS wildcards work) on `broker`, or on one of its own.

    Subscribers of one `group_id` on one broker compete for messages; each group gets each message, from the beginning
    of the streams.
    """

    def __init__(
        self,
        topics: Iterable[str],
        broker: InMemoryBroker | None = None,
        *,
        group_id: str = "callboard",
        remove_topics_on_destroy: bool = False,
    ) -> None:
        topics = set(topics)
        self.broker = broker or InMemoryBroker()
        super().__init__(
            InMemoryTransport(self.broker),
            group_mailboxes(topics, group_id),
            remove_topics_on_destroy=remove_topics_on_destroy,
        )
        self.topics = topics
