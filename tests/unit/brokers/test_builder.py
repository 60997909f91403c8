"""Publishers and subscribers that are put together from a configuration or by hand."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callboard.brokers.builder import BrokerPublisherBuilder, BrokerSubscriberBuilder
from callboard.brokers.duplicate import InMemoryBrokerSubscriberDuplicateValidator
from callboard.brokers.filtered import FilteredBrokerSubscriber
from callboard.brokers.mailbox import group_mailboxes
from callboard.brokers.memory import InMemoryBrokerPublisher, InMemoryBrokerSubscriber, InMemoryTransport
from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.part import BrokerPublisherQueueBuilder, BrokerSubscriberQueueBuilder, Builder
from callboard.brokers.publisher import BrokerPublisher, TransportBrokerPublisher
from callboard.brokers.queue.publisher import InMemoryBrokerPublisherQueue, QueuedBrokerPublisher
from callboard.brokers.queue.subscriber import InMemoryBrokerSubscriberQueue, QueuedBrokerSubscriber
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.subscription import TransportBrokerSubscriber
from callboard.brokers.validator import BrokerSubscriberValidator
from callboard.config import Config
from callboard.database import (
    DatabaseBrokerPublisherQueue,
    DatabaseBrokerSubscriberDuplicateValidator,
    DatabaseBrokerSubscriberQueue,
)
from callboard.errors import ConfigError, TopicError
from callboard.instrumentation import NO_INSTRUMENTATION
from callboard.jetstream import JetStreamTransport
from callboard.jetstream.publisher import JetStreamBrokerPublisher
from callboard.jetstream.subscriber import JetStreamBrokerSubscriber
from callboard.message import BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload

IN_MEMORY = "callboard.brokers.memory:InMemoryTransport"


def in_memory(**settings: Any) -> Config:
    return Config(transport=IN_MEMORY, **settings)


def message(number: int, topic: str = "orders.placed") -> BrokerMessage:
    return BrokerMessageV1(topic, BrokerMessageV1Payload(number))


class Odd(BrokerSubscriberValidator):
    """Lets odd numbers through."""

    async def _is_valid(self, message: BrokerMessage) -> bool:
        return bool(message.content % 2)


class Picky(BrokerSubscriberValidator):
    def __init__(self, least: int) -> None:
        super().__init__()
        self.least = least


class OwnPublisher(QueuedBrokerPublisher):
    pass


class OwnFilter(FilteredBrokerSubscriber):
    pass


class OwnSubscriber(QueuedBrokerSubscriber):
    pass


# The abstract names


async def test_what_is_built_from_one_configuration_finds_each_other() -> None:
    config = in_memory()

    async with (
        BrokerPublisher.from_config(config) as publisher,
        BrokerSubscriber.from_config(config, topics=["orders.*"]) as subscriber,
    ):
        await publisher.send(message(1))
        assert (await subscriber.receive()).content == 1


async def test_configuration_chooses_the_transport() -> None:
    assert isinstance(BrokerPublisher.from_config(Config()).transport, JetStreamTransport)
    assert isinstance(BrokerPublisher.from_config(in_memory()).transport, InMemoryTransport)
    assert isinstance(BrokerSubscriber.from_config(Config(), topics=["a"]).transport, JetStreamTransport)


async def test_older_name_builds_the_same() -> None:
    assert type(BrokerPublisher._from_config(in_memory())) is TransportBrokerPublisher
    assert BrokerSubscriber._from_config(in_memory(), topics=["a", "b", "b"]).topics == {"a", "b"}


async def test_subscriber_is_in_the_group_of_its_service_unless_another_is_given() -> None:
    named = in_memory(name="shop")

    assert group(BrokerSubscriber.from_config(in_memory(), topics=["a"])) == "callboard"
    assert group(BrokerSubscriber.from_config(named, topics=["a"])) == "shop"
    assert group(BrokerSubscriber.from_config(named, topics=["a"], group_id="audit")) == "audit"


async def test_topic_that_another_one_covers_is_still_one_of_the_topics() -> None:
    """C14."""
    topics = ["orders.*", "orders.placed"]

    assert BrokerSubscriber.from_config(in_memory(), topics=topics).topics == set(topics)


async def test_mailboxes_may_be_given_and_count_more_than_topics() -> None:
    mailboxes = group_mailboxes(["a", "b"], "audit")
    builder = BrokerSubscriberBuilder().with_config(in_memory()).with_kwargs({"mailboxes": mailboxes})

    assert builder.build().topics == {"a", "b"}
    assert group(builder.with_queue(InMemoryBrokerSubscriberQueue).with_topics(["c"]).copy().build()) == "audit"


def group(subscriber: BrokerSubscriber) -> str:
    while isinstance(subscriber, QueuedBrokerSubscriber | FilteredBrokerSubscriber):
        subscriber = subscriber.subscriber
    assert isinstance(subscriber, TransportBrokerSubscriber)
    return subscriber._mailboxes[0].service


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: BrokerPublisher.from_config(in_memory(), shard=True), "shard"),
        (lambda: BrokerPublisher.from_config(in_memory(), key=str), "key"),
        (lambda: BrokerSubscriber.from_config(in_memory(), topic="a"), "did you mean 'topics'"),
        (lambda: InMemoryBrokerPublisher.from_config(in_memory(), brokr=None), "did you mean 'broker'"),
        (lambda: BrokerPublisherBuilder().with_config(in_memory()).with_kwargs({"shard": 1}).build(), "shard"),
        (
            lambda: (
                BrokerPublisherBuilder()
                .with_config(in_memory())
                .with_queue(InMemoryBrokerPublisherQueue)
                .with_kwargs({"kye": str})
                .build()
            ),
            "did you mean 'key'",
        ),
    ],
)
async def test_unknown_option_is_refused_by_name(build: Callable[[], object], name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown option .*{name}"):
        build()


@pytest.mark.parametrize("topics", [None, []])
async def test_missing_topics_are_refused(topics: list[str] | None) -> None:
    options = {} if topics is None else {"topics": topics}

    with pytest.raises((ConfigError, TopicError), match="topic"):
        BrokerSubscriber.from_config(in_memory(), **options)


# The concrete names


async def test_concrete_names_build_themselves_on_what_is_configured() -> None:
    config = in_memory(name="shop")
    publisher = InMemoryBrokerPublisher.from_config(config)
    subscriber = InMemoryBrokerSubscriber.from_config(config, topics=["a"])

    assert isinstance(publisher, InMemoryBrokerPublisher)
    assert publisher.broker is subscriber.broker
    assert group(subscriber) == "shop"


async def test_options_are_stronger_than_the_configuration() -> None:
    broker = InMemoryBroker()

    assert InMemoryBrokerPublisher.from_config(in_memory(), broker=broker).broker is broker


async def test_concrete_names_of_jetstream_go_to_the_configured_servers() -> None:
    config = Config(nats="nats://a:1", name="shop")
    publisher = JetStreamBrokerPublisher.from_config(config)
    subscriber = JetStreamBrokerSubscriber.from_config(config, topics=["a"])

    assert (publisher.transport.servers, subscriber.transport.servers) == ("nats://a:1", "nats://a:1")
    assert group(subscriber) == "shop"


# Queues and validators that are configured


async def test_enabled_parts_are_put_around_what_is_built() -> None:
    """C22."""
    config = in_memory(
        name="shop",
        queues={
            "outbox": {"enabled": True, "retry": 7, "records": 8},
            "inbox": {"enabled": True, "records": 9},
            "duplicates": {"enabled": True, "retention": 60},
        },
    )
    publisher = BrokerPublisher.from_config(config)
    subscriber = BrokerSubscriber.from_config(config, topics=["a", "b"])

    assert isinstance(publisher, QueuedBrokerPublisher)
    assert (publisher.queue.retry, publisher.queue.records, publisher.queue.name) == (7, 8, "outbox.shop")
    assert isinstance(subscriber, QueuedBrokerSubscriber)
    assert (subscriber.queue.retry, subscriber.queue.records, subscriber.queue.name) == (2, 9, "inbox.shop")
    assert isinstance(subscriber.subscriber, FilteredBrokerSubscriber)
    validator = subscriber.subscriber.validator
    assert isinstance(validator, InMemoryBrokerSubscriberDuplicateValidator)
    assert validator.retention == 60.0


@pytest.mark.parametrize("section", ["outbox", "inbox"])
async def test_queue_that_would_lose_messages_is_refused(section: str) -> None:
    config = Config(queues={section: {"enabled": True}})

    with pytest.raises(ConfigError, match=f"'queues.{section}.enabled' needs 'queues.database'"):
        BrokerPublisher.from_config(config) if section == "outbox" else BrokerSubscriber.from_config(
            config, topics=["a"]
        )


async def test_what_is_enabled_is_kept_in_the_configured_database(tmp_path: Path) -> None:
    config = in_memory(
        name="shop",
        queues={
            "database": f"sqlite+aiosqlite:///{tmp_path}/shop.db",
            "outbox": {"enabled": True},
            "inbox": {"enabled": True},
            "duplicates": {"enabled": True, "retention": 60},
        },
    )
    publisher = BrokerPublisher.from_config(config)
    subscriber = BrokerSubscriber.from_config(config, topics=["orders.placed"])

    assert isinstance(publisher, QueuedBrokerPublisher)
    assert isinstance(publisher.queue, DatabaseBrokerPublisherQueue)
    assert isinstance(subscriber, QueuedBrokerSubscriber)
    assert isinstance(subscriber.queue, DatabaseBrokerSubscriberQueue)
    assert isinstance(subscriber.subscriber, FilteredBrokerSubscriber)
    assert isinstance(subscriber.subscriber.validator, DatabaseBrokerSubscriberDuplicateValidator)
    assert subscriber.subscriber.validator.name == "handled.shop"
    async with publisher, subscriber:
        await publisher.send(message(1))
        assert (await subscriber.receive()).content == 1


# Builders


async def test_publisher_is_built_behind_a_queue_set_by_hand() -> None:
    """S17."""
    builder = BrokerPublisherBuilder().with_queue(InMemoryBrokerPublisherQueue).with_config(in_memory())
    publisher = builder.with_queued_cls(OwnPublisher).with_kwargs({"instrumentation": NO_INSTRUMENTATION}).build()

    assert type(publisher) is OwnPublisher
    assert isinstance(publisher.queue, InMemoryBrokerPublisherQueue)
    assert type(publisher.publisher) is TransportBrokerPublisher
    async with publisher:
        await publisher.send(message(1))


async def test_class_for_a_queue_alone_makes_no_queue() -> None:
    """As the seed's example has it, which runs without a database."""
    builder = BrokerPublisherBuilder().with_config(in_memory()).with_queued_cls(QueuedBrokerPublisher)

    assert type(builder.build()) is TransportBrokerPublisher


