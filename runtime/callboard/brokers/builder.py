"""Putting publishers and subscribers together, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

from callboard.brokers.configured import instrumentation_of, transport_of
from callboard.brokers.duplicate import InMemoryBrokerSubscriberDuplicateValidator
from callboard.brokers.filtered import FilteredBrokerSubscriber
from callboard.brokers.mailbox import MailboxSpec, group_mailboxes
from callboard.brokers.part import (
    BrokerPublisherQueueBuilder,
    BrokerSubscriberQueueBuilder,
    BrokerSubscriberValidatorBuilder,
    Builder,
    stored_class,
)
from callboard.brokers.publisher import BrokerPublisher, TransportBrokerPublisher
from callboard.brokers.queue.publisher import (
    BrokerPublisherQueue,
    InMemoryBrokerPublisherQueue,
    QueuedBrokerPublisher,
)
from callboard.brokers.queue.subscriber import (
    BrokerSubscriberQueue,
    InMemoryBrokerSubscriberQueue,
    QueuedBrokerSubscriber,
)
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.subscription import TransportBrokerSubscriber
from callboard.brokers.transport import BrokerTransport
from callboard.brokers.validator import BrokerSubscriberValidator
from callboard.config import construct
from callboard.errors import ConfigError
from callboard.instrumentation import Instrumentation

__all__ = ["BrokerPublisherBuilder", "BrokerSubscriberBuilder"]


class BrokerPublisherBuilder(Builder[BrokerPublisher]):
    """Makes a publisher, behind a queue when one is given or `queues.outbox` is enabled.

    Keyword arguments: `transport`, `shared`, `instrumentation`, and with a queue those of the queued class. A transport
    that is given is shared unless `shared` says otherwise: who gave it destroys it.
    """

    def __init__(
        self,
        *,
        queue_builder: Builder[BrokerPublisherQueue] | None = None,
        queued_cls: type[QueuedBrokerPublisher] | None = None,
    ) -> None:
        super().__init__()
        self._queue = queue_builder
        self._queued_cls = queued_cls or QueuedBrokerPublisher

    def with_queued_cls(self, queued_cls: type[QueuedBrokerPublisher]) -> Self:
        """What connects the publisher with its queue, if it has one."""
        self._queued_cls = queued_cls
        return self

    def with_queue(self, queue: type[BrokerPublisherQueue] | Builder[BrokerPublisherQueue]) -> Self:
        """Messages go into this queue first."""
        self._queue = queue if isinstance(queue, Builder) else BrokerPublisherQueueBuilder(queue)
        return self

    def with_transport(self, transport: BrokerTransport) -> Self:
        """Publish on this transport."""
        return self.with_kwargs({"transport": transport})

    def build(self) -> BrokerPublisher:
        return self._build(**self._kwargs)

    def _build(
        self,
        *,
        transport: BrokerTransport | None = None,
        shared: bool | None = None,
        instrumentation: Instrumentation | None = None,
        **others: Any,
    ) -> BrokerPublisher:
        shared = transport is not None if shared is None else shared
        transport = transport or transport_of(self.config)
        spans = {"instrumentation": instrumentation or instrumentation_of(self.config, transport)}
        queue = self._queue_on(transport)
        if queue is None:
            whole = {"transport": transport, "shared": shared, **spans}
            return construct(TransportBrokerPublisher, whole, others, who=type(self).__name__)
        parts = {"publisher": TransportBrokerPublisher(transport, shared=shared), "queue": queue.build(), **spans}
        return construct(self._queued_cls, parts, others, who=type(self).__name__)

    def _queue_on(self, transport: BrokerTransport) -> Builder[BrokerPublisherQueue] | None:
        queue = self._queue
        if queue is None and self.config.queues.outbox.enabled:
            in_memory = InMemoryBrokerPublisherQueue
            queue = BrokerPublisherQueueBuilder(stored_class(self.config, transport, "outbox", in_memory))
        return queue and queue.within(self.config, name=f"outbox.{self.config.group}")


class BrokerSubscriberBuilder(Builder[BrokerSubscriber]):
    """Makes a subscriber to topics, which is a member of a group.

    It is filtered when a validator is given or `queues.duplicates` is enabled, and behind that queued when a queue is
    given or `queues.inbox` is enabled. Keyword arguments: `topics` (or the `mailboxes` themselves), `group_id`,
    `remove_topics_on_destroy`, `ack_wait`, `transport`, `shared`. A transport that is given is shared unless `shared`
    says otherwise: who gave it destroys it.
    """

    def __init__(
        self,
        *,
        validator_builder: Builder[BrokerSubscriberValidator] | None = None,
        queue_builder: BrokerSubscriberQueueBuilder | None = None,
        filtered_cls: type[FilteredBrokerSubscriber] | None = None,
        queued_cls: type[QueuedBrokerSubscriber] | None = None,
    ) -> None:
        super().__init__()
        self._validator: Builder[BrokerSubscriberValidator] | BrokerSubscriberValidator | None = validator_builder
        self._queue = queue_builder
        self._filtered_cls = filtered_cls or FilteredBrokerSubscriber
        self._queued_cls = queued_cls or QueuedBrokerSubscriber

    def with_filtered_cls(self, filtered_cls: type[FilteredBrokerSubscriber]) -> Self:
        """What connects the subscriber with its validator, if it has one."""
        self._filtered_cls = filtered_cls
        return self

    def with_queued_cls(self, queued_cls: type[QueuedBrokerSubscriber]) -> Self:
        """What connects the subscriber with its queue, if it has one."""
        self._queued_cls = queued_cls
        return self

    def with_validator(
        self,
        validator: type[BrokerSubscriberValidator] | Builder[BrokerSubscriberValidator] | BrokerSubscriberValidator,
    ) -> Self:
        """Pass on only what this validator lets through. An instance is for one subscriber."""
        self._validator = BrokerSubscriberValidatorBuilder(validator) if isinstance(validator, type) else validator
        return self

    def with_queue(self, queue: type[BrokerSubscriberQueue] | BrokerSubscriberQueueBuilder) -> Self:
        """Messages go through this queue."""
        self._queue = BrokerSubscriberQueueBuilder(queue) if isinstance(queue, type) else queue
        return self

    def with_group_id(self, group_id: str | None) -> Self:
        """Members of a group share its messages; None: the configuration's `name`, else `callboard`."""
        return self.with_kwargs({"group_id": group_id})

    def with_remove_topics_on_destroy(self, remove_topics_on_destroy: bool) -> Self:  # noqa: FBT001 - a fixed name
        """Whether the group's durables end with the subscriber; streams never do."""
        return self.with_kwargs({"remove_topics_on_destroy": remove_topics_on_destroy})

    def with_topics(self, topics: Iterable[str]) -> Self:
        """What to subscribe to; wildcards work."""
        return self.with_kwargs({"topics": set(topics)})

    def with_transport(self, transport: BrokerTransport) -> Self:
        """Subscribe on this transport."""
        return self.with_kwargs({"transport": transport})

    def build(self) -> BrokerSubscriber:
        return construct(self._build, self._presets, self._kwargs, who=type(self).__name__)

    def _build(
        self,
        *,
        topics: Iterable[str] | None = None,
        mailboxes: Sequence[MailboxSpec] | None = None,
        group_id: str | None = None,
        remove_topics_on_destroy: bool = False,
        ack_wait: float = 30.0,
        transport: BrokerTransport | None = None,
        shared: bool | None = None,
    ) -> BrokerSubscriber:
        group = group_id or self.config.group
        if mailboxes is None and topics is None:
            raise ConfigError(f"{type(self).__name__} needs 'topics'; give them with with_topics")
        topics = set(topics or ())
        subscriber: BrokerSubscriber = TransportBrokerSubscriber(
            transport or transport_of(self.config),
            group_mailboxes(topics, group, ack_wait=ack_wait) if mailboxes is None else mailboxes,
            remove_topics_on_destroy=remove_topics_on_destroy,
            shared=transport is not None if shared is None else shared,
        )
        if mailboxes is None:
            subscriber.topics = topics
        if (validator := self._validator_of(group)) is not None:
            subscriber = self._filtered_cls(subscriber, validator)
        if (queue := self._queue_of(subscriber, group)) is not None:
            subscriber = self._queued_cls(subscriber, queue)
        return subscriber

    def _validator_of(self, group: str) -> BrokerSubscriberValidator | None:
        validator = self._validator
        if validator is None and self.config.queues.duplicates.enabled:
            in_memory = InMemoryBrokerSubscriberDuplicateValidator
            validator = BrokerSubscriberValidatorBuilder(stored_class(self.config, None, "duplicates", in_memory))
        if isinstance(validator, Builder):
            return validator.within(self.config, name=f"handled.{group}").build()
        return validator

    def _queue_of(self, subscriber: BrokerSubscriber, group: str) -> BrokerSubscriberQueue | None:
        queue = self._queue
        if queue is None and self.config.queues.inbox.enabled:
            in_memory = InMemoryBrokerSubscriberQueue
            queue = BrokerSubscriberQueueBuilder(stored_class(self.config, subscriber.transport, "inbox", in_memory))
        if queue is None:
            return None
        return queue.within(self.config, name=f"inbox.{group}", topics=subscriber.topics).build()
