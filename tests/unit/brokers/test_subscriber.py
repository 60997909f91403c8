"""Receiving message by message."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from callboard.brokers.mailbox import Kind, MailboxSpec
from callboard.brokers.memory import InMemoryBroker, InMemoryTransport
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.topic import TopicTemplate
from callboard.brokers.transport import Topology
from callboard.brokers.wire import Frame
from callboard.clock import VirtualClock
from callboard.errors import ClosedError


async def subscribed(broker: InMemoryBroker) -> BrokerSubscriber:
    spec = MailboxSpec(Kind.EVENT, TopicTemplate.parse("orders.*"), "shop", "kitchen")
    transport = InMemoryTransport(broker)
    await transport.prepare(Topology([spec], []))
    return transport.subscriber([spec])


async def test_iteration_brings_messages_in_order_and_stops_after_destroy() -> None:
    """C15."""
    broker = InMemoryBroker()
    async with await subscribed(broker) as subscriber:
        for number in range(3):
            broker.publish(Frame("orders.placed", {}, str(number).encode()))
        seen: list[int] = []
        async for message in subscriber:
            seen.append(message.content)
            if len(seen) == 3:
                break
    assert seen == [0, 1, 2]
    assert [message async for message in subscriber] == []


async def test_receive_waits_and_loses_nothing_when_it_is_cancelled() -> None:
    """C16."""
    broker = InMemoryBroker()
    async with await subscribed(broker) as subscriber:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(subscriber.receive(), 0.01)
        broker.publish(Frame("orders.placed", {}, b"1"))
        assert (await subscriber.receive()).content == 1


async def test_who_waits_hears_of_the_end() -> None:
    broker = InMemoryBroker()
    subscriber = await subscribed(broker)
    waiting = asyncio.create_task(subscriber.receive())
    await asyncio.sleep(0)
    await subscriber.destroy()
    with pytest.raises(ClosedError):
        await waiting


async def test_message_is_acknowledged_when_the_next_one_is_asked_for() -> None:
    broker = InMemoryBroker()
    async with await subscribed(broker) as subscriber:
        for number in range(2):
            broker.publish(Frame("orders.placed", {}, str(number).encode()))
        (consumer,) = broker.consumers("orders.placed")
        await subscriber.receive()
        assert consumer.ack_pending == 1
        await subscriber.receive()
        assert consumer.ack_pending == 1
    assert consumer.ack_pending == 0


async def test_received_message_keeps_its_lease_however_long_its_receiver_takes() -> None:
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    subscriber = await subscribed(broker)
    async with subscriber, subscriber.transport:
        broker.publish(Frame("orders.placed", {}, b"1"))
        await subscriber.receive()
        await clock.advance(300)
        (consumer,) = broker.consumers("orders.placed")
        assert consumer.ack_pending == 1
    assert consumer.ack_pending == 0
    assert subscriber.intake.lanes[0].waiting == deque()
