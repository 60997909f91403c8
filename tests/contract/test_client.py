"""What whoever sends and receives through a client may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from callboard import (
    Actor,
    BrokerMessageV1,
    BrokerMessageV1Payload,
    BrokerMessageV1Strategy,
    RequestTimeoutError,
    Supervisor,
    command,
    query,
)
from callboard.brokers.inbox import InboxBrokerSubscriber
from callboard.brokers.mailbox import group_mailboxes
from callboard.brokers.memory import InMemoryBroker, InMemoryBrokerPublisher, InMemoryBrokerSubscriber
from callboard.brokers.publisher import BrokerPublisher, TransportBrokerPublisher
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.subscription import TransportBrokerSubscriber
from callboard.client.client import BrokerClient
from callboard.errors import NoHandlerError, NotEnoughMessagesError, NotProvidedError
from callboard.system import System
from tests.contract.conftest import Connect


def message(topic: str, content: object, **options: object) -> BrokerMessageV1:
    return BrokerMessageV1(topic, BrokerMessageV1Payload(content), **options)  # type: ignore[arg-type]


def client_on(connect: Connect, topic: str | None = None) -> BrokerClient:
    transport = connect()
    publisher = TransportBrokerPublisher(transport)
    if topic is None:
        inbox = InboxBrokerSubscriber(transport, shared=True)
        return BrokerClient(next(iter(inbox.topics)), publisher, inbox)
    subscriber = TransportBrokerSubscriber(transport, group_mailboxes([topic], f"client-{topic}"), shared=True)
    return BrokerClient(topic, publisher, subscriber)


class Desk(Actor):
    concurrency = 2
    held: asyncio.Event

    def __init__(self) -> None:
        self.held = asyncio.Event()

    @command("orders.place")
    async def place(self, order: int) -> int:
        return order * 2

    @query("orders.hold")
    async def hold(self, word: str) -> str:
        if word == "first":
            await self.held.wait()
        else:
            self.held.set()
        return word

    @query("orders.never")
    async def never(self) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def desk(connect: Connect) -> AsyncGenerator[System]:
    async with System(Supervisor([Desk]), name="shop", transport=connect(), grace=0.05) as system:
        yield system


async def test_reply_topic_of_a_sent_message_is_the_client_s_unless_it_names_one() -> None:
    """C23."""
    broker = InMemoryBroker()
    publisher = InMemoryBrokerPublisher(broker)
    async with BrokerClient("answers.mine", publisher, InMemoryBrokerSubscriber(["answers.mine"], broker)) as client:
        plain = message("orders.place", 1)
        explicit = message("orders.place", 1, reply_topic="answers.others")
        await client.send(plain)
        await client.send(explicit)
        await client.publish(plain)
    sent = publisher.messages
    assert [one.reply_topic for one in sent] == ["answers.mine", "answers.others", None]
    assert [one.identifier for one in sent] == [plain.identifier, explicit.identifier, plain.identifier]
    assert plain.reply_topic is None


async def test_client_without_a_topic_gets_its_replies_in_an_inbox(connect: Connect) -> None:
    async with desk(connect), client_on(connect) as client:
        asked = message("orders.place", 21, strategy=BrokerMessageV1Strategy.UNICAST)
        await client.send(asked)
        reply = await client.receive(timeout=10)
        assert (reply.content, reply.identifier, reply.status) == (42, asked.identifier, 200)


async def test_client_on_a_named_topic_receives_what_was_sent_before_it_subscribed(connect: Connect) -> None:
    async with client_on(connect, "answers.early") as sender:
        await sender.publish(message("answers.late", "first"))
        await sender.publish(message("answers.late", "second"))
    async with client_on(connect, "answers.late") as client:
        assert (await client.receive(timeout=10)).content == "first"
    async with client_on(connect, "answers.late") as again:
        assert (await again.receive(timeout=10)).content == "second"


async def test_many_messages_come_in_order_as_they_arrive(connect: Connect) -> None:
    """C24."""
    async with client_on(connect, "numbers.drawn") as client:
        for number in (1, 2):
            await client.publish(message("numbers.drawn", number))
        assert (await client.receive(timeout=10)).content == 1

        async def later() -> None:
            for number in (3, 4, 5):
                await client.publish(message("numbers.drawn", number))

        async with asyncio.TaskGroup() as group:
            group.create_task(later())
            numbers = [one.content async for one in client.receive_many(count=4, timeout=10)]
        assert numbers == [2, 3, 4, 5]


async def test_too_few_messages_in_time_are_named_and_kept(connect: Connect) -> None:
    """C25, S09."""
    async with client_on(connect, "numbers.drawn") as client:
        for number in (1, 2):
            await client.publish(message("numbers.drawn", number))
        seen: list[object] = []

        async def note_all() -> None:
            async for one in client.receive_many(count=3, timeout=0.5):
                seen.append(one.content)  # noqa: PERF401 - those that came in time count

        with pytest.raises(NotEnoughMessagesError, match=r"2 of 3 messages arrived on 'numbers.drawn'") as raised:
            await note_all()
        assert seen == [1, 2]
        assert [one.content for one in raised.value.messages] == [1, 2]  # type: ignore[attr-defined]
        assert (raised.value.count, raised.value.topic) == (3, "numbers.drawn")
        await client.publish(message("numbers.drawn", 3))
        assert (await client.receive(timeout=10)).content == 3


async def test_requests_get_their_own_answers_in_whatever_order(connect: Connect) -> None:
    """S08."""
    async with desk(connect), client_on(connect) as client:
        first = asyncio.create_task(client.request(message("orders.hold", "first"), timeout=10))
        assert await client.request(message("orders.hold", "second"), returns=str, timeout=10) == "second"
        assert await first == "first"


async def test_late_reply_reaches_nobody_else(connect: Connect) -> None:
    """S08."""
    async with desk(connect) as system, client_on(connect) as client:
        with pytest.raises(RequestTimeoutError):
            await client.request(message("orders.hold", "first"), timeout=0.3)
        await system.board.request("orders.hold", "second")
        assert await client.request(message("orders.place", 4), timeout=10) == 8
        with pytest.raises(NotEnoughMessagesError):
            await client.receive(timeout=0.1)


async def test_same_message_asked_twice_is_two_requests(connect: Connect) -> None:
    async with desk(connect), client_on(connect) as client:
        asked = message("orders.place", 3)
        assert await client.request(asked, timeout=10) == 6
        assert await client.request(asked, timeout=10) == 6


async def test_request_that_nobody_handles_is_refused_here(connect: Connect) -> None:
    async with desk(connect), client_on(connect) as client:
        with pytest.raises(NoHandlerError):
            await client.request(message("orders.cancel", 1))


@pytest.mark.parametrize("missing", ["publisher", "subscriber"])
def test_client_without_a_part_is_refused(missing: str) -> None:
    """C26."""
    broker = InMemoryBroker()
    publisher: BrokerPublisher | None = None if missing == "publisher" else InMemoryBrokerPublisher(broker)
    subscriber: BrokerSubscriber | None = (
        None if missing == "subscriber" else InMemoryBrokerSubscriber(["orders"], broker)
    )
    with pytest.raises(NotProvidedError, match=missing):
        BrokerClient("orders", publisher, subscriber)  # type: ignore[arg-type]
