"""Queued publishing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from callboard import REQUEST_HEADERS_CONTEXT_VAR, BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload
from callboard.brokers.memory import InMemoryBroker, InMemoryBrokerPublisher, InMemoryTransport
from callboard.brokers.queue import (
    InMemoryBrokerPublisherQueue,
    InMemoryQueueStore,
    QueuedBrokerPublisher,
    publisher,
)
from callboard.brokers.wire import Frame
from callboard.clock import VirtualClock
from callboard.errors import (
    ClosedError,
    ContentEncodeError,
    HeaderError,
    MessageTooLargeError,
    NoServerError,
    SubstrateError,
    TopicError,
)
from callboard.instrumentation import Instrumentation
from tests.jetstream.eventually import eventually
from tests.unit.brokers.queue.fault import AWAY, FaultyQueue, KeepingPublisher, frame, message


async def test_send_returns_once_queued_and_the_inner_publisher_gets_the_messages_in_order() -> None:
    """C11."""
    inner = KeepingPublisher()
    inner.gate.clear()
    sent: list[BrokerMessage] = [message(1), message(2)]
    async with QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue()) as queued:
        for each in sent:
            await queued.send(each)
        assert inner.messages == []
        assert await queued.queue.count() == 2
        inner.gate.set()
        await eventually(lambda: inner.messages == sent)


async def test_setup_and_destroy_happen_once() -> None:
    """C12."""
    inner = KeepingPublisher()
    queued = QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue())
    await asyncio.gather(queued.setup(), queued.setup())
    await queued.send(message(1))
    assert inner.is_ready()
    assert queued.queue.is_ready()
    await asyncio.gather(queued.destroy(), queued.destroy())
    await queued.destroy()
    assert inner.lives == ["setup", "destroy"]
    assert not queued.queue.is_ready()
    with pytest.raises(ClosedError):
        await queued.send(message(2))


async def test_messages_sent_before_setup_are_delivered() -> None:
    """C13."""
    inner = KeepingPublisher()
    queue = InMemoryBrokerPublisherQueue()
    await queue.put(frame(1), key="orders.placed")
    queued = QueuedBrokerPublisher(inner, queue)
    await queued.send(message(2))
    await eventually(lambda: inner.contents == [1, 2])
    await queued.destroy()


async def test_message_and_later_ones_are_delivered_after_a_failure() -> None:
    """S01."""
    inner = KeepingPublisher()
    inner.failures = [AWAY]
    async with QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue()) as queued:
        for number in range(3):
            await queued.send(message(number))
        await eventually(lambda: inner.contents == [0, 1, 2])


async def test_topic_that_nobody_takes_holds_no_other_back() -> None:
    inner = KeepingPublisher()
    inner.refused = {"orders.placed"}
    async with QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue()) as queued:
        for number in range(20):
            await queued.send(message(number))
        await queued.send(message("other", "orders.paid"))
        await eventually(lambda: inner.contents == ["other"])
        inner.refused.clear()
        await eventually(lambda: inner.contents == ["other", *range(20)])


async def test_key_decides_who_waits_for_whom() -> None:
    inner = KeepingPublisher()
    inner.refused = {"orders.placed"}
    queue = InMemoryBrokerPublisherQueue()
    async with QueuedBrokerPublisher(inner, queue, key=lambda message: str(message.content["user"])) as queued:
        await queued.send(message({"user": 1}))
        await queued.send(message({"user": 1}, "orders.paid"))
        await queued.send(message({"user": 2}, "orders.paid"))
        await eventually(lambda: inner.contents == [{"user": 2}])
        inner.refused.clear()
        await eventually(lambda: len(inner.contents) == 3)


@pytest.mark.parametrize(
    ("unfit", "error"),
    [
        (message(1, "orders.*"), TopicError),
        (BrokerMessageV1("orders", BrokerMessageV1Payload(1, {"Nats-Msg-Id": "x"})), HeaderError),
        (message(object()), ContentEncodeError),
        (message("x" * 1024 * 1024), MessageTooLargeError),
    ],
    ids=["topic", "header", "content", "size"],
)
async def test_what_cannot_be_sent_is_refused_before_it_is_stored(unfit: BrokerMessage, error: type[Exception]) -> None:
    async with QueuedBrokerPublisher(KeepingPublisher(), InMemoryBrokerPublisherQueue()) as queued:
        with pytest.raises(error):
            await queued.send(unfit)
        assert await queued.queue.count() == 0


async def test_transaction_is_for_the_store_to_judge() -> None:
    async with QueuedBrokerPublisher(KeepingPublisher(), InMemoryBrokerPublisherQueue()) as queued:
        with pytest.raises(ValueError, match="has no transactions"):
            await queued.send(message(1), transaction=object())


async def test_store_that_is_away_is_told_to_the_sender() -> None:
    queue = FaultyQueue()
    queue.failures["put"] = [AWAY]
    inner = KeepingPublisher()
    async with QueuedBrokerPublisher(inner, queue) as queued:
        one = message(1)
        with pytest.raises(SubstrateError):
            await queued.send(one)
        await queued.send(one)
        await eventually(lambda: inner.contents == [1])


async def test_server_that_cannot_be_reached_at_setup_is_reached_later(caplog: pytest.LogCaptureFixture) -> None:
    inner = KeepingPublisher()
    inner.setup_failures = [NoServerError("nats://nowhere", "refused") for _ in range(2)]
    async with QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue()) as queued:
        await queued.send(message(1))
        await eventually(lambda: inner.contents == [1])
    assert "messages wait in queue outbox until they can be sent: no NATS server at nats://nowhere" in caplog.text


async def test_setup_that_fails_or_is_cancelled_may_be_repeated() -> None:
    inner = KeepingPublisher()
    inner.setup_failures = [ValueError("wrong"), asyncio.CancelledError()]
    queued = QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue())
    with pytest.raises(ValueError, match="wrong"):
        await queued.send(message(1))
    with pytest.raises(asyncio.CancelledError):
        await queued.send(message(2))
    await queued.send(message(3))
    await eventually(lambda: inner.contents == [3])
    await queued.destroy()


async def test_in_memory_queue_is_emptied_at_destroy() -> None:
    """S04."""
    inner = KeepingPublisher()
    async with QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue()) as queued:
        for number in range(200):
            await queued.send(message(number))
    assert inner.contents == list(range(200))


async def test_what_an_in_memory_queue_could_not_send_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(publisher, "EMPTYING", 0.01)
    inner = KeepingPublisher()
    inner.refused = {"orders.placed"}
    one = message(1)
    async with QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue()) as queued:
        await queued.send(one)
    assert f"message {one.identifier} to 'orders.placed' of queue outbox was not sent" in caplog.text


async def test_three_restarts_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """S04."""
    monkeypatch.setattr(publisher, "EMPTYING", 0.01)
    store = InMemoryQueueStore()
    sent: list[BrokerMessage] = []
    received: list[BrokerMessage] = []
    for number in range(3):
        inner = KeepingPublisher()
        inner.refused = {"orders.placed"}
        async with QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue(store=store)) as queued:
            sent.append(message(number))
            await queued.send(sent[-1])
        received += inner.messages
    inner = KeepingPublisher()
    async with QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue(store=store)):
        await eventually(lambda: received + inner.messages == sent)


async def test_message_whose_sending_was_cut_off_is_sent_again_and_stored_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S03."""
    monkeypatch.setattr(publisher, "EMPTYING", 0.01)
    monkeypatch.setattr(publisher, "GRACE", 0.01)
    store = InMemoryQueueStore()
    broker = InMemoryBroker()

    class CutOff(InMemoryBrokerPublisher):
        async def _send(self, message: BrokerMessage) -> None:
            await super()._send(message)
            await asyncio.Event().wait()

    cut = CutOff(broker)
    async with QueuedBrokerPublisher(cut, InMemoryBrokerPublisherQueue(store=store)) as queued:
        await queued.send(message(1))
        await eventually(lambda: len(list(broker.stored("orders.>"))) == 1)
    inner = InMemoryBrokerPublisher(broker)
    async with QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue(store=store)):
        await eventually(lambda: len(inner.messages) == 1)
    assert len(list(broker.stored("orders.>"))) == 1


