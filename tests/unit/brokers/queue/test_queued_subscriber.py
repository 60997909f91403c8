"""Queued subscribing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from callboard import BrokerResponseException, command
from callboard.brokers import wire
from callboard.brokers.memory import InMemoryBroker, InMemoryBrokerSubscriber
from callboard.brokers.memory.consumer import InMemoryConsumer
from callboard.brokers.queue import (
    InMemoryBrokerSubscriberQueue,
    InMemoryQueueStore,
    QueuedBrokerSubscriber,
)
from callboard.brokers.queue.subscriber import BrokerSubscriberQueue
from callboard.brokers.wire import Frame
from callboard.clock import VirtualClock
from callboard.errors import ClosedError, TopologyError
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.handler import BrokerHandler
from tests.jetstream.eventually import eventually
from tests.unit.brokers.queue.fault import AWAY, FaultyInbox, message
from tests.unit.routing.bench import declared

TOPIC = "orders.placed"


def publish(broker: InMemoryBroker, *contents: object) -> None:
    broker.create_stream(TOPIC)
    for content in contents:
        broker.publish(wire.encode(message(content)))


def queued(broker: InMemoryBroker, queue: BrokerSubscriberQueue | None = None) -> QueuedBrokerSubscriber:
    return QueuedBrokerSubscriber(
        InMemoryBrokerSubscriber([TOPIC], broker), queue or InMemoryBrokerSubscriberQueue([TOPIC])
    )


def consumer_of(broker: InMemoryBroker) -> InMemoryConsumer:
    (consumer,) = broker.consumers(TOPIC)
    return consumer


@asynccontextmanager
async def handling(
    subscriber: QueuedBrokerSubscriber, function: Callable[..., Any], concurrency: int = 1, *, grace: float = 1.0
) -> AsyncGenerator[BrokerHandler]:
    handler = BrokerHandler(BrokerDispatcher(declared(function)), subscriber, concurrency)
    await handler.start()
    try:
        yield handler
    finally:
        await handler.stop(grace)


def test_topics_of_subscriber_and_queue_are_the_same() -> None:
    """C19."""
    subscriber = InMemoryBrokerSubscriber(["orders.placed", "orders.paid"])
    with pytest.raises(
        ValueError, match=r"\['orders.paid', 'orders.placed'\] and the queue's \['orders.paid'\] differ"
    ):
        QueuedBrokerSubscriber(subscriber, InMemoryBrokerSubscriberQueue(["orders.paid"]))


async def test_messages_are_received_in_order_and_leave_the_queue_when_acknowledged() -> None:
    """C15."""
    broker = InMemoryBroker()
    publish(broker, *range(10))
    async with queued(broker) as subscriber:
        assert [(await subscriber.receive()).content for _ in range(10)] == list(range(10))
        await eventually(lambda: consumer_of(broker).ack_pending == 0)
        assert await subscriber.queue.count() == 1
    assert await subscriber.queue.count() == 0
    assert [message async for message in subscriber] == []


async def test_receive_waits_and_loses_nothing_when_it_is_cancelled() -> None:
    """C16."""
    broker = InMemoryBroker()
    async with queued(broker) as subscriber:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(subscriber.receive(), 0.01)
        publish(broker, 1)
        assert (await subscriber.receive()).content == 1


async def test_transport_is_acknowledged_only_after_the_put() -> None:
    """S03."""
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    publish(broker, 1)
    may_store = asyncio.Event()
    began = asyncio.Event()

    class Slow(InMemoryBrokerSubscriberQueue):
        async def put(self, frame: Frame, **options: Any) -> None:
            began.set()
            await may_store.wait()
            await super().put(frame, **options)

    async with queued(broker, Slow([TOPIC], clock=clock)) as subscriber:
        await began.wait()
        await clock.advance(300)
        assert consumer_of(broker).ack_pending == 1
        may_store.set()
        assert (await subscriber.receive()).content == 1
        await eventually(lambda: consumer_of(broker).ack_pending == 0)
        assert (await subscriber.queue.count()) == 1


async def test_message_that_is_queued_slowly_keeps_its_lease() -> None:
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    queue = FaultyInbox([TOPIC], clock=clock)
    queue.away = True
    async with queued(broker, queue), InMemoryBrokerSubscriber([TOPIC], broker) as competitor:
        publish(broker, 1)
        for _ in range(100):
            await clock.advance(1)
        assert consumer_of(broker).ack_pending == 1
        assert not competitor.intake.lanes[0].waiting


async def test_put_that_is_cut_off_is_repeated_and_stored_once() -> None:
    """S03."""
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    publish(broker, 1, 2)
    store = InMemoryQueueStore()
    stored = asyncio.Event()

    class CutOff(InMemoryBrokerSubscriberQueue):
        async def put(self, frame: Frame, **options: Any) -> None:
            await super().put(frame, **options)
            stored.set()
            await asyncio.Event().wait()

    first = queued(broker, CutOff([TOPIC], clock=clock, store=store))
    async with first:
        await stored.wait()
        filling = [task for task in asyncio.all_tasks() if task.get_name() == "callboard relay"]
        for task in filling:
            task.cancel()
        await asyncio.wait(filling)
    async with queued(broker, InMemoryBrokerSubscriberQueue([TOPIC], clock=clock, store=store)) as subscriber:
        await eventually(lambda: consumer_of(broker).ack_pending == 0 and consumer_of(broker).pending == 0)
        assert await subscriber.queue.count() == 2
        assert sorted([(await subscriber.receive()).content for _ in range(2)]) == [1, 2]


async def test_store_that_is_away_for_a_while_changes_no_order(caplog: pytest.LogCaptureFixture) -> None:
    """S05."""
    caplog.set_level(logging.INFO, "callboard.relay")
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    publish(broker, *range(5))
    queue = FaultyInbox([TOPIC], clock=clock)
    queue.away = True
    async with queued(broker, queue) as subscriber:
        for _ in range(100):
            await clock.advance(1)
        assert consumer_of(broker).ack_pending == 1
        queue.away = False
        for _ in range(31):
            await clock.advance(1)
        assert [(await subscriber.receive()).content for _ in range(5)] == list(range(5))
    told = [record.levelname for record in caplog.records if record.name == "callboard.relay"]
    assert told == ["WARNING", "INFO"]


async def test_three_restarts_lose_nothing() -> None:
    """S04."""
    broker = InMemoryBroker()
    publish(broker, *range(8))
    store = InMemoryQueueStore()
    seen: list[object] = []
    for _ in range(4):
        async with queued(broker, InMemoryBrokerSubscriberQueue([TOPIC], store=store)) as subscriber:
            seen += [(await subscriber.receive()).content for _ in range(2)]
    assert seen == list(range(8))


async def test_failing_message_is_tried_as_often_as_declared_then_dead_lettered_as_what_it_was() -> None:
    """S14."""
    broker = InMemoryBroker()
    publish(broker, "before", "broken")
    tries: list[str] = []

    @command(TOPIC, retry=(0, 0.01))
    async def place(content: str) -> None:
        tries.append(content)
        if content == "broken":
            raise ValueError(content)

    subscriber = queued(broker)
    async with handling(subscriber, place):
        await eventually(lambda: len(broker.dead_letters) == 1)
        await eventually(lambda: not broker_pending(broker))
    assert tries == ["before", "broken", "broken", "broken"]
    (letter,) = broker.dead_letters
    assert letter.topic == f"_callboard.dead.{consumer_of(broker).durable}"
    assert letter.headers["Callboard-Dead-Stream"] == "ORDERS"
    assert letter.headers["Callboard-Dead-Sequence"] == "2"
    assert letter.headers["Callboard-Dead-Attempts"] == "3"
    assert await subscriber.queue.count() == 0


def broker_pending(broker: InMemoryBroker) -> int:
    return consumer_of(broker).ack_pending + consumer_of(broker).pending


async def test_message_that_waits_for_its_next_attempt_holds_nothing_back() -> None:
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    publish(broker, 1, 2, 3)
    tries: list[int] = []

    @command(TOPIC, retry=(10.0,))
    async def place(content: int) -> None:
        tries.append(content)
        if tries == [1]:
            raise ValueError(content)

    async with handling(queued(broker, InMemoryBrokerSubscriberQueue([TOPIC], clock=clock)), place):
        await eventually(lambda: tries == [1, 2, 3])
        await clock.advance(15)
        await eventually(lambda: tries == [1, 2, 3, 1])


def _grew(tries: list[int], before: int) -> bool:
    return len(tries) > before


async def test_attempts_survive_a_restart() -> None:
    """S14."""
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    publish(broker, 1)
    store = InMemoryQueueStore()
    tries: list[int] = []

    @command(TOPIC, retry=(10.0, 10.0))
    async def place(content: int) -> None:
        tries.append(content)
        raise ValueError(content)

    for _ in range(3):
        before = len(tries)
        queue = InMemoryBrokerSubscriberQueue([TOPIC], clock=clock, store=store)
        async with handling(queued(broker, queue), place):
            await eventually(partial(_grew, tries, before))
        await clock.advance(15)
    assert len(tries) == 3
    assert len(broker.dead_letters) == 1


async def test_reply_is_the_one_of_the_original_message() -> None:
    """C32."""
    broker = InMemoryBroker()
    broker.create_stream("answers")
    broker.create_stream(TOPIC)
    request = message(1)
    request.set_reply_topic("answers.here")
    broker.publish(wire.encode(request))

    @command(TOPIC)
    async def place(content: int) -> None:
        raise BrokerResponseException("sold out", status=409)

    async with handling(queued(broker), place):
        await eventually(lambda: len(list(broker.stored("answers.*"))) == 1)
    (answer,) = broker.stored("answers.*")
    durable = consumer_of(broker).durable
    assert answer.frame.headers["Nats-Msg-Id"] == f"reply:{durable}:ORDERS:1:{answer.frame.headers['Callboard-Id']}"
    assert answer.frame.headers["Callboard-Id"] == str(request.identifier)
    assert answer.frame.headers["Callboard-Status"] == "409"


async def test_concurrency_of_the_handler_is_kept() -> None:
    """C38."""
    broker = InMemoryBroker()
    publish(broker, *range(9))
    running, most, ended = 0, 0, 0

    @command(TOPIC)
    async def place(content: int) -> None:
        nonlocal running, most, ended
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        ended += 1

    async with handling(queued(broker), place, concurrency=3):
        await eventually(lambda: ended == 9)
    assert most == 3


async def test_stop_hands_what_has_not_finished_back_to_the_queue() -> None:
    """S07."""
    broker = InMemoryBroker()
    publish(broker, 1, 2, 3)
    store = InMemoryQueueStore()
    begun = asyncio.Event()
    seen: list[int] = []

    @command(TOPIC)
    async def place(content: int) -> None:
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        seen.append(content)

    queue = InMemoryBrokerSubscriberQueue([TOPIC], store=store)
    async with handling(queued(broker, queue), place, grace=0.05):
        await begun.wait()
        await eventually(lambda: len(queue.frames) == 3)
    assert seen == []
    async with handling(queued(broker, InMemoryBrokerSubscriberQueue([TOPIC], store=store)), place):
        await eventually(lambda: seen == [1, 2, 3])


async def test_what_cannot_be_read_waits_in_the_queue_like_everything_and_becomes_a_dead_letter() -> None:
    """C21."""
    broker = InMemoryBroker()
    publish(broker, 1)
    broker.publish(Frame(TOPIC, {"Callboard-Status": "fine"}, b"1"))
    broker.publish(Frame(TOPIC, {}, b"{"))
    publish(broker, 2)
    async with queued(broker) as subscriber:
        assert [(await subscriber.receive()).content for _ in range(2)] == [1, 2]
        await eventually(lambda: len(broker.dead_letters) == 2)
    assert [letter.headers["Callboard-Dead-Sequence"] for letter in broker.dead_letters] == ["2", "3"]


async def test_queue_that_cannot_be_read_is_told_to_the_receiver() -> None:
    queue = FaultyInbox([TOPIC])
    queue.failures["claim"] = [ValueError("a bug")]
    async with queued(InMemoryBroker(), queue) as subscriber:
        with pytest.raises(ValueError, match="a bug"):
            await subscriber.receive()


async def test_end_of_the_inner_subscription_is_told_to_the_receiver() -> None:
    broker = InMemoryBroker()
    async with queued(broker) as subscriber:
        subscriber.subscriber.crash(TopologyError("mailbox", "is gone"))
        with pytest.raises(TopologyError):
            await subscriber.receive()


async def test_setup_that_fails_may_be_repeated_and_destroy_is_final() -> None:
    broker = InMemoryBroker()
    publish(broker, 1)
    queue = FaultyInbox([TOPIC])
    problems: list[Exception] = [AWAY]

    class Late(InMemoryBrokerSubscriber):
        async def _setup(self) -> None:
            if problems:
                raise problems.pop()
            await super()._setup()

    subscriber = QueuedBrokerSubscriber(Late([TOPIC], broker), queue)
    with pytest.raises(ConnectionError):
        await subscriber.setup()
    assert (await subscriber.receive()).content == 1
    await subscriber.destroy()
    await subscriber.destroy()
    assert not subscriber.subscriber.is_ready()
    assert not queue.is_ready()
    with pytest.raises(ClosedError):
        await subscriber.receive()


async def test_competing_subscribers_share_the_queue() -> None:
    broker = InMemoryBroker()
    publish(broker, *range(20))
    store = InMemoryQueueStore()
    seen: list[tuple[int, object]] = []

    async def receive(name: int, subscriber: QueuedBrokerSubscriber) -> None:
        async for each in subscriber:
            seen.append((name, each.content))
            await asyncio.sleep(0)

    subscribers = [queued(broker, InMemoryBrokerSubscriberQueue([TOPIC], store=store)) for _ in range(2)]
    receivers = [asyncio.create_task(receive(name, subscriber)) for name, subscriber in enumerate(subscribers)]
    await eventually(lambda: len(seen) == 20)
    for subscriber in subscribers:
        await subscriber.destroy()
    await asyncio.gather(*receivers)
    assert sorted(content for _, content in seen) == list(range(20))  # type: ignore[type-var]
    assert {name for name, _ in seen} == {0, 1}
