"""Forwarding: what happens to a message that the other side does not take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import Intake
from callboard.brokers.memory import InMemoryBroker, InMemoryTransport
from callboard.brokers.queue.mailbox import QueueMailbox
from callboard.brokers.queue.relay import Relay
from callboard.brokers.wire import Frame
from callboard.clock import VirtualClock
from callboard.errors import ContentDecodeError, MessageTooLargeError, PublishRefusedError
from tests.jetstream.eventually import eventually
from tests.unit.brokers.queue.fault import AWAY, FaultyQueue, frame

TOO_LARGE = MessageTooLargeError("orders.placed", 9, 8)
REFUSED = PublishRefusedError("orders.placed", "maximum bytes exceeded")


def _unexpected(error: BaseException) -> None:
    raise error


class Bench:
    """A queue whose messages are forwarded to `arrived`, in so many slots; `errors` come first."""

    def __init__(self, slots: int, *, in_place: bool) -> None:
        self.clock = VirtualClock()
        self.broker = InMemoryBroker(clock=self.clock)
        self.transport = InMemoryTransport(self.broker)
        self.queue = FaultyQueue(clock=self.clock)
        self.intake = Intake(slots)
        self.errors: list[BaseException] = []
        self.judge: Callable[[BrokerDelivery], BaseException | None] = lambda _: None
        self.tries: list[bytes] = []
        self.arrived: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.mailbox = QueueMailbox(self.queue, self.intake, clock=self.clock, on_crash=_unexpected)
        self.relay = Relay(self.intake, self.forward, transport=self.transport, retry=2, in_place=in_place)

    async def forward(self, delivery: BrokerDelivery) -> None:
        self.tries.append(delivery.body)
        await self.gate.wait()
        error = self.errors.pop(0) if self.errors else self.judge(delivery)
        if error is not None:
            raise error
        self.arrived.append(delivery.body)

    async def put(self, *contents: int, topic: str = "orders.placed") -> None:
        for content in contents:
            await self.queue.put(frame(content, topic), key=topic)

    async def pass_time(self, seconds: float) -> None:
        """In steps, so that what one timer begins can end."""
        await self.clock.advance(0)
        while seconds > 0:
            await self.clock.advance(min(seconds, 1.0))
            seconds -= 1.0

    async def stop(self, grace: float = 5.0) -> None:
        self.intake.close()
        await self.mailbox.drain()
        await self.relay.stop(grace)
        await self.mailbox.stop()


@asynccontextmanager
async def bench(slots: int = 2, *, in_place: bool = False) -> AsyncGenerator[Bench]:
    made = Bench(slots, in_place=in_place)
    async with made.transport:
        made.mailbox.start()
        made.relay.start()
        yield made
        await made.stop()


async def test_forwarded_messages_are_acknowledged_in_order() -> None:
    async with bench() as one:
        await one.put(1, 2, 3)
        await one.pass_time(0)
        await eventually(lambda: not one.queue.frames)
        assert one.arrived == [b"1", b"2", b"3"]


@pytest.mark.parametrize("error", [AWAY, REFUSED, TOO_LARGE], ids=["away", "refused", "too large"])
async def test_what_fails_once_is_tried_again_at_once_and_later_ones_follow(error: BaseException) -> None:
    """S01."""
    async with bench() as one:
        one.errors = [error]
        await one.put(1, 2)
        await one.pass_time(0)
        assert one.tries == [b"1"]
        await one.clock.advance(0.05)
        await eventually(lambda: one.arrived == [b"1", b"2"])


@pytest.mark.parametrize("error", [AWAY, REFUSED, TOO_LARGE, ValueError("a bug")])
async def test_what_goes_on_failing_waits_and_holds_only_its_key_back(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """S01."""
    caplog.set_level(logging.INFO, "callboard.relay")
    async with bench(slots=1) as one:
        one.judge = lambda delivery: error if delivery.topic == "orders.placed" else None
        await one.put(1, 2)
        await one.put(3, topic="orders.paid")
        await one.pass_time(1)
        assert one.arrived == [b"3"]
        await one.pass_time(300)
        assert set(one.tries) == {b"1", b"3"}
        assert 12 < len(one.tries) < 300
        one.judge = lambda _: None
        await one.pass_time(31)
        assert one.arrived == [b"3", b"1", b"2"]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert messages[0].startswith("messages to 'orders.placed' of faulty wait and are tried again")
    assert messages[1] == "messages to 'orders.placed' of faulty go on"


async def test_in_place_nothing_overtakes_what_fails() -> None:
    async with bench(slots=1, in_place=True) as one:
        one.errors = [AWAY] * 10
        await one.put(1)
        await one.put(2, topic="orders.paid")
        await one.pass_time(300)
        assert one.tries == [b"1"] * 11 + [b"2"]
        assert one.queue.calls.count("put_back") == 0


async def test_unreadable_entry_between_good_ones_becomes_a_dead_letter() -> None:
    """C21."""

    def read(delivery: BrokerDelivery) -> ContentDecodeError | None:
        return ContentDecodeError("not JSON") if delivery.body == b"{" else None

    async with bench() as one:
        one.judge = read
        await one.queue.put(frame(1), key="a")
        await one.queue.put(Frame("orders.placed", {}, b"{"), key="a")
        await one.queue.put(frame(3), key="a")
        await one.pass_time(0)
        await eventually(lambda: not one.queue.frames)
        assert one.arrived == [b"1", b"3"]
        (letter,) = one.broker.dead_letters
        assert letter.topic == "_callboard.dead.faulty"
        assert letter.body == b"{"
        assert letter.headers["Callboard-Dead-Error-Type"] == "ContentDecodeError"
        assert letter.headers["Callboard-Dead-Sequence"] == "2"


async def test_cancellation_inside_a_forward_is_an_error_like_any_other() -> None:
    """S06."""
    async with bench(slots=1) as one:
        one.errors = [asyncio.CancelledError() for _ in range(10)]
        await one.put(1, 2)
        await one.pass_time(120)
        assert one.arrived == [b"1", b"2"]


async def test_stop_waits_for_a_running_forward() -> None:
    async with bench() as one:
        one.gate.clear()
        await one.put(1, 2)
        await eventually(lambda: one.tries == [b"1"])
        stopping = asyncio.create_task(one.stop())
        await one.pass_time(0)
        assert not stopping.done()
        one.gate.set()
        await stopping
        assert one.arrived == [b"1"]
        assert [entry.delivered for entry in await one.queue.claim(9)] == [1]


async def test_forward_that_outlives_the_grace_is_cancelled_and_its_message_goes_back() -> None:
    """S03."""
    async with bench() as one:
        one.gate.clear()
        await one.put(1, 2)
        await eventually(lambda: one.tries == [b"1"])
        await one.stop(grace=0.01)
        assert one.arrived == []
        assert [(entry.number, entry.delivered) for entry in await one.queue.claim(9)] == [(1, 2), (2, 1)]


@pytest.mark.parametrize("in_place", [True, False])
async def test_message_between_two_tries_does_not_hold_the_stop_up(in_place: bool) -> None:
    async with bench(in_place=in_place) as one:
        one.judge = lambda _: AWAY
        await one.put(1)
        await one.pass_time(0)
        await asyncio.wait_for(one.stop(grace=60), 5)
        assert len(await one.queue.claim(9)) == 1


async def test_forward_that_fails_during_the_stop_is_not_tried_again() -> None:
    async with bench() as one:
        one.gate.clear()
        one.judge = lambda _: AWAY
        await one.put(1)
        await eventually(lambda: one.tries == [b"1"])
        stopping = asyncio.create_task(one.stop(grace=60))
        await one.pass_time(0)
        one.gate.set()
        await asyncio.wait_for(stopping, 5)
        assert one.tries == [b"1"]
        assert len(await one.queue.claim(9)) == 1


async def test_message_whose_dead_letter_cannot_be_stored_for_a_bug_goes_back_and_the_slot_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(slots=1) as one:
        bugs = [ValueError("a bug")]
        bury = one.broker.bury

        def once_broken(letter: Frame) -> None:
            if bugs:
                raise bugs.pop()
            bury(letter)

        monkeypatch.setattr(one.broker, "bury", once_broken)
        one.judge = lambda delivery: ContentDecodeError("no") if delivery.topic == "orders.placed" else None
        await one.put(1)
        await one.put(2, topic="orders.paid")
        await one.pass_time(1)
        assert one.arrived == [b"2"]
        assert "message 1 of faulty cannot be settled" in caplog.text
        await one.pass_time(10)
        await eventually(lambda: not one.queue.frames)
        assert len(one.broker.dead_letters) == 1


async def test_relay_can_begin_again_after_its_stop() -> None:
    async with bench() as one:
        await one.stop()
        one.intake.open()
        one.mailbox = QueueMailbox(one.queue, one.intake, clock=one.clock, on_crash=_unexpected)
        one.mailbox.start()
        one.relay.start()
        await one.put(1)
        await eventually(lambda: one.arrived == [b"1"])
