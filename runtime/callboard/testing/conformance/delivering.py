"""What the handler loop may rely on: deliveries and their settlement."""

# ruff: noqa: S101 - behaviours are tests

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.mailbox import Kind, MailboxSpec, Order, Start
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.topic import TopicTemplate
from callboard.brokers.transport import BrokerTransport, Topology
from callboard.brokers.wire import Frame
from callboard.errors import ClosedError, TopologyError
from callboard.testing.conformance.conformance import Conformance
from callboard.testing.conformance.system import PATIENCE, Connect, eventually
from callboard.testing.features import needs

__all__ = ["DeliveringConformance"]

TOPIC = "orders.placed"
MOMENT = 0.2
"""Seconds in which what must not come would have come."""


def mailbox(
    topic: str = TOPIC, actor: str = "Kitchen", *, start: Start = Start.FIRST, order: Order = Order.STREAM
) -> MailboxSpec:
    """An event handler's mailbox."""
    return MailboxSpec(Kind.EVENT, TopicTemplate.parse(topic), "shop", actor, start=start, order=order)


@asynccontextmanager
async def opened(transport: BrokerTransport, *specs: MailboxSpec, slots: int = 8) -> AsyncGenerator[BrokerSubscriber]:
    """Mailboxes that deliver, with so many slots."""
    await transport.prepare(Topology(specs, ()))
    subscriber = transport.subscriber(specs)
    subscriber.intake.concurrency = slots
    async with subscriber:
        yield subscriber


async def publish(transport: BrokerTransport, *bodies: bytes, topic: str = TOPIC) -> None:
    """One message for each body."""
    for body in bodies:
        await transport.publish(Frame(topic, {}, body))


async def take(subscriber: BrokerSubscriber) -> BrokerDelivery:
    """The next delivery; its slot stays taken."""
    async with asyncio.timeout(PATIENCE):
        return (await subscriber.intake.take())[1]


async def nothing_comes(subscriber: BrokerSubscriber) -> bool:
    """Whether nothing is delivered for a moment."""
    with suppress(TimeoutError):
        async with asyncio.timeout(MOMENT):
            await subscriber.intake.take()
            return False
    return True