async def test_subscriber_is_queued_outside_and_filtered_inside_on_the_same_topics() -> None:
    """C20."""
    subscriber = (
        BrokerSubscriberBuilder()
        .with_queue(InMemoryBrokerSubscriberQueue)
        .with_validator(Odd)
        .with_topics(["a", "b", "b"])
        .with_config(in_memory())
        .build()
    )

    assert type(subscriber) is QueuedBrokerSubscriber
    assert type(subscriber.subscriber) is FilteredBrokerSubscriber
    assert isinstance(subscriber.subscriber.validator, Odd)
    assert type(subscriber.subscriber.subscriber) is TransportBrokerSubscriber
    assert subscriber.topics == subscriber.queue.topics == subscriber.subscriber.topics == {"a", "b"}


async def test_what_is_set_by_hand_is_used() -> None:
    """S17."""
    config = in_memory()
    publisher = BrokerPublisherBuilder().with_config(config).build()
    subscriber = (
        BrokerSubscriberBuilder()
        .with_config(config)
        .with_topics(["orders.placed"])
        .with_validator(Odd)
        .with_queue(InMemoryBrokerSubscriberQueue)
        .build()
    )

    async with publisher, subscriber:
        for number in range(4):
            await publisher.send(message(number))
        assert [(await subscriber.receive()).content for _ in range(2)] == [1, 3]


