"""What whoever puts messages into a queue, or claims them, may rely on."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from callboard.brokers.queue.memory import InMemoryBrokerQueue, InMemoryQueueStore
from callboard.brokers.queue.queue import BrokerQueue, Origin, QueueEntry
from callboard.brokers.wire import Frame
from callboard.database import DatabaseBrokerQueue
from callboard.errors import ClosedError, InvalidArgumentError

Open: TypeAlias = Callable[[], BrokerQueue]

PROMPT = 0.9
"""Seconds within which a queue notices; the contract says a fraction of a second."""


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database; nothing for queues in memory."""
    if backend == "postgresql":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path}/queue.db" if backend == "sqlite" else ""


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def make(url: str) -> Open:
    """Makes queues of one name on one store."""
    if url:
        return lambda: DatabaseBrokerQueue(url, "orders")
    store = InMemoryQueueStore()
    return lambda: InMemoryBrokerQueue("orders", store=store)


@pytest.fixture
async def queue(make: Open, stack: AsyncExitStack) -> BrokerQueue:
    return await stack.enter_async_context(make())


def frame(number: int, identifier: str | None = None) -> Frame:
    return Frame("orders.placed", {"Nats-Msg-Id": identifier} if identifier else {}, b"%d" % number)


def bodies(entries: list[QueueEntry]) -> list[int]:
    return [int(entry.frame.body) for entry in entries]


async def put(queue: BrokerQueue, *numbers: int, key: str | None = None) -> None:
    for number in numbers:
        await queue.put(frame(number), key=key)


async def claim(queue: BrokerQueue, count: int = 10) -> list[QueueEntry]:
    """The next entries, as soon as there are some."""
    async with asyncio.timeout(10.0):
        while not (entries := await queue.claim(count)):
            await queue.wait()
    return entries


async def test_entries_come_in_the_order_in_which_they_were_put(queue: BrokerQueue) -> None:
    await put(queue, 1, 2, 3)
    assert bodies(await queue.claim(2)) == [1, 2]
    assert bodies(await queue.claim(2)) == [3]
    assert await queue.claim(2) == []


async def test_entry_shows_what_was_put(queue: BrokerQueue) -> None:
    origin = Origin("ORDERS", 7, "svc-orders")
    sent = Frame("orders.placed", {"Nats-Msg-Id": "a", "user": "Zoë \N{SNOWMAN}", "empty": ""}, bytes(range(256)))
    await queue.put(sent, key="k\N{SNOWMAN}", origin=origin)
    [entry] = await queue.claim(1)
    assert (entry.frame, entry.key, entry.origin) == (sent, "k\N{SNOWMAN}", origin)
    assert (entry.delivered, entry.failed) == (1, 0)


async def test_claimed_entry_is_nobody_elses(make: Open, queue: BrokerQueue, stack: AsyncExitStack) -> None:
    other = await stack.enter_async_context(make())
    await put(queue, 1)
    assert bodies(await queue.claim(5)) == [1]
    assert await other.claim(5) == []
    assert await queue.claim(5) == []


async def test_removed_entry_never_comes_again(make: Open, queue: BrokerQueue, stack: AsyncExitStack) -> None:
    await put(queue, 1, 2)
    first, _second = await queue.claim(2)
    await queue.remove([first.number])
    assert await queue.count() == 1
    await queue.destroy()
    later = await stack.enter_async_context(make())
    assert bodies(await claim(later)) == [2]


async def test_number_of_a_removed_entry_is_not_given_again(queue: BrokerQueue) -> None:
    await put(queue, 1)
    [first] = await queue.claim(1)
    await queue.remove([first.number])
    assert await queue.count() == 0
    await put(queue, 2)
    [second] = await claim(queue)
    assert second.number > first.number


async def test_entries_with_keys_are_claimed_together_in_order(queue: BrokerQueue) -> None:
    await put(queue, 1, 2, key="a")
    await put(queue, 3)
    await put(queue, 4, key="a")
    assert bodies(await queue.claim(10)) == [1, 2, 3, 4]


async def test_entry_that_was_put_back_with_a_delay_holds_later_ones_of_its_key_back(queue: BrokerQueue) -> None:
    await put(queue, 1, 2, key="a")
    await put(queue, 3, key="b")
    await put(queue, 4)
    [first] = await queue.claim(1)
    await queue.put_back(first.number, delay=0.3, failed=1)
    assert bodies(await queue.claim(10)) == [3, 4]
    again = await claim(queue)
    assert bodies(again) == [1, 2]
    assert [(entry.delivered, entry.failed) for entry in again] == [(2, 1), (1, 0)]


