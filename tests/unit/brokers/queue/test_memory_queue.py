"""The queue's contract, in memory."""

from __future__ import annotations

import asyncio

import pytest

from callboard.brokers.queue import (
    BrokerPublisherQueue,
    BrokerQueue,
    InMemoryBrokerPublisherQueue,
    InMemoryBrokerQueue,
    InMemoryBrokerSubscriberQueue,
    InMemoryQueueStore,
)
from callboard.brokers.queue.queue import Origin
from callboard.clock import VirtualClock
from callboard.errors import ClosedError
from tests.unit.brokers.queue.fault import frame


async def numbers(queue: BrokerQueue, count: int = 100) -> list[int]:
    return [entry.number for entry in await queue.claim(count)]


async def filled(queue: BrokerQueue, *keys: str | None) -> None:
    for number, key in enumerate(keys):
        await queue.put(frame(number), key=key)


def pair(clock: VirtualClock | None = None) -> tuple[InMemoryBrokerQueue, InMemoryBrokerQueue]:
    store = InMemoryQueueStore()
    clock = clock or VirtualClock()
    return InMemoryBrokerQueue(store=store, clock=clock), InMemoryBrokerQueue(store=store, clock=clock)


async def test_entries_come_oldest_first_and_each_once() -> None:
    queue = InMemoryBrokerQueue()
    await filled(queue, None, None, None)
    assert await numbers(queue, 2) == [1, 2]
    assert await numbers(queue) == [3]
    assert await numbers(queue) == []
    assert await queue.count() == 3


async def test_entry_is_what_was_put() -> None:
    queue = InMemoryBrokerQueue()
    origin = Origin("ORDERS", 7, "kitchen")
    await queue.put(frame("tea"), key="a", origin=origin)
    (entry,) = await queue.claim(1)
    assert entry.frame.body == b'"tea"'
    assert (entry.key, entry.origin, entry.delivered, entry.failed) == ("a", origin, 1, 0)


async def test_removed_entry_never_comes_again() -> None:
    queue = InMemoryBrokerQueue()
    await filled(queue, None, None)
    await queue.remove(await numbers(queue, 1))
    await queue.remove([1])
    assert await queue.count() == 1
    assert await numbers(queue) == [2]


async def test_message_that_waits_is_not_stored_again() -> None:
    queue = InMemoryBrokerQueue()
    one, origin = frame("tea"), Origin("ORDERS", 7, "kitchen")
    await queue.put(one)
    await queue.put(one)
    await queue.put(frame("soup"), origin=origin)
    await queue.put(frame("soup"), origin=origin)
    assert await queue.count() == 2
    await queue.remove(await numbers(queue))
    await queue.put(one)
    assert await queue.count() == 1


async def test_entry_waits_for_its_delay_and_so_do_the_later_ones_of_its_key() -> None:
    clock = VirtualClock()
    queue = InMemoryBrokerQueue(clock=clock)
    await filled(queue, "a", "a", "b")
    await numbers(queue)
    await queue.put_back(1, delay=10.0, failed=1)
    await queue.release([2, 3])
    assert await numbers(queue) == [3]
    await clock.advance(9.9)
    assert await numbers(queue) == []
    await clock.advance(0.1)
    first, second = await queue.claim(100)
    assert (first.number, first.delivered, first.failed) == (1, 2, 1)
    assert (second.number, second.delivered, second.failed) == (2, 1, 0)


async def test_one_queue_claims_all_of_a_key() -> None:
    one, other = pair()
    await filled(one, "a", "a", "b", None)
    assert await numbers(one, 1) == [1]
    assert await numbers(other) == [3, 4]
    assert await numbers(one) == [2]


async def test_key_is_free_again_when_its_claimed_entry_is_removed() -> None:
    one, other = pair()
    await filled(one, "a", "a")
    await numbers(one, 1)
    assert await numbers(other) == []
    await one.remove([1])
    assert await numbers(other) == [2]


async def test_claims_end_with_their_queue() -> None:
    """S03."""
    one, other = pair()
    await filled(one, "a", None)
    await numbers(one)
    await one.destroy()
    assert [(entry.number, entry.delivered) for entry in await other.claim(100)] == [(1, 2), (2, 2)]
    with pytest.raises(ClosedError):
        await one.claim(1)


async def test_claim_of_somebody_else_cannot_be_given_up() -> None:
    one, other = pair()
    await filled(one, None)
    await numbers(other)
    await one.put_back(1, delay=0.0, failed=5)
    await one.release([1])
    assert await numbers(one) == []


async def test_queues_of_different_names_share_nothing() -> None:
    store = InMemoryQueueStore()
    one, other = InMemoryBrokerQueue("one", store=store), InMemoryBrokerQueue("other", store=store)
    await filled(one, None)
    assert await other.count() == 0
    assert await one.count() == 1


async def test_who_waits_hears_what_another_queue_put() -> None:
    one, other = pair()
    waiting = asyncio.create_task(one.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    await filled(other, None)
    await waiting


async def test_who_waits_hears_when_a_delay_ends() -> None:
    clock = VirtualClock()
    one, other = pair(clock)
    await filled(one, None)
    await numbers(one)
    await one.put_back(1, delay=60.0, failed=0)
    waiting = asyncio.create_task(other.wait())
    await clock.advance(59)
    assert not waiting.done()
    await clock.advance(1)
    await waiting
    assert await numbers(other) == [1]


async def test_who_waits_hears_when_a_claimant_ends() -> None:
    one, other = pair()
    await filled(one, None)
    await numbers(one)
    waiting = asyncio.create_task(other.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    await one.destroy()
    await waiting


async def test_cancelled_wait_loses_nothing() -> None:
    queue = InMemoryBrokerQueue()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.wait(), 0.001)
    await filled(queue, None)
    await queue.wait()
    assert await numbers(queue) == [1]


async def test_transaction_is_refused() -> None:
    queue = InMemoryBrokerPublisherQueue()
    with pytest.raises(ValueError, match="'outbox' is in memory and has no transactions"):
        await queue.put(frame(1), transaction=object())
    assert await queue.count() == 0


def test_defaults_are_two_quick_retries_and_a_thousand_records() -> None:
    """C22."""
    for queue in (InMemoryBrokerQueue(), InMemoryBrokerPublisherQueue(), InMemoryBrokerSubscriberQueue(["a"])):
        assert (queue.retry, queue.records) == (2, 1000)
    queue = InMemoryBrokerPublisherQueue("mine", retry=0, records=7)
    assert (queue.name, queue.retry, queue.records) == ("mine", 0, 7)
    assert isinstance(queue, BrokerPublisherQueue)


def test_subscriber_queue_has_its_topics_once_and_at_least_one() -> None:
    """C14."""
    assert InMemoryBrokerSubscriberQueue(["a", "b", "b"]).topics == {"a", "b"}
    with pytest.raises(ValueError, match="at least one topic"):
        InMemoryBrokerSubscriberQueue([])


@pytest.mark.parametrize(("retry", "records"), [(-1, 1), (0, 0)])
def test_impossible_numbers_are_refused(retry: int, records: int) -> None:
    with pytest.raises(ValueError, match="is a number of"):
        InMemoryBrokerQueue(retry=retry, records=records)