async def test_cancelled_send_leaves_the_publisher_whole() -> None:
    inner = KeepingPublisher()
    queue = FaultyQueue()
    hung = asyncio.Event()

    class Hanging(FaultyQueue):
        async def put(self, frame: Frame, **options: Any) -> None:
            if not hung.is_set():
                hung.set()
                await asyncio.Event().wait()
            await super().put(frame, **options)

    queue = Hanging()
    async with QueuedBrokerPublisher(inner, queue) as queued:
        sending = asyncio.create_task(queued.send(message(1)))
        await hung.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await queued.send(message(2))
        await eventually(lambda: inner.contents == [2])


async def test_unreadable_entry_is_a_dead_letter_and_the_others_are_sent() -> None:
    """C21."""
    broker = InMemoryBroker()
    inner = InMemoryBrokerPublisher(broker)
    queue = InMemoryBrokerPublisherQueue()
    await queue.put(frame(1), key="a")
    await queue.put(Frame("orders.placed", {"Content-Type": "application/json"}, b"{"), key="a")
    await queue.put(Frame("orders.placed", {"Callboard-Status": "fine"}, b"1"), key="a")
    await queue.put(frame(2), key="a")
    async with QueuedBrokerPublisher(inner, queue):
        await eventually(lambda: [message.content for message in inner.messages] == [1, 2])
        await eventually(lambda: len(broker.dead_letters) == 2)
    assert {letter.topic for letter in broker.dead_letters} == {"_callboard.dead.outbox"}