async def test_empty_key_is_a_key_like_others(queue: BrokerQueue) -> None:
    await put(queue, 1, 2, key="")
    [first] = await queue.claim(1)
    await queue.put_back(first.number, delay=60.0, failed=1)
    assert await queue.claim(10) == []


async def test_delayed_entry_without_key_holds_nothing_back(queue: BrokerQueue) -> None:
    await put(queue, 1, 2)
    [first] = await queue.claim(1)
    await queue.put_back(first.number, delay=60.0, failed=1)
    assert bodies(await queue.claim(10)) == [2]


async def test_entry_that_was_put_back_without_delay_is_first_again(queue: BrokerQueue) -> None:
    await put(queue, 1, 2)
    [first] = await queue.claim(1)
    await queue.put_back(first.number, delay=0.0, failed=3)
    [again, _next] = await claim(queue, 2)
    assert (bodies([again]), again.delivered, again.failed) == ([1], 2, 3)


async def test_released_entry_counts_as_never_claimed(make: Open, queue: BrokerQueue, stack: AsyncExitStack) -> None:
    await put(queue, 1, 2)
    entries = await queue.claim(2)
    await queue.release([entry.number for entry in entries])
    again = await claim(queue, 2)
    assert (bodies(again), [entry.delivered for entry in again]) == ([1, 2], [1, 1])


async def test_key_stays_with_its_claimant_until_it_is_settled(
    make: Open, queue: BrokerQueue, backend: str, stack: AsyncExitStack
) -> None:
    other = await stack.enter_async_context(make())
    await put(queue, 1, key="a")
    [first] = await queue.claim(1)
    await put(queue, 2, key="a")
    await put(queue, 3, key="b")
    if backend != "sqlite":  # where one claims at a time
        assert bodies(await other.claim(10)) == [3]
    await queue.remove([first.number])
    assert bodies(await claim(queue, 1)) == [2]


async def test_more_of_a_key_come_to_who_has_its_first(queue: BrokerQueue) -> None:
    await put(queue, 1, 2, 3, key="a")
    assert [bodies(await queue.claim(1)) for _ in range(3)] == [[1], [2], [3]]


async def test_competing_claimants_share_everything_and_each_key_in_order(
    make: Open, queue: BrokerQueue, backend: str, stack: AsyncExitStack
) -> None:
    for number in range(120):
        await put(queue, number, key=None if number % 6 == 5 else f"key {number % 6}")
    seen: list[int] = []
    by_key: defaultdict[str | None, list[int]] = defaultdict(list)

    async def consume(mine: BrokerQueue) -> None:
        while len(seen) < 120:
            entries = await mine.claim(7)
            for entry in entries:
                seen.extend(bodies([entry]))
                by_key[entry.key].extend(bodies([entry]))
                await asyncio.sleep(0)
            await mine.remove([entry.number for entry in entries])
            if not entries:
                await asyncio.wait([asyncio.ensure_future(mine.wait())], timeout=0.1)

    others = [await stack.enter_async_context(make()) for _ in range(2)]
    async with asyncio.timeout(30.0):
        await asyncio.gather(*(consume(each) for each in (queue, *others)))
    assert sorted(seen) == list(range(120))
    assert all(numbers == sorted(numbers) for key, numbers in by_key.items() if key is not None)


async def test_claims_end_with_their_claimant(make: Open, queue: BrokerQueue, stack: AsyncExitStack) -> None:
    first = make()
    await put(queue, 1, 2)
    async with first:
        assert bodies(await claim(first, 2)) == [1, 2]
    async with asyncio.timeout(PROMPT):
        assert bodies(await claim(queue, 2)) == [1, 2]


async def test_entry_whose_claim_was_lost_can_still_be_removed(
    make: Open, queue: BrokerQueue, stack: AsyncExitStack
) -> None:
    first = make()
    await put(queue, 1)
    async with first:
        [lost] = await claim(first, 1)
    [again] = await claim(queue, 1)
    third = await stack.enter_async_context(make())
    await third.remove([lost.number])
    assert again.number == lost.number
    assert await third.count() == 0


async def test_settling_what_somebody_else_has_claimed_changes_nothing(
    make: Open, queue: BrokerQueue, stack: AsyncExitStack
) -> None:
    other = await stack.enter_async_context(make())
    await put(queue, 1)
    [entry] = await queue.claim(1)
    await other.put_back(entry.number, delay=0.0, failed=9)
    await other.release([entry.number])
    assert await queue.claim(1) == []
    assert await other.claim(1) == []


