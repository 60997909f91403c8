"""Subscribing to topics on JetStream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from callboard.brokers.mailbox import group_mailboxes
from callboard.brokers.subscription import TransportBrokerSubscriber
from callboard.config import Config, StreamSettings
from callboard.jetstream.connection import ConnectionOptions
from callboard.jetstream.transport import JetStreamTransport

__all__ = ["JetStreamBrokerSubscriber"]


class JetStreamBrokerSubscriber(TransportBrokerSubscriber):
    """Messages of `topics` (NATS wildcards work), on a connection of its own.

    Subscribers of one `group_id` share a durable on each stream and compete for its messages; each group gets each
    message. A new group begins at the beginning of its streams, which are created where they are missing. What a
    subscriber held whose process died is handed to another one after `ack_wait` seconds.
    """

    def __init__(
        self,
        topics: Iterable[str],
        options: ConnectionOptions | None = None,
        *,
        group_id: str = "callboard",
        ack_wait: float = 30.0,
        remove_topics_on_destroy: bool = False,
        streams: StreamSettings | None = None,
    ) -> None:
        topics = set(topics)
        super().__init__(
            JetStreamTransport(options, streams),
            group_mailboxes(topics, group_id, ack_wait=ack_wait),
            remove_topics_on_destroy=remove_topics_on_destroy,
        )
        self.topics = topics

    @classmethod
    def _configured(cls, config: Config) -> Mapping[str, Any]:
        own = {"options": ConnectionOptions.from_config(config), "streams": config.streams}
        return {**super()._configured(config), **own}
