"""What whoever sends through a publisher may rely on; the conformance suite has what holds on every transport."""

from __future__ import annotations

from callboard import BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload, BrokerPublisher
from callboard.brokers.memory import InMemoryBrokerPublisher


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