async def test_unreadable_entry_stays_where_no_dead_letter_can_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    queue = FaultyQueue()
    await queue.put(Frame("orders.placed", {}, b"{"), key="a")
    async with QueuedBrokerPublisher(KeepingPublisher(), queue) as queued:
        await eventually(lambda: "put_back" in queue.calls)
        assert await queue.count() == 1
        await queue.remove([1])
        assert queued.transport is None
    assert "there is no transport to keep dead letters on" in caplog.text


async def test_queue_that_cannot_be_read_for_a_bug_is_read_again_later(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    transport = InMemoryTransport(InMemoryBroker(clock=clock))
    inner = KeepingPublisher(transport)
    queue = FaultyQueue(clock=clock)
    queue.failures["claim"] = [ValueError("a bug")]
    async with QueuedBrokerPublisher(inner, queue) as queued:
        assert queued.transport is transport
        await queued.send(message(1))
        await clock.advance(29)
        assert inner.contents == []
        await clock.advance(1)
        await eventually(lambda: inner.contents == [1])
    assert "queue faulty cannot be read, again in 30 s" in caplog.text


async def test_nothing_of_whoever_sets_it_up_is_seen_when_messages_are_sent() -> None:
    """S11."""
    seen: list[object] = []

    class Looking(KeepingPublisher):
        async def _send(self, message: BrokerMessage) -> None:
            seen.append(REQUEST_HEADERS_CONTEXT_VAR.get())

    token = REQUEST_HEADERS_CONTEXT_VAR.set({"tenant": "a"})
    try:
        async with QueuedBrokerPublisher(Looking(), InMemoryBrokerPublisherQueue()) as queued:
            await queued.send(message(1))
    finally:
        REQUEST_HEADERS_CONTEXT_VAR.reset(token)
    assert seen == [None]


async def test_what_waits_is_counted_every_ten_seconds_for_whoever_wants_to_know() -> None:
    clock = VirtualClock()
    inner = KeepingPublisher(InMemoryTransport(InMemoryBroker(clock=clock)))
    instrumentation = Instrumentation()
    waiting = instrumentation.statistics.outbox_now
    queue = InMemoryBrokerPublisherQueue("orders", clock=clock)
    inner.gate.clear()
    async with QueuedBrokerPublisher(inner, queue, instrumentation=instrumentation) as queued:
        await queued.send(message(1))
        await clock.advance(10)
        assert waiting == {"orders": 1}

        inner.gate.set()
        await eventually(lambda: inner.contents == [1])
        await clock.advance(9)
        assert waiting == {"orders": 1}
        await clock.advance(1)
        assert waiting == {"orders": 0}