class DeliveringConformance(Conformance):
    """Behaviours of a transport's mailboxes."""

    async def test_delivery_says_where_it_comes_from_and_how_often_it_came(self, connect: Connect) -> None:
        async with connect() as transport, opened(transport, mailbox()) as subscriber:
            await transport.publish(Frame(TOPIC, {"Note": "x"}, b"1"))
            receipt = await transport.publish(Frame(TOPIC, {}, b""))
            first, second = [await take(subscriber) for _ in range(2)]
            assert (first.topic, first.body, first.headers["Note"]) == (TOPIC, b"1", "x")
            assert (second.body, second.body_size, dict(second.headers)) == (b"", 0, {})
            assert (second.stream, second.sequence, second.delivered) == (receipt.stream, receipt.sequence, 1)
            assert second.sequence > first.sequence
            assert first.durable == second.durable == mailbox().durable

    async def test_settled_delivery_never_comes_again(self, connect: Connect) -> None:
        async with connect() as transport:
            async with opened(transport, mailbox()) as subscriber:
                await publish(transport, b"acked", b"given up")
                for _ in range(2):
                    delivery = await take(subscriber)
                    await (delivery.ack() if delivery.body == b"acked" else delivery.term("no use"))
                    await delivery.nak()
                    assert delivery.settled
            async with opened(transport, mailbox()) as subscriber:
                await publish(transport, b"new")
                assert (await take(subscriber)).body == b"new"

    async def test_delivery_that_is_not_acknowledged_comes_again_and_counts(self, connect: Connect) -> None:
        async with connect() as transport, opened(transport, mailbox()) as subscriber:
            await publish(transport, b"1")
            for count in (1, 2, 3):
                delivery = await take(subscriber)
                assert (delivery.body, delivery.delivered) == (b"1", count)
                await delivery.nak()
                await delivery.ack()

    @needs("delayed_redelivery")
    async def test_delayed_delivery_waits_and_others_do_not(self, connect: Connect) -> None:
        async with connect() as transport, opened(transport, mailbox()) as subscriber:
            await publish(transport, b"delayed")
            first = await take(subscriber)
            begun = transport.clock.time()
            await first.nak(3 * MOMENT)
            assert await nothing_comes(subscriber)
            await publish(transport, b"other")
            assert (await take(subscriber)).body == b"other"
            again = await take(subscriber)
            assert (again.body, again.delivered) == (b"delayed", 2)
            assert transport.clock.time() - begun >= 3 * MOMENT - 0.01

    async def test_no_more_is_delivered_than_there_are_slots(self, connect: Connect) -> None:
        async with connect() as transport, opened(transport, mailbox(), slots=2) as subscriber:
            await publish(transport, b"1", b"2", b"3")
            lane, first = await subscriber.intake.take()
            await take(subscriber)
            assert await nothing_comes(subscriber)
            await first.ack()
            subscriber.intake.release(lane, 1.0, 1)
            assert (await take(subscriber)).body == b"3"

    async def test_what_waits_when_a_subscriber_ends_is_delivered_elsewhere_at_once(self, connect: Connect) -> None:
        async with connect() as one, connect() as two:
            async with opened(one, mailbox(), slots=4) as subscriber:
                await publish(one, b"1", b"2", b"3")
                taken = await take(subscriber)
                await taken.ack()
                await subscriber.drain()
                await subscriber.drain()
                with pytest.raises(ClosedError):
                    await subscriber.intake.take()
            async with opened(two, mailbox()) as subscriber:
                bodies = {(await take(subscriber)).body for _ in range(2)}
            assert bodies == {b"1", b"2", b"3"} - {taken.body}

    @needs("durable")
    async def test_new_mailbox_begins_where_its_handler_says(self, connect: Connect) -> None:
        first, new = mailbox(actor="First"), mailbox(actor="New", start=Start.NEW)
        async with connect() as transport:
            await transport.prepare(Topology((), [TOPIC]))
            await publish(transport, b"old")
            async with opened(transport, first) as all_, opened(transport, new) as only_new:
                await publish(transport, b"new")
                assert (await take(only_new)).body == b"new"
                assert [(await take(all_)).body for _ in range(2)] == [b"old", b"new"]

    @needs("order")
    async def test_strict_mailbox_hands_out_one_message_in_the_whole_service(self, connect: Connect) -> None:
        spec = mailbox(order=Order.STRICT)
        async with connect() as one, connect() as two:
            async with opened(one, spec) as here, opened(two, spec) as there:
                await publish(one, b"1", b"2")
                taking = {asyncio.create_task(take(each)) for each in (here, there)}
                [first], [waiting] = await asyncio.wait(taking, return_when=asyncio.FIRST_COMPLETED)
                assert (await first).body == b"1"
                await asyncio.wait({waiting}, timeout=MOMENT)
                assert not waiting.done()
                await (await first).ack()
                waiting.cancel()
                await asyncio.wait({waiting})
            async with opened(one, spec) as here:
                assert (await take(here)).body == b"2"

    async def test_repeated_preparation_changes_nothing(self, connect: Connect) -> None:
        async with connect() as one, connect() as two:
            topology = Topology([mailbox(), mailbox("orders.paid")], ["orders.sent"])
            await one.prepare(topology)
            await publish(one, b"1")
            await two.prepare(topology)
            await one.prepare(topology)
            async with opened(two, mailbox()) as subscriber:
                delivery = await take(subscriber)
                assert (delivery.body, delivery.delivered) == (b"1", 1)

    @needs("removal")
    async def test_removed_mailbox_is_gone_and_begins_anew(self, connect: Connect) -> None:
        async with connect() as transport:
            async with opened(transport, mailbox()) as subscriber:
                await publish(transport, b"1")
                await (await take(subscriber)).ack()
            await transport.remove([mailbox()])
            await transport.remove([mailbox(), mailbox("never.heard.of")])
            async with opened(transport, mailbox()) as subscriber:
                assert (await take(subscriber)).body == b"1"

    @needs("removal")
    async def test_who_uses_a_removed_mailbox_is_told(self, connect: Connect) -> None:
        told: list[BaseException] = []
        async with connect() as one, connect() as two, opened(one, mailbox()) as subscriber:
            subscriber.on_crash = told.append
            await two.remove([mailbox()])
            await eventually(lambda: bool(told))
        assert isinstance(told[0], TopologyError)
        assert mailbox().durable in str(told[0])

    @needs("private_replies")
    async def test_inbox_is_heard_by_its_owner_alone(self, connect: Connect) -> None:
        async with connect() as one, connect() as two:
            mine, other = one.reply_box(), one.reply_box()
            assert one.is_inbox(mine.topic)
            assert two.is_inbox(mine.topic)
            assert not one.is_inbox(TOPIC)
            await two.send(Frame(mine.topic, {"Note": "x"}, b"1"))
            await two.send(Frame(other.topic, {}, b"2"))
            async with asyncio.timeout(PATIENCE):
                first, second = await mine.get(), await other.get()
            assert (first.headers["Note"], first.body, second.body) == ("x", b"1", b"2")
            other.close()
            await two.send(Frame(other.topic, {}, b"late"))
            await two.send(Frame(mine.topic, {}, b"3"))
            async with asyncio.timeout(PATIENCE):
                assert (await mine.get()).body == b"3"
            mine.close()

    async def test_closed_transport_says_so(self, connect: Connect) -> None:
        transport = connect()
        await transport.setup()
        await transport.setup()
        assert transport.is_ready()
        await transport.destroy()
        await transport.destroy()
        with pytest.raises(ClosedError):
            await transport.setup()
