"""What the handler loop counts of each mailbox."""

from __future__ import annotations

import asyncio

from callboard import BrokerMessageV1, BrokerMessageV1Payload, BrokerResponseException, command
from callboard.brokers import wire
from callboard.brokers.duplicate import InMemoryBrokerSubscriberDuplicateValidator
from callboard.brokers.filtered import FilteredBrokerSubscriber
from callboard.brokers.memory import InMemoryBroker, InMemoryBrokerSubscriber
from callboard.instrumentation import Instrumentation
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.handler import BrokerHandler
from callboard.statistics import MailboxStatistics
from tests.jetstream.eventually import eventually
from tests.unit.routing.bench import INBOX, Bench, declared, durable_of
from tests.unit.routing.loopback import LoopbackTransport


def counted(instrumentation: Instrumentation) -> MailboxStatistics:
    """The numbers of the only mailbox."""
    [mailbox] = instrumentation.statistics.mailboxes.values()
    return mailbox


async def test_handled_message_counts_without_an_error_type(transport: LoopbackTransport) -> None:
    instrumentation = Instrumentation()

    @command("orders.{shop}.place")
    async def handle(shop: str) -> None: ...

    async with Bench(transport, handle, instrumentation=instrumentation):
        await transport.put("orders.north.place").ended()
        await eventually(lambda: bool(instrumentation.statistics.mailboxes))

    mailbox = counted(instrumentation)
    assert (mailbox.durable, mailbox.actor, mailbox.topic) == (durable_of(handle), "Bench", "orders.{shop}.place")
    assert mailbox.consumed == {"": 1}
    assert mailbox.redelivered == 0
    assert mailbox.seconds > 0


async def test_refusal_is_no_error(transport: LoopbackTransport) -> None:
    instrumentation = Instrumentation()

    @command("orders.place")
    async def handle() -> None:
        raise BrokerResponseException("sold out", status=409)

    async with Bench(transport, handle, instrumentation=instrumentation):
        await transport.put("orders.place").ended()
        await eventually(lambda: bool(instrumentation.statistics.mailboxes))

    assert counted(instrumentation).consumed == {"": 1}


async def test_each_failed_attempt_counts_by_its_error_and_the_dead_letter_once(transport: LoopbackTransport) -> None:
    instrumentation = Instrumentation()

    @command("orders.place", retry=(0, 0))
    async def handle() -> None:
        raise ValueError("no such carrier")

    async with Bench(transport, handle, instrumentation=instrumentation):
        await transport.put("orders.place", reply_topic=INBOX).ended()
        await eventually(lambda: counted(instrumentation).consumed.total() == 3)

    mailbox = counted(instrumentation)
    assert mailbox.consumed == {"ValueError": 3}
    assert mailbox.redelivered == 2
    assert mailbox.dead_letters == {"ValueError": 1}
    assert {operation: number for (operation, _, _), number in instrumentation.statistics.sent.items()} == {
        "dead_letter": 1,
        "reply": 1,
    }


async def test_what_a_stop_hands_back_does_not_count(transport: LoopbackTransport) -> None:
    instrumentation = Instrumentation()
    begun = asyncio.Event()

    @command("orders.place")
    async def handle() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with Bench(transport, handle, instrumentation=instrumentation):
        transport.put("orders.place")
        await begun.wait()

    assert transport.journal == ["nak 1"]
    assert not instrumentation.statistics.mailboxes


async def test_failure_after_its_lease_counts_as_a_lost_lease(transport: LoopbackTransport) -> None:
    instrumentation = Instrumentation()
    bench: Bench

    @command("orders.place")
    async def handle() -> None:
        for lane in bench.subscriber.intake.lanes:
            lane.lease = -1.0
        raise ValueError("too late")

    bench = Bench(transport, handle, instrumentation=instrumentation)
    async with bench:
        transport.put("orders.place")
        await eventually(lambda: bool(instrumentation.statistics.mailboxes))

    assert counted(instrumentation).leases_lost == 1
    assert "term 1" not in transport.journal


async def test_copy_of_a_handled_message_counts_as_a_duplicate() -> None:
    instrumentation = Instrumentation()
    broker = InMemoryBroker()
    frame = wire.encode(BrokerMessageV1("orders.place", BrokerMessageV1Payload(1)))
    copy = wire.Frame(frame.topic, {**frame.headers, wire.MESSAGE_ID: "sent again much later"}, frame.body)

    @command("orders.place")
    async def handle() -> None: ...

    inner = InMemoryBrokerSubscriber(["orders.place"], broker, group_id="shop")
    subscriber = FilteredBrokerSubscriber(inner, InMemoryBrokerSubscriberDuplicateValidator())
    handler = BrokerHandler(BrokerDispatcher(declared(handle)), subscriber, instrumentation=instrumentation)
    async with handler:
        broker.publish(frame)
        broker.publish(copy)
        await eventually(lambda: bool(instrumentation.statistics.mailboxes))
        await eventually(lambda: counted(instrumentation).consumed.total() == 2)

    assert counted(instrumentation).duplicates == 1
