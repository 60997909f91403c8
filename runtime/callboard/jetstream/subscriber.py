"""Subscribing to topics on JetStream."""

from __future__ import annotations

from collections.abc import Iterable

from callboard.brokers.mailbox import group_mailboxes
from callboard.brokers.subscription import TransportBrokerSubscriber
from callboard.jetstream.connection import ConnectionOptions
from callboard.jetstream.transport import JetStreamTransport

__all__ = ["JetStreamBrokerSubscriber"]


class JetStreamBrokerSubscriber(TransportBrokerSubscriber):
    """Messages of `topics` (NATS wildcards work), on a connection of its own.

    Subscribers of one `group_id` share a durable on each stream and compete for its messages; each group gets each
    message. A new group begins at the beginning of its streams, which are created where they are missing.
    """

    def __init__(
        self,
        topics: Iterable[str],
        options: ConnectionOptions | None = None,
        *,
        group_id: str = "callboard",
        remove_topics_on_destroy: bool = False,
    ) -> None:
        topics = set(topics)
        super().__init__(
            JetStreamTransport(options),
            group_mailboxes(topics, group_id),
            remove_topics_on_destroy=remove_topics_on_destroy,
        )
        self.topics = topics
