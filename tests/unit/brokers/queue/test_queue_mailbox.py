"""From a queue into slots."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import inf

import pytest

from callboard.brokers.attempts import Past
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import Intake, Lane
from callboard.brokers.queue import InMemoryQueueStore, mailbox
from callboard.brokers.queue.mailbox import QueueMailbox
from callboard.brokers.queue.queue import Origin
from callboard.clock import VirtualClock
from tests.jetstream.eventually import eventually
from tests.unit.brokers.queue.fault import AWAY, FaultyQueue, frame


class Bench:
    """A queue, its mailbox, and somebody who takes deliveries."""

    def __init__(self, concurrency: int, records: int, store: InMemoryQueueStore | None) -> None:
        self.clock = VirtualClock()
        self.queue = FaultyQueue(clock=self.clock, records=records, store=store)
        self.intake = Intake(concurrency)
        self.crashes: list[BaseException] = []
        self.mailbox = QueueMailbox(self.queue, self.intake, clock=self.clock, on_crash=self.crashes.append)

    async def put(self, *keys: str | None) -> None:
        for key in keys:
            await self.queue.put(frame(key), key=key)

    async def take(self) -> tuple[Lane, BrokerDelivery]:
        async with asyncio.timeout(5):
            return await self.intake.take()

    async def takes(self, count: int) -> list[BrokerDelivery]:
        return [(await self.take())[1] for _ in range(count)]

    async def nothing_comes(self) -> bool:
        """Whether no delivery is there when everything has run that can."""
        await self.clock.advance(0)
        await self.clock.advance(0)
        return not any(lane.waiting for lane in self.intake.lanes)


@asynccontextmanager
async def bench(
    concurrency: int = 5, *, records: int = 1000, store: InMemoryQueueStore | None = None
) -> AsyncGenerator[Bench]:
    made = Bench(concurrency, records, store)
    made.mailbox.start()
    yield made
    await made.mailbox.stop()


async def done(bench: Bench, lane: Lane, delivery: BrokerDelivery, seconds: float = 0.01) -> None:
    await delivery.ack()
    bench.intake.release(lane, seconds, 10)


async def test_entries_are_delivered_in_order_and_removed_when_acknowledged() -> None:
    async with bench() as one:
        await one.put(None, None, None)
        first, second, third = await one.takes(3)
        assert [each.sequence for each in (first, second, third)] == [1, 2, 3]
        await first.ack()
        await second.term("given up")
        await eventually(lambda: len(one.queue.frames) == 1)
        await second.ack()
        await third.nak()
        (again,) = await one.takes(1)
        assert (again.sequence, again.delivered) == (3, 2)


async def test_delivery_shows_where_it_first_came_from() -> None:
    async with bench() as one:
        await one.queue.put(frame(1), origin=Origin("ORDERS", 42, "kitchen"))
        await one.queue.put(frame(2))
        first, second = await one.takes(2)
        assert (first.stream, first.sequence, first.durable) == ("ORDERS", 42, "kitchen")
        assert (second.stream, second.sequence, second.durable) == ("faulty", 2, "faulty")


async def test_no_more_is_claimed_than_there_is_room_for() -> None:
    async with bench(concurrency=2) as one:
        await one.put(*[None] * 10)
        deliveries = await one.takes(2)
        assert await one.nothing_comes()
        assert len(await one.queue.claim(100)) == 8
        for delivery in deliveries:
            await delivery.ack()


async def test_what_was_handled_together_is_removed_together() -> None:
    async with bench() as one:
        await one.put(*[None] * 5)
        for delivery in await one.takes(5):
            await delivery.ack()
        await eventually(lambda: not one.queue.frames)
        assert one.queue.calls.count("remove") == 1


async def test_entries_of_a_key_come_one_at_a_time_in_order() -> None:
    async with bench() as one:
        await one.put("a", "a", "b", "a")
        lane, first = await one.take()
        _, other = await one.take()
        assert (first.sequence, other.sequence) == (1, 3)
        assert await one.nothing_comes()
        await done(one, lane, first)
        lane, second = await one.take()
        assert second.sequence == 2
        assert await one.nothing_comes()
        await done(one, lane, second)
        _, third = await one.take()
        assert third.sequence == 4


async def test_message_waits_for_the_key_when_its_predecessor_fails() -> None:
    async with bench() as one:
        await one.put("a", "a", "b")
        first, other = await one.takes(2)
        assert (first.sequence, other.sequence) == (1, 3)
        await one.mailbox.attempts.record(first, Past(1))
        await first.nak(10.0)
        assert await one.nothing_comes()
        await one.put("a")
        assert await one.nothing_comes()
        await one.clock.advance(10)
        (again,) = await one.takes(1)
        assert (again.sequence, again.delivered, await one.mailbox.attempts.past(again)) == (1, 2, Past(1))
        await again.ack()
        (second,) = await one.takes(1)
        assert (second.sequence, second.delivered) == (2, 1)


async def test_failed_attempts_are_kept_with_the_entry() -> None:
    """S14."""
    store = InMemoryQueueStore()
    async with bench(store=store) as one:
        await one.put(None)
        (delivery,) = await one.takes(1)
        await one.mailbox.attempts.record(delivery, Past(3))
        await delivery.nak()
        (delivery,) = await one.takes(1)
        assert await one.mailbox.attempts.past(delivery) == Past(3)
        await delivery.nak()
        await one.mailbox.drain()
    async with bench(store=store) as one:
        (delivery,) = await one.takes(1)
        assert await one.mailbox.attempts.past(delivery) == Past(3)


async def test_key_that_is_stuck_stops_no_other() -> None:
    async with bench(concurrency=2) as one:
        await one.put(*["stuck"] * 50, "free")
        stuck, free = await one.takes(2)
        assert (stuck.sequence, free.sequence) == (1, 51)


async def test_look_beyond_a_stuck_key_takes_nothing_from_others() -> None:
    store = InMemoryQueueStore()
    async with bench(concurrency=2, store=store) as one:
        await one.put(*["stuck"] * 6, None, None, None)
        assert [delivery.sequence for delivery in await one.takes(2)] == [1, 7]
        assert await one.nothing_comes()
        async with bench(concurrency=20, store=store) as other:
            assert [delivery.sequence for delivery in await other.takes(2)] == [8, 9]


async def test_look_beyond_a_stuck_key_ends_at_the_queues_records() -> None:
    async with bench(concurrency=2, records=10) as one:
        await one.put(*["stuck"] * 100)
        await one.takes(1)
        assert await one.nothing_comes()
        assert len(await one.queue.claim(100)) >= 90


async def test_what_is_in_a_queue_has_no_lease() -> None:
    async with bench() as one:
        await one.put(None)
        lane, delivery = await one.take()
        assert lane.lease == inf
        await delivery.in_progress()


async def test_single_key_is_claimed_in_few_steps() -> None:
    async with bench(concurrency=4, records=1000) as one:
        await one.put(*["a"] * 400)
        for _ in range(400):
            lane, delivery = await one.take()
            await done(one, lane, delivery, 0.001)
        await eventually(lambda: not one.queue.frames)
        assert one.queue.calls.count("claim") < 40


async def test_empty_queue_is_not_asked_again_until_something_comes() -> None:
    async with bench() as one:
        await one.put(None, None)
        await one.nothing_comes()
        asked = one.queue.calls.count("claim")
        lane, delivery = await one.take()
        await done(one, lane, delivery)
        await eventually(lambda: len(one.queue.frames) == 1)
        assert one.queue.calls.count("claim") == asked


async def test_drain_hands_back_what_no_slot_has_begun_and_lets_the_rest_end() -> None:
    """S04."""
    async with bench() as one:
        await one.put("a", "a", None)
        lane, running = await one.take()
        await one.mailbox.drain()
        await one.mailbox.drain()
        assert await one.nothing_comes()
        await one.put("b")
        assert await one.nothing_comes()
        await done(one, lane, running)
        await eventually(lambda: len(one.queue.frames) == 3)
        assert [(entry.number, entry.delivered) for entry in await one.queue.claim(9)] == [(2, 1), (3, 1), (4, 1)]


async def test_what_is_handled_during_the_grace_is_removed_before_the_end() -> None:
    store = InMemoryQueueStore()
    async with bench(store=store) as one:
        await one.put(None)
        (running,) = await one.takes(1)
        await one.mailbox.drain()
        await running.ack()
    assert one.queue.frames == []


async def test_claim_that_ends_after_the_drain_began_is_handed_back() -> None:
    async with bench() as one:
        await one.nothing_comes()
        one.queue.gate.clear()
        await one.put("a", "a")
        await eventually(lambda: one.queue.calls.count("claim") == 2)
        draining = asyncio.create_task(one.mailbox.drain())
        await one.nothing_comes()
        assert not draining.done()
        one.queue.gate.set()
        await draining
        assert await one.nothing_comes()
        assert [entry.delivered for entry in await one.queue.claim(9)] == [1, 1]


@pytest.mark.parametrize("operation", ["claim", "remove", "put_back", "release", "wait"])
async def test_store_that_is_away_for_a_while_loses_nothing(operation: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "callboard.queue")
    async with bench() as one:
        one.queue.failures[operation] = [AWAY, AWAY, AWAY]
        await one.put("a", "a", "b")
        for _ in range(4):
            await one.clock.advance(5)
        first, other = await one.takes(2)
        await first.nak(1.0)
        await other.ack()
        for _ in range(4):
            await one.clock.advance(5)
        for expected in (1, 2):
            (delivery,) = await one.takes(1)
            assert delivery.sequence == expected
            await delivery.ack()
        for _ in range(4):
            await one.clock.advance(5)
        await eventually(lambda: not one.queue.frames)
    assert one.crashes == []
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_store_that_stays_away_does_not_hold_the_stop_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mailbox, "DRAIN", 0.01)
    async with bench() as one:
        await one.put(None, None)
        delivery, _ = await one.takes(2)
        one.queue.away = True
        await delivery.ack()
        await one.clock.advance(1)
    assert "did not take 1 settlements; these come again" in caplog.text
    one.queue.away = False
    other = FaultyQueue(clock=one.clock, store=one.queue.store)
    await one.queue.destroy()
    assert len(await other.claim(10)) == 2


@pytest.mark.parametrize("error", [ValueError("a bug"), asyncio.CancelledError()])
async def test_what_should_not_happen_is_told_and_the_mailbox_may_begin_again(error: BaseException) -> None:
    async with bench() as one:
        one.queue.failures["claim"] = [error]
        await one.put(None)
        await one.nothing_comes()
        assert one.crashes == [error]
        one.mailbox.start()
        assert len(await one.takes(1)) == 1


async def test_mailbox_that_is_cancelled_from_outside_tells_nobody() -> None:
    async with bench() as one:
        await one.nothing_comes()
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "queue faulty"]
        task.cancel()
        await one.nothing_comes()
        assert one.crashes == []