STEPS: list[Callable[[BrokerSubscriberBuilder], BrokerSubscriberBuilder]] = [
    lambda builder: builder.with_config(in_memory(name="shop")),
    lambda builder: builder.with_topics(["a"]),
    lambda builder: builder.with_group_id("audit"),
    lambda builder: builder.with_validator(Odd),
    lambda builder: builder.with_filtered_cls(OwnFilter),
    lambda builder: builder.with_queue(BrokerSubscriberQueueBuilder(InMemoryBrokerSubscriberQueue)),
    lambda builder: builder.with_queued_cls(OwnSubscriber),
    lambda builder: builder.with_remove_topics_on_destroy(True),
    lambda builder: builder.with_transport(InMemoryTransport()),
]


@pytest.mark.parametrize("steps", [STEPS, STEPS[::-1], STEPS[4:] + STEPS[:4]], ids=["order", "reverse", "rotated"])
async def test_order_of_the_steps_does_not_matter_and_each_returns_its_builder(
    steps: list[Callable[[BrokerSubscriberBuilder], BrokerSubscriberBuilder]],
) -> None:
    builder = BrokerSubscriberBuilder()
    for step in steps:
        assert step(builder) is builder

    subscriber = builder.build()

    assert isinstance(subscriber, OwnSubscriber)
    assert isinstance(subscriber.subscriber, OwnFilter)
    inner = subscriber.subscriber.subscriber
    assert isinstance(inner, TransportBrokerSubscriber)
    assert (group(inner), inner._remove, inner._shared) == ("audit", True, True)
    assert subscriber.queue.name == "inbox.audit"


