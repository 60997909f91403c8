"""What whoever sends may rely on."""

# ruff: noqa: S101 - behaviours are tests

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from attrs import frozen

from callboard.brokers.publisher import BrokerPublisher
from callboard.brokers.transport import Topology
from callboard.brokers.wire import Frame
from callboard.errors import (
    ClosedError,
    ContentEncodeError,
    HeaderError,
    NoStreamError,
    SubstrateError,
    TopicError,
)
from callboard.message import BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload, BrokerMessageV1Strategy
from callboard.testing.conformance.conformance import Conformance
from callboard.testing.conformance.step import TOPIC, contents, message, receive, send
from callboard.testing.conformance.system import STEP, Messaging
from callboard.testing.features import needs

__all__ = ["SendingConformance"]


@frozen
class _Ticket:
    seat: str
    price: Decimal
    bought: datetime
    valid: timedelta
    owner: UUID
    tags: frozenset[str]
    picture: bytes


class SendingConformance(Conformance):
    """Behaviours of a `BrokerPublisher`."""

    async def test_publisher_sets_itself_up_at_its_first_message(self, messaging: Messaging) -> None:
        """C13. Sent before any setup, and delivered."""
        publisher = messaging.publisher()
        await publisher.send(message(1))
        await publisher.send(message(2))
        await publisher.destroy()
        async with messaging.subscriber([TOPIC]) as subscriber:
            assert sorted(await contents(subscriber, 2)) == [1, 2]

    async def test_setup_and_destroy_happen_once_however_often_they_are_called(self, messaging: Messaging) -> None:
        """C12."""
        publisher = messaging.publisher()
        await asyncio.gather(publisher.setup(), publisher.setup())
        await publisher.setup()
        assert publisher.is_ready()
        await asyncio.gather(publisher.destroy(), publisher.destroy())
        await publisher.destroy()
        assert not publisher.is_ready()

    async def test_closed_publisher_says_so(self, messaging: Messaging) -> None:
        publisher = messaging.publisher()
        await publisher.setup()
        await publisher.destroy()
        with pytest.raises(ClosedError, match="is closed"):
            await publisher.send(message(1))

    @needs("order")
    async def test_awaited_messages_of_one_publisher_arrive_in_the_order_in_which_they_were_sent(
        self, messaging: Messaging
    ) -> None:
        """C11."""
        await send(messaging, *(message(number) for number in range(20)))
        async with messaging.subscriber([TOPIC]) as subscriber:
            assert await contents(subscriber, 20) == list(range(20))

    async def test_messages_of_several_publishers_at_once_all_arrive(self, messaging: Messaging) -> None:
        async with messaging.publisher() as one, messaging.publisher() as two:
            await asyncio.gather(*((one, two)[number % 2].send(message(number)) for number in range(40)))
        async with messaging.subscriber([TOPIC]) as subscriber:
            assert sorted(await contents(subscriber, 40)) == list(range(40))

    @needs("duplicate_window")
    async def test_one_identifier_is_received_once_on_each_topic(self, messaging: Messaging) -> None:
        """C17."""
        identifier = uuid4()
        twice = message("first", identifier=identifier)
        elsewhere = message("elsewhere", "orders.paid", identifier=identifier)
        await send(messaging, twice, twice, message("copy", identifier=identifier), elsewhere, message("last"))
        async with messaging.subscriber(["orders.*"]) as subscriber:
            assert sorted(await contents(subscriber, 3)) == ["elsewhere", "first", "last"]

    async def test_everything_that_a_message_carries_arrives(self, messaging: Messaging) -> None:
        """C05."""
        sent = BrokerMessageV1(
            TOPIC,
            BrokerMessageV1Payload({"item": "tea", "count": 2}, {"tenant": "a", "Note": "b: c"}),
            strategy=BrokerMessageV1Strategy.MULTICAST,
            reply_topic="orders.answered",
        )
        await send(messaging, sent)
        async with messaging.subscriber([TOPIC]) as subscriber:
            assert await receive(subscriber, 1) == [sent]

    async def test_content_keeps_its_types(self, messaging: Messaging) -> None:
        """C05."""
        begin = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
        ticket = _Ticket(
            "11A", Decimal("19.90"), begin, timedelta(days=1, seconds=3), uuid4(), frozenset({"x"}), b"\xff\x00"
        )
        await send(messaging, message(ticket))
        async with messaging.subscriber([TOPIC]) as subscriber:
            [received] = await receive(subscriber, 1)
            assert received.content_as(_Ticket) == ticket

    async def test_status_survives_whatever_its_number(self, messaging: Messaging) -> None:
        """S12."""
        statuses = (200, 201, 400, 404, 500, 600, 799)
        await send(messaging, *(message(None, status=status) for status in statuses))
        async with messaging.subscriber([TOPIC]) as subscriber:
            received = await receive(subscriber, len(statuses))
        assert sorted(int(each.status) for each in received) == sorted(statuses)
        assert {int(each.status) for each in received if each.ok} == {200, 201}

    @pytest.mark.parametrize(
        ("unfit", "error"),
        [
            (message(1, "orders.*"), TopicError),
            (message(1, headers={"Nats-Msg-Id": "x"}), HeaderError),
            (message(1, headers={"note": "two\nlines"}), HeaderError),
            (message(object()), ContentEncodeError),
        ],
        ids=["topic", "system header", "header value", "content"],
    )
    async def test_what_cannot_be_sent_is_refused_and_the_next_message_is_sent(
        self, messaging: Messaging, unfit: BrokerMessage, error: type[Exception]
    ) -> None:
        async with messaging.publisher() as publisher:
            await publisher.send(message("before"))
            with pytest.raises(error):
                await publisher.send(unfit)
            await publisher.send(message("after"))
        async with messaging.subscriber([TOPIC]) as subscriber:
            assert sorted(await contents(subscriber, 2)) == ["after", "before"]

    @needs("declared_topics")
    async def test_publisher_makes_a_topic_that_does_not_exist(self, messaging: Messaging) -> None:
        async with messaging.transport() as stranger:
            with pytest.raises(NoStreamError):
                await stranger.publish(Frame("news.today", {}, b"0"))
            await send(messaging, message(1, "news.today"))
            async with messaging.subscriber(["news.today"]) as subscriber:
                assert await contents(subscriber, 1) == [1]
                await stranger.publish(Frame("news.today", {}, b"2"))
                assert await contents(subscriber, 1) == [2]

    async def test_publisher_uses_a_topic_that_exists_as_it_is(self, messaging: Messaging) -> None:
        async with messaging.transport() as transport:
            await transport.prepare(Topology((), ["orders.>"]))
            await transport.publish(Frame("orders.paid", {}, b"1"))
        await send(messaging, message(2, "orders.paid"))
        async with messaging.subscriber(["orders.paid"]) as subscriber:
            assert sorted(await contents(subscriber, 2)) == [1, 2]

    async def test_what_an_outage_delayed_is_delivered_and_what_was_sent_later_too(self, messaging: Messaging) -> None:
        """S01. In the order in which it was sent, without setting anything up again."""
        async with messaging.publisher() as publisher:
            await publisher.send(message(0))
            if (outage := messaging.outage()) is None:
                pytest.skip("nobody can interrupt this message system")
            async with outage:
                first = asyncio.create_task(_insist(publisher, message(1)))
                await asyncio.wait({first}, timeout=10 * STEP)
                assert not first.done()
            await first
            await publisher.send(message(2))
        async with messaging.subscriber([TOPIC]) as subscriber:
            received = await contents(subscriber, 3)
        assert received == [0, 1, 2] if self.features.order else sorted(received) == [0, 1, 2]

    async def test_publisher_whose_first_message_meets_an_outage_works_after_it(self, messaging: Messaging) -> None:
        """S01."""
        if (outage := messaging.outage()) is None:
            pytest.skip("nobody can interrupt this message system")
        async with messaging.publisher() as before:
            await before.send(message(0))
        publisher = messaging.publisher()
        async with outage:
            first = asyncio.create_task(_insist(publisher, message(1)))
            await asyncio.wait({first}, timeout=10 * STEP)
            assert not first.done()
        await first
        await publisher.destroy()
        async with messaging.subscriber([TOPIC]) as subscriber:
            assert sorted(await contents(subscriber, 2)) == [0, 1]


async def _insist(publisher: BrokerPublisher, unsent: BrokerMessage) -> None:
    """Send until it is sent: the same message, so that it is stored once."""
    while True:
        try:
            await publisher.send(unsent)
        except SubstrateError:
            await asyncio.sleep(STEP)
        else:
            return