async def test_message_that_waits_already_is_stored_once(queue: BrokerQueue) -> None:
    await asyncio.gather(*(queue.put(frame(number, "same")) for number in range(5)))
    await queue.put(frame(5, "same"))
    await queue.put(frame(6, "other"))
    [entry] = await queue.claim(1)
    await queue.put(frame(7, "same"))
    assert await queue.count() == 2
    await queue.remove([entry.number])
    await queue.put(frame(8, "same"))
    assert bodies(await claim(queue)) == [6, 8]


async def test_message_of_the_same_origin_is_stored_once(queue: BrokerQueue) -> None:
    origins = [Origin("ORDERS", 1, "a"), Origin("ORDERS", 1, "a"), Origin("ORDERS", 1, "b"), Origin("ORDERS", 2, "a")]
    for number, origin in enumerate(origins):
        await queue.put(frame(number), origin=origin)
    assert bodies(await queue.claim(10)) == [0, 2, 3]


async def test_messages_without_identifier_are_all_stored(queue: BrokerQueue) -> None:
    await put(queue, 1, 1, 1)
    assert await queue.count() == 3


async def test_concurrent_puts_of_one_task_order_are_claimed_in_that_order(queue: BrokerQueue) -> None:
    await asyncio.gather(*(queue.put(frame(number), key="a") for number in range(50)))
    assert bodies(await queue.claim(100)) == list(range(50))


async def test_wait_returns_at_once_when_something_is_there(queue: BrokerQueue) -> None:
    await put(queue, 1)
    async with asyncio.timeout(PROMPT):
        await queue.wait()


async def test_wait_returns_when_something_is_put(queue: BrokerQueue) -> None:
    assert await queue.claim(1) == []
    waiting = asyncio.ensure_future(claim(queue))
    await asyncio.sleep(0.05)
    await put(queue, 1)
    assert bodies(await asyncio.wait_for(waiting, PROMPT)) == [1]


async def test_wait_returns_when_another_queue_object_puts(
    make: Open, queue: BrokerQueue, stack: AsyncExitStack
) -> None:
    other = await stack.enter_async_context(make())
    assert await queue.claim(1) == []
    waiting = asyncio.ensure_future(claim(queue))
    await asyncio.sleep(0.05)
    await put(other, 1)
    assert bodies(await asyncio.wait_for(waiting, PROMPT)) == [1]


async def test_what_is_put_between_claiming_and_waiting_is_not_missed(
    make: Open, queue: BrokerQueue, stack: AsyncExitStack
) -> None:
    other = await stack.enter_async_context(make())
    for number in range(3):
        assert await queue.claim(1) == []
        await put(other, number)
        await asyncio.wait_for(queue.wait(), PROMPT)
        [entry] = await queue.claim(1)
        await queue.remove([entry.number])


async def test_what_is_put_before_a_cancelled_wait_is_not_missed(
    make: Open, queue: BrokerQueue, stack: AsyncExitStack
) -> None:
    other = await stack.enter_async_context(make())
    for number in range(10):
        assert await queue.claim(1) == []
        await put(other, number)
        waiting = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0.001 * number)
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.wait_for(queue.wait(), PROMPT)
        [entry] = await queue.claim(1)
        await queue.remove([entry.number])


async def test_wait_does_not_return_again_and_again_for_what_is_held_back(queue: BrokerQueue) -> None:
    await put(queue, 1, 2, key="a")
    [first] = await queue.claim(1)
    await queue.put_back(first.number, delay=30.0, failed=1)
    times = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while True:
                await queue.wait()
                assert await queue.claim(1) == []
                times += 1
    assert times < 8


async def test_wait_returns_when_a_delayed_entry_comes_due(queue: BrokerQueue) -> None:
    await put(queue, 1)
    [entry] = await queue.claim(1)
    begin = asyncio.get_running_loop().time()  # before: storing it takes time too
    await queue.put_back(entry.number, delay=0.3, failed=1)
    assert bodies(await claim(queue)) == [1]
    assert 0.25 < asyncio.get_running_loop().time() - begin < 0.3 + PROMPT


async def test_wait_returns_when_what_held_a_key_back_is_removed(queue: BrokerQueue) -> None:
    await put(queue, 1, 2, key="a")
    [first] = await queue.claim(1)
    await queue.put_back(first.number, delay=30.0, failed=1)
    assert await queue.claim(1) == []
    waiting = asyncio.ensure_future(claim(queue))
    await asyncio.sleep(0.05)
    await queue.remove([first.number])
    assert bodies(await asyncio.wait_for(waiting, PROMPT)) == [2]


