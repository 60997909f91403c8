"""What the behaviours of publishers, subscribers and handlers are made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from callboard.brokers import wire
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import Topology
from callboard.message import BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload
from callboard.routing.decorator import marks_of
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.handler import BrokerHandler
from callboard.testing.conformance.system import PATIENCE, Messaging

__all__ = [
    "ANSWERS",
    "PLACE",
    "TOPIC",
    "answers",
    "buried",
    "contents",
    "handling",
    "message",
    "put",
    "receive",
    "send",
    "take",
]

TOPIC = "orders.placed"
PLACE = "orders.place"
"""What handlers listen on."""
ANSWERS = "answers.shop"
"""Where answers go."""
GRACE = 5.0


def message(
    content: Any,
    topic: str = TOPIC,
    *,
    headers: Mapping[str, str] | None = None,
    status: int | None = None,
    reply_topic: str | None = None,
    identifier: UUID | None = None,
) -> BrokerMessageV1:
    """A message with a fresh identifier, unless it is given one."""
    payload = BrokerMessageV1Payload(content, headers, status)
    return BrokerMessageV1(topic, payload, reply_topic=reply_topic, identifier=identifier)


async def send(messaging: Messaging, *messages: BrokerMessage) -> None:
    """Send, one after the other, through a publisher that exists for no longer."""
    async with messaging.publisher() as publisher:
        for each in messages:
            await publisher.send(each)


async def put(messaging: Messaging, topic: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    """Store a message as some other program may write it."""
    async with messaging.transport() as transport:
        await transport.prepare(Topology((), [topic]))
        await transport.publish(wire.Frame(topic, dict(headers or {}), body))


async def receive(subscriber: BrokerSubscriber, count: int) -> list[BrokerMessage]:
    """The next so many messages; `TimeoutError` when they do not come."""
    async with asyncio.timeout(PATIENCE):
        return [await subscriber.receive() for _ in range(count)]


async def contents(subscriber: BrokerSubscriber, count: int) -> list[Any]:
    """The contents of the next so many messages."""
    return [each.content for each in await receive(subscriber, count)]


async def take(subscriber: BrokerSubscriber) -> BrokerDelivery:
    """The next delivery, with all its headers, acknowledged."""
    await subscriber.setup()
    async with asyncio.timeout(PATIENCE):
        lane, delivery = await subscriber.intake.take()
    await delivery.ack()
    subscriber.intake.release(lane, 1.0, delivery.body_size)
    return delivery


@asynccontextmanager
async def handling(
    subscriber: BrokerSubscriber, *functions: Callable[..., Any], concurrency: int = 1, grace: float = GRACE
) -> AsyncGenerator[BrokerHandler]:
    """A handler loop that runs decorated functions on what a subscriber delivers; it is stopped at the end."""
    actions = {mark: function for function in functions for mark in marks_of(function)}
    handler = BrokerHandler(BrokerDispatcher(actions), subscriber, concurrency)
    try:
        await handler.start()
        yield handler
    finally:
        await handler.stop(grace)


def answers(messaging: Messaging) -> BrokerSubscriber:
    """Who listens on the topic that answers go to."""
    return messaging.subscriber([ANSWERS], "callers")


async def buried(messaging: Messaging, count: int) -> bool:
    """Whether there are so many dead letters."""
    return len(await messaging.dead_letters()) >= count
