"""What whoever sends through a publisher may rely on."""

from __future__ import annotations

import pytest

from callboard import BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload, BrokerPublisher
from callboard.brokers.memory import InMemoryBrokerPublisher
from callboard.brokers.publisher import TransportBrokerPublisher
from callboard.brokers.transport import Topology
from callboard.brokers.wire import Frame
from callboard.errors import ClosedError, NoStreamError, TopicError
from tests.contract.conftest import Connect


def message(number: int, topic: str = "orders.placed") -> BrokerMessageV1:
    return BrokerMessageV1(topic, BrokerMessageV1Payload(number))


async def test_in_memory_publisher_lists_what_was_sent() -> None:
    """C09."""
    async with InMemoryBrokerPublisher() as publisher:
        sent = [message(1), message(2)]
        for one in sent:
            await publisher.send(one)
        assert publisher.messages == sent
        assert all(mine is theirs for mine, theirs in zip(publisher.messages, sent, strict=True))


async def test_implementation_gets_the_same_message_once() -> None:
    """C10."""
    got: list[BrokerMessage] = []

    class Keeping(BrokerPublisher):
        async def _send(self, message: BrokerMessage) -> None:
            got.append(message)

    one = message(1)
    await Keeping().send(one)
    assert len(got) == 1
    assert got[0] is one


async def test_publisher_sets_itself_up_and_stores_each_message_once(connect: Connect) -> None:
    async with connect() as other:
        await other.prepare(Topology([], ["orders.placed"]))
        publisher = TransportBrokerPublisher(connect())
        one = message(1)
        await publisher.send(one)
        await publisher.send(one)
        await publisher.send(message(2))
        await publisher.destroy()
        later = await other.publish(Frame("orders.placed", {}, b"3"))
        assert later.sequence == 3


async def test_closed_publisher_says_so(connect: Connect) -> None:
    publisher = TransportBrokerPublisher(connect())
    await publisher.setup()
    await publisher.destroy()
    with pytest.raises(ClosedError, match="is closed"):
        await publisher.send(message(1))


async def test_what_cannot_be_sent_is_refused_and_the_next_message_is_sent(connect: Connect) -> None:
    async with connect() as other, TransportBrokerPublisher(connect()) as publisher:
        await other.prepare(Topology([], ["orders.placed"]))
        with pytest.raises(TopicError):
            await publisher.send(message(1, "orders.*"))
        await publisher.send(message(1))


async def test_publisher_creates_the_stream_of_a_new_topic(connect: Connect) -> None:
    async with connect() as other, TransportBrokerPublisher(connect()) as publisher:
        with pytest.raises(NoStreamError):
            await other.publish(Frame("news.today", {}, b"0"))
        await publisher.send(message(1, "news.today"))
        assert (await other.publish(Frame("news.today", {}, b"2"))).sequence == 2