async def test_cancelled_wait_and_claim_lose_nothing(queue: BrokerQueue) -> None:
    await put(queue, *range(20))
    got: list[int] = []
    for turn in range(12):
        claiming = asyncio.ensure_future(queue.claim(2))
        waiting = asyncio.ensure_future(queue.wait())
        for _ in range(turn):
            await asyncio.sleep(0.001)
        claiming.cancel()
        waiting.cancel()
        await asyncio.wait([claiming, waiting])
        if not claiming.cancelled():
            got += bodies(claiming.result())
    while entries := await queue.claim(3):
        assert len(entries) <= 3
        got += bodies(entries)
    assert got == list(range(20))


async def test_queues_of_other_names_are_apart(make: Open, queue: BrokerQueue, url: str, stack: AsyncExitStack) -> None:
    if isinstance(queue, InMemoryBrokerQueue):
        other: BrokerQueue = InMemoryBrokerQueue("other", store=queue.store)
    else:
        other = DatabaseBrokerQueue(url, "other")
    await stack.enter_async_context(other)
    await queue.put(frame(1, "same"), key="a")
    await other.put(frame(2, "same"), key="a")
    assert bodies(await queue.claim(5)) == [1]
    assert bodies(await other.claim(5)) == [2]


async def test_queue_sets_itself_up_and_stays_closed(make: Open) -> None:
    queue = make()
    await put(queue, 1)
    assert bodies(await queue.claim(1)) == [1]
    await queue.destroy()
    with pytest.raises(ClosedError):
        await put(queue, 2)


async def test_defaults_are_two_quick_retries_and_a_thousand_records(make: Open) -> None:
    """C22."""
    queue = make()
    assert (queue.retry, queue.records) == (2, 1000)
    await queue.destroy()


@pytest.mark.parametrize("wrong", [{"retry": -1}, {"records": 0}])
def test_impossible_bounds_are_refused(wrong: dict[str, int], url: str) -> None:
    """C22."""
    bounds = {"retry": 2, "records": 1000} | wrong
    with pytest.raises(ValueError, match="number of"):
        (partial(DatabaseBrokerQueue, url) if url else InMemoryBrokerQueue)(
            "x", retry=bounds["retry"], records=bounds["records"]
        )


@pytest.fixture
def database(backend: str, url: str) -> str:
    if backend == "memory":
        pytest.skip("queues in memory have no transactions")
    return url.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:")


async def test_put_in_a_transaction_is_there_when_it_commits(queue: BrokerQueue, database: str) -> None:
    engine = create_async_engine(database)
    assert await queue.claim(1) == []
    waiting = asyncio.ensure_future(claim(queue))
    async with engine.connect() as connection, connection.begin():
        await queue.put(frame(1), transaction=connection)
        await queue.put(frame(2), transaction=connection)
        assert await queue.count() == 0
        await asyncio.sleep(0.3)
        assert not waiting.done()
    assert bodies(await asyncio.wait_for(waiting, PROMPT)) == [1, 2]
    await engine.dispose()


async def test_put_in_a_transaction_was_never_there_when_it_rolls_back(queue: BrokerQueue, database: str) -> None:
    engine = create_async_engine(database)
    async with AsyncSession(engine) as session:
        await session.begin()
        await queue.put(frame(1, "same"), transaction=session)
        await session.rollback()
    await queue.put(frame(2, "same"))
    assert bodies(await claim(queue)) == [2]
    await engine.dispose()


async def test_put_in_a_transaction_that_has_written_does_not_wait_for_what_is_settled(
    queue: BrokerQueue, database: str
) -> None:
    engine = create_async_engine(database)
    await put(queue, 1)
    [entry] = await queue.claim(1)
    async with asyncio.timeout(4.0), engine.connect() as connection, connection.begin():
        await connection.execute(text("CREATE TABLE business (data INTEGER)"))
        await connection.execute(text("INSERT INTO business VALUES (1)"))
        await queue.remove([entry.number])
        await queue.put(frame(2), transaction=connection)
    assert bodies(await claim(queue)) == [2]
    await engine.dispose()


async def test_something_that_is_no_transaction_is_refused(queue: BrokerQueue, database: str) -> None:
    with pytest.raises(InvalidArgumentError, match="AsyncSession or AsyncConnection"):
        await queue.put(frame(1), transaction=object())
