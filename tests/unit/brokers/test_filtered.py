"""Filtered subscribing: by hand, under the handler loop, and what the validator is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from callboard import BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload, BrokerRequest, command
from callboard.brokers import wire
from callboard.brokers.duplicate import InMemoryBrokerSubscriberDuplicateValidator
from callboard.brokers.filtered import FilteredBrokerSubscriber
from callboard.brokers.memory import InMemoryBroker, InMemoryBrokerPublisher, InMemoryBrokerSubscriber
from callboard.brokers.memory.consumer import InMemoryConsumer
from callboard.brokers.queue import InMemoryBrokerSubscriberQueue, QueuedBrokerSubscriber
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.validator import BrokerSubscriberValidator
from callboard.brokers.wire import Frame
from callboard.clock import VirtualClock
from callboard.errors import ConnectionLostError, SubstrateError
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.handler import BrokerHandler
from tests.jetstream.eventually import eventually
from tests.unit.routing.bench import declared

TOPIC = "orders.placed"
AWAY = ConnectionLostError("the store", "away")


class Told(BrokerSubscriberValidator):
    """Notes what it is told; refuses what is in `refused`, and raises `failures` of an operation first."""

    def __init__(self, *refused: object) -> None:
        super().__init__()
        self.refused = list(refused)
        self.journal: list[str] = []
        self.failures: dict[str, list[BaseException]] = {}

    def _note(self, what: str, message: BrokerMessage) -> None:
        self.journal.append(f"{what} {message.content}")
        if self.failures.get(what):
            raise self.failures[what].pop(0)

    async def _setup(self) -> None:
        self.journal.append("setup")

    async def _destroy(self) -> None:
        self.journal.append("destroy")

    async def _is_valid(self, message: BrokerMessage) -> bool:
        self._note("asked", message)
        return message.content not in self.refused

    async def handled(self, message: BrokerMessage) -> None:
        self._note("handled", message)

    async def released(self, message: BrokerMessage) -> None:
        self._note("released", message)


def publish(broker: InMemoryBroker, *contents: object) -> list[BrokerMessageV1]:
    """Each in a message of its own; the same object again is a copy that the stream does not recognise."""
    broker.create_stream(TOPIC)
    sent = [BrokerMessageV1(TOPIC, BrokerMessageV1Payload(content)) for content in contents]
    for message in sent:
        broker.publish(wire.encode(message))
    return sent


def publish_copy(broker: InMemoryBroker, message: BrokerMessage) -> None:
    frame = wire.encode(message)
    del frame.headers[wire.MESSAGE_ID]
    broker.publish(frame)


def filtered(broker: InMemoryBroker, validator: BrokerSubscriberValidator) -> FilteredBrokerSubscriber:
    return FilteredBrokerSubscriber(InMemoryBrokerSubscriber([TOPIC], broker), validator)


def consumer_of(broker: InMemoryBroker) -> InMemoryConsumer:
    (consumer,) = broker.consumers(TOPIC)
    return consumer


@asynccontextmanager
async def handling(
    subscriber: BrokerSubscriber, function: Callable[..., Any], concurrency: int = 1
) -> AsyncGenerator[None]:
    handler = BrokerHandler(BrokerDispatcher(declared(function)), subscriber, concurrency)
    await handler.start()
    try:
        yield
    finally:
        await handler.stop(1.0)


async def test_what_the_validator_refuses_is_skipped_and_acknowledged() -> None:
    """C18."""
    broker = InMemoryBroker()
    publish(broker, "no", "yes")
    validator = Told("no")
    async with filtered(broker, validator) as subscriber:
        assert (await subscriber.receive()).content == "yes"
        assert consumer_of(broker).ack_pending == 1
    assert consumer_of(broker).ack_pending == 0
    assert validator.journal == ["setup", "asked no", "asked yes", "handled yes", "destroy"]


async def test_of_duplicates_only_the_first_passes() -> None:
    """C17."""
    broker = InMemoryBroker()
    (one,) = publish(broker, 1)
    publish_copy(broker, one)
    publish_copy(broker, one)
    publish(broker, 2)
    async with filtered(broker, InMemoryBrokerSubscriberDuplicateValidator()) as subscriber:
        assert (await subscriber.receive()).content == 1
        assert (await subscriber.receive()).content == 2


async def test_retry_passes_the_duplicate_filter_and_a_copy_afterwards_does_not() -> None:
    """S14."""
    broker = InMemoryBroker()
    tries: list[int] = []

    @command(TOPIC, retry=(0, 0))
    async def place(content: int) -> None:
        tries.append(content)
        if len(tries) < 3:
            raise ValueError("not yet")

    (one,) = publish(broker, 1)
    async with handling(filtered(broker, InMemoryBrokerSubscriberDuplicateValidator()), place):
        await eventually(lambda: consumer_of(broker).ack_pending == 0)
        publish_copy(broker, one)
        publish(broker, 2)
        await eventually(lambda: 2 in tries)
    assert tries == [1, 1, 1, 2]


async def test_dead_letter_is_not_taken_for_handled_so_its_replay_runs() -> None:
    broker = InMemoryBroker()
    tries: list[int] = []

    @command(TOPIC, retry=())
    async def place(content: int) -> None:
        tries.append(content)
        if len(tries) == 1:
            raise ValueError("broken")

    (one,) = publish(broker, 1)
    async with handling(filtered(broker, InMemoryBrokerSubscriberDuplicateValidator()), place):
        await eventually(lambda: len(broker.dead_letters) == 1)
        publish_copy(broker, one)
        await eventually(lambda: tries == [1, 1])


async def test_two_copies_in_two_slots_run_once() -> None:
    broker = InMemoryBroker()
    begun, may_end = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    @command(TOPIC)
    async def place(content: int) -> None:
        runs.append(content)
        begun.set()
        await may_end.wait()

    (one,) = publish(broker, 1)
    publish_copy(broker, one)
    async with handling(filtered(broker, InMemoryBrokerSubscriberDuplicateValidator()), place, concurrency=2):
        await begun.wait()
        may_end.set()
        await eventually(lambda: consumer_of(broker).ack_pending == 0 and consumer_of(broker).pending == 0)
    assert runs == [1]


async def test_message_that_the_validator_cannot_take_down_goes_back(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    publish(broker, 1)
    validator = Told()
    validator.failures["handled"] = [AWAY]

    @command(TOPIC)
    async def place(content: int) -> None: ...

    async with handling(filtered(broker, validator), place):
        await eventually(lambda: "handled 1" in validator.journal)
        assert consumer_of(broker).ack_pending == 1
        await clock.advance(2)
        await eventually(lambda: consumer_of(broker).ack_pending == 0)
    assert validator.journal == ["setup", "asked 1", "handled 1", "asked 1", "handled 1", "destroy"]
    assert "goes back: the connection to the store is closed" in caplog.text


async def test_validator_that_is_away_is_asked_again() -> None:
    broker = InMemoryBroker()
    publish(broker, 1)
    validator = Told()
    validator.failures["asked"] = [AWAY]
    async with filtered(broker, validator) as subscriber:
        with pytest.raises(SubstrateError):
            await subscriber.receive()
        assert (await subscriber.receive()).content == 1


async def test_handed_back_message_is_released_and_term_too() -> None:
    broker = InMemoryBroker()
    publish(broker, 1, 2)
    validator = Told()
    async with filtered(broker, validator) as subscriber:
        subscriber.intake.concurrency = 2
        for settle in ("nak", "term"):
            lane, delivery = await subscriber.intake.take()
            assert await delivery.admit()
            assert await delivery.admit()
            await (delivery.nak(60.0) if settle == "nak" else delivery.term("given up"))
            await delivery.ack()
            subscriber.intake.release(lane, 0.1, 1)
    assert validator.journal == ["setup", "asked 1", "released 1", "asked 2", "released 2", "destroy"]
    assert consumer_of(broker).ack_pending == 1


async def test_what_nobody_was_asked_about_is_handed_back_without_a_word() -> None:
    broker = InMemoryBroker()
    publish(broker, 1)
    validator = Told()
    async with filtered(broker, validator) as subscriber:
        _, delivery = await subscriber.intake.take()
        await delivery.nak()
    assert validator.journal == ["setup", "destroy"]


@pytest.mark.parametrize("body", [b"1", b"{"], ids=["headers", "content"])
async def test_unreadable_message_passes_the_filter_and_becomes_a_dead_letter(body: bytes) -> None:
    """S02."""
    broker = InMemoryBroker()
    publish(broker, 1)
    broker.publish(Frame(TOPIC, {"Callboard-Status": "fine"} if body == b"1" else {}, body))
    publish(broker, 2)
    async with filtered(broker, Told()) as subscriber:
        assert [(await subscriber.receive()).content for _ in range(2)] == [1, 2]
    (letter,) = broker.dead_letters
    assert letter.body == body


async def test_filtered_delivery_keeps_its_lease_while_it_is_handled() -> None:
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    publish(broker, 1)
    begun, may_end = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    @command(TOPIC)
    async def place(content: int) -> None:
        runs.append(content)
        begun.set()
        await may_end.wait()

    async with handling(filtered(broker, Told()), place, concurrency=2):
        await begun.wait()
        await clock.advance(300)
        may_end.set()
        await eventually(lambda: consumer_of(broker).ack_pending == 0)
    assert runs == [1]


async def test_renewed_lease_shows_on_the_filtered_delivery() -> None:
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    publish(broker, 1)
    async with filtered(broker, Told()) as subscriber:
        _, delivery = await subscriber.intake.take()
        await clock.advance(20)
        await delivery.in_progress()
        assert delivery.touched == clock.time()
        await delivery.ack()
        await clock.advance(20)
        await delivery.in_progress()
        assert delivery.touched == clock.time() - 20


async def test_acknowledgement_that_is_cut_off_leaves_the_message_to_come_again() -> None:
    clock = VirtualClock()
    broker = InMemoryBroker(clock=clock)
    publish(broker, 1)
    validator = Told()
    validator.failures["handled"] = [asyncio.CancelledError()]
    async with filtered(broker, validator) as subscriber:
        lane, delivery = await subscriber.intake.take()
        assert await delivery.admit()
        with pytest.raises(asyncio.CancelledError):
            await delivery.ack()
        subscriber.intake.release(lane, 0.1, 1)
        await clock.advance(2)
        assert (await subscriber.receive()).content == 1


async def test_filter_inside_a_queue_sees_what_goes_in_and_no_retry() -> None:
    """C20."""
    broker = InMemoryBroker()
    (one,) = publish(broker, 1)
    publish_copy(broker, one)
    publish(broker, "no")
    publish(broker, 2)
    tries: list[object] = []

    @command(TOPIC, retry=(0, 0))
    async def place(content: object) -> None:
        tries.append(content)
        if content == 1 and tries.count(1) < 3:
            raise ValueError("not yet")

    class Both(InMemoryBrokerSubscriberDuplicateValidator):
        async def _is_valid(self, message: BrokerMessage) -> bool:
            return message.content != "no" and await super()._is_valid(message)

    inner = filtered(broker, Both())
    queue = InMemoryBrokerSubscriberQueue([TOPIC])
    async with handling(QueuedBrokerSubscriber(inner, queue), place):
        await eventually(lambda: 2 in tries and not queue.frames)
        assert consumer_of(broker).ack_pending == 0
    assert sorted(map(str, tries)) == ["1", "1", "1", "2"]


async def test_validator_that_fails_costs_attempts_and_ends_in_a_dead_letter() -> None:
    class Broken(BrokerSubscriberValidator):
        async def _is_valid(self, message: BrokerMessage) -> bool:
            raise ValueError(message.content)

    async def place(request: BrokerRequest) -> None:
        raise AssertionError("not to be handled")

    broker = InMemoryBroker()
    actions = {command("orders.place", retry=(0,)): place}
    subscriber = FilteredBrokerSubscriber(InMemoryBrokerSubscriber(["orders.place"], broker), Broken())
    async with InMemoryBrokerPublisher(broker) as publisher, BrokerHandler(BrokerDispatcher(actions), subscriber):
        await publisher.send(BrokerMessageV1("orders.place", BrokerMessageV1Payload(1)))
        await eventually(lambda: len(broker.dead_letters) == 1)
    [letter] = broker.dead_letters
    assert letter.headers["Callboard-Dead-Error-Type"] == "ValueError"
    assert letter.headers["Callboard-Dead-Attempts"] == "2"