async def test_copy_keeps_everything_and_is_independent() -> None:
    original = BrokerSubscriberBuilder().with_queue(InMemoryBrokerSubscriberQueue)
    for step in (STEPS[0], STEPS[1], STEPS[3]):
        step(original)
    copied = original.copy()
    copied.with_topics(["b"]).with_validator(Picky).with_kwargs({"group_id": "other"})

    first, second = original.build(), original.copy().build()

    for subscriber in (first, second):
        assert isinstance(subscriber, QueuedBrokerSubscriber)
        assert subscriber.topics == {"a"}
        assert isinstance(subscriber.subscriber, FilteredBrokerSubscriber)
        assert isinstance(subscriber.subscriber.validator, Odd)
    with pytest.raises(ConfigError, match="Picky needs 'least'"):
        copied.build()


async def test_builder_builds_another_one_each_time() -> None:
    builder = BrokerSubscriberBuilder().with_config(in_memory()).with_topics(["a"]).with_validator(Odd)

    first, second = builder.build(), builder.build()

    assert isinstance(first, FilteredBrokerSubscriber)
    assert isinstance(second, FilteredBrokerSubscriber)
    assert first.validator is not second.validator


async def test_validator_may_be_an_instance_or_come_from_a_builder_of_ones_own() -> None:
    class PickyBuilder(Builder[BrokerSubscriberValidator]):
        def build(self) -> Picky:
            return Picky(**self._kwargs)

    picky = Picky(1)
    builder = BrokerSubscriberBuilder().with_config(in_memory()).with_topics(["a"])
    ready = builder.copy().with_validator(picky).build()
    built = builder.with_validator(PickyBuilder().with_kwargs({"least": 2})).build()

    assert isinstance(ready, FilteredBrokerSubscriber)
    assert ready.validator is picky
    assert isinstance(built, FilteredBrokerSubscriber)
    assert isinstance(built.validator, Picky)
    assert built.validator.least == 2


async def test_parts_are_given_to_the_constructor_as_well() -> None:
    outbox = BrokerPublisherQueueBuilder(InMemoryBrokerPublisherQueue).with_kwargs({"retry": 5})
    publisher = BrokerPublisherBuilder(queue_builder=outbox, queued_cls=OwnPublisher).with_config(in_memory()).build()
    inbox = BrokerSubscriberQueueBuilder(InMemoryBrokerSubscriberQueue)
    subscriber = BrokerSubscriberBuilder(queue_builder=inbox, queued_cls=OwnSubscriber, filtered_cls=OwnFilter)

    assert isinstance(publisher, OwnPublisher)
    assert publisher.queue.retry == 5
    assert isinstance(subscriber.with_config(in_memory()).with_topics(["a"]).build(), OwnSubscriber)


async def test_queue_with_other_topics_is_refused() -> None:
    """C19."""
    queue = BrokerSubscriberQueueBuilder(InMemoryBrokerSubscriberQueue).with_topics(["b"])

    with pytest.raises(ValueError, match="differ"):
        BrokerSubscriberBuilder().with_config(in_memory()).with_topics(["a"]).with_queue(queue).build()


async def test_transport_that_is_given_stays_its_givers() -> None:
    """Who builds two things on one transport destroys one of them without the other."""
    async with InMemoryTransport() as transport:
        async with BrokerPublisherBuilder().with_transport(transport).build() as publisher:
            await publisher.send(message(1))
        assert transport.is_ready()
        async with BrokerSubscriberBuilder().with_transport(transport).with_topics(["orders.*"]).build() as subscriber:
            assert (await subscriber.receive()).content == 1
        assert transport.is_ready()


async def test_configured_transport_belongs_to_what_is_built() -> None:
    publisher = BrokerPublisherBuilder().with_config(in_memory()).build()
    async with publisher:
        assert publisher.transport is not None
        assert publisher.transport.is_ready()
    assert not publisher.transport.is_ready()
