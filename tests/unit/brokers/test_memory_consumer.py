"""The in-memory broker's deliveries: what the server does, on a clock that the test moves."""

from __future__ import annotations

import pytest

from callboard.brokers.memory import InMemoryBroker
from callboard.brokers.memory.consumer import InMemoryConsumer, InMemoryDelivery
from callboard.brokers.wire import MESSAGE_ID, Frame
from callboard.clock import VirtualClock
from callboard.errors import MessageTooLargeError, NoStreamError


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def broker(clock: VirtualClock) -> InMemoryBroker:
    broker = InMemoryBroker(clock=clock)
    broker.create_stream("orders.placed")
    return broker


def frame(number: int, topic: str = "orders.placed", message_id: str = "") -> Frame:
    return Frame(topic, {MESSAGE_ID: message_id} if message_id else {}, str(number).encode())


def pulled(consumer: InMemoryConsumer, count: int = 100) -> list[InMemoryDelivery]:
    """A pull, and what it brings now and later."""
    arrived: list[InMemoryDelivery] = []
    consumer.pull(arrived.append, count)
    return arrived


def bodies(deliveries: list[InMemoryDelivery]) -> list[int]:
    return [int(delivery.body) for delivery in deliveries]


async def test_pull_brings_what_is_stored_and_what_comes_later(broker: InMemoryBroker) -> None:
    broker.publish(frame(1))
    arrived = pulled(broker.consumer("orders.placed", "kitchen"), 2)
    broker.publish(frame(2))
    broker.publish(frame(3))
    assert bodies(arrived) == [1, 2]


async def test_consumer_selects_by_its_filter(broker: InMemoryBroker) -> None:
    arrived = pulled(broker.consumer("orders.*.state", "states"))
    for number, topic in enumerate(["orders.7.state", "orders.state", "orders.7.state.old"]):
        broker.publish(frame(number, topic))
    assert bodies(arrived) == [0]


async def test_new_consumer_may_begin_behind_the_last_message(broker: InMemoryBroker) -> None:
    broker.publish(frame(1))
    arrived = pulled(broker.consumer("orders.placed", "kitchen", from_start=False))
    broker.publish(frame(2))
    assert bodies(arrived) == [2]


async def test_consumers_of_one_name_share_the_messages(broker: InMemoryBroker) -> None:
    one = pulled(broker.consumer("orders.placed", "kitchen"), 1)
    two = pulled(broker.consumer("orders.placed", "kitchen"), 1)
    broker.publish(frame(1))
    broker.publish(frame(2))
    assert (bodies(one), bodies(two)) == ([1], [2])


async def test_acknowledged_message_never_comes_back(broker: InMemoryBroker, clock: VirtualClock) -> None:
    consumer = broker.consumer("orders.placed", "kitchen", ack_wait=10)
    arrived = pulled(consumer)
    broker.publish(frame(1))
    await arrived[0].ack()
    await clock.advance(100)
    assert len(arrived) == 1
    assert consumer.ack_pending == 0


async def test_message_comes_back_when_its_lease_ends(broker: InMemoryBroker, clock: VirtualClock) -> None:
    arrived = pulled(broker.consumer("orders.placed", "kitchen", ack_wait=10))
    broker.publish(frame(1))
    await clock.advance(9.9)
    assert len(arrived) == 1
    await clock.advance(0.2)
    assert [delivery.delivered for delivery in arrived] == [1, 2]


async def test_sign_of_life_renews_the_lease(broker: InMemoryBroker, clock: VirtualClock) -> None:
    arrived = pulled(broker.consumer("orders.placed", "kitchen", ack_wait=10))
    broker.publish(frame(1))
    for _ in range(5):
        await clock.advance(6)
        await arrived[0].in_progress()
    assert len(arrived) == 1


async def test_nak_brings_a_message_back_after_its_delay(broker: InMemoryBroker, clock: VirtualClock) -> None:
    arrived = pulled(broker.consumer("orders.placed", "kitchen"))
    broker.publish(frame(1))
    await arrived[0].nak(5)
    broker.publish(frame(2))
    assert bodies(arrived) == [1, 2]
    await clock.advance(5)
    assert bodies(arrived) == [1, 2, 1]


async def test_what_comes_back_is_delivered_before_what_is_new(broker: InMemoryBroker) -> None:
    consumer = broker.consumer("orders.placed", "kitchen")
    arrived = pulled(consumer, 1)
    for number in range(3):
        broker.publish(frame(number))
    await arrived[0].nak()
    assert bodies(pulled(consumer, 2)) == [0, 1]


async def test_only_the_first_settlement_of_a_delivery_counts(broker: InMemoryBroker) -> None:
    consumer = broker.consumer("orders.placed", "kitchen")
    arrived = pulled(consumer)
    broker.publish(frame(1))
    await arrived[0].ack()
    await arrived[0].nak()
    assert len(arrived) == 1


async def test_acknowledgement_of_an_earlier_delivery_settles_the_message(
    broker: InMemoryBroker, clock: VirtualClock
) -> None:
    consumer = broker.consumer("orders.placed", "kitchen", ack_wait=10)
    arrived = pulled(consumer)
    broker.publish(frame(1))
    await clock.advance(11)
    await arrived[0].ack()
    await clock.advance(100)
    assert len(arrived) == 2


async def test_message_that_waits_to_come_back_is_delivered_once(broker: InMemoryBroker, clock: VirtualClock) -> None:
    consumer = broker.consumer("orders.placed", "kitchen", ack_wait=10)
    arrived = pulled(consumer, 1)
    broker.publish(frame(1))
    await clock.advance(11)
    await arrived[0].nak()
    assert bodies(pulled(consumer, 5)) == [1]


async def test_message_is_given_up_after_its_last_delivery(broker: InMemoryBroker, clock: VirtualClock) -> None:
    consumer = broker.consumer("orders.placed", "kitchen", ack_wait=10, max_deliver=2)
    arrived = pulled(consumer)
    broker.publish(frame(1))
    await clock.advance(100)
    assert len(arrived) == 2
    assert consumer.given_up == [1]


async def test_no_more_than_the_allowed_number_is_outstanding(broker: InMemoryBroker) -> None:
    arrived = pulled(broker.consumer("orders.placed", "kitchen", max_ack_pending=1))
    for number in range(2):
        broker.publish(frame(number))
    assert bodies(arrived) == [0]
    await arrived[0].nak(60)
    assert bodies(arrived) == [0], "a delayed message keeps its place"


async def test_strict_consumer_keeps_the_order_across_a_nak(broker: InMemoryBroker) -> None:
    arrived = pulled(broker.consumer("orders.placed", "kitchen", max_ack_pending=1))
    for number in range(2):
        broker.publish(frame(number))
    await arrived[0].nak()
    await arrived[1].ack()
    assert bodies(arrived) == [0, 0, 1]


async def test_duplicate_is_stored_once_inside_the_window(broker: InMemoryBroker, clock: VirtualClock) -> None:
    first = broker.publish(frame(1, message_id="one"))
    await clock.advance(299)
    assert broker.publish(frame(1, message_id="one")).duplicate
    await clock.advance(2)
    later = broker.publish(frame(1, message_id="one"))
    assert (first.duplicate, later.duplicate, later.sequence) == (False, False, 2)


async def test_message_without_a_stream_or_too_large_is_refused(broker: InMemoryBroker) -> None:
    with pytest.raises(NoStreamError):
        broker.publish(frame(1, "users.created"))
    with pytest.raises(MessageTooLargeError):
        broker.publish(Frame("orders.placed", {}, b"x" * 1024 * 1024))
    assert list(broker.stored()) == []
