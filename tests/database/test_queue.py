"""What only queues in a database have."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from callboard.brokers.queue.publisher import BrokerPublisherQueue
from callboard.brokers.queue.queue import BrokerQueue, Origin
from callboard.brokers.queue.subscriber import BrokerSubscriberQueue
from callboard.brokers.wire import Frame
from callboard.database import DatabaseBrokerPublisherQueue, DatabaseBrokerQueue, DatabaseBrokerSubscriberQueue
from callboard.database.claim import take
from callboard.errors import ClosedError
from callboard.lifecycle import Resource
from tests.database.order import bodies, claim, order, put

MANY = 100_000


@pytest.fixture
def engine(url: str) -> AsyncEngine:
    return create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:").replace("ql:", "ql+asyncpg:"))


async def test_outbox_and_inbox_are_queues_with_names_of_their_own(url: str) -> None:
    """C22."""
    outbox = DatabaseBrokerPublisherQueue(url, retry=5)
    inbox = DatabaseBrokerSubscriberQueue(url, ["b", "a", "a"], records=10)
    assert isinstance(outbox, BrokerPublisherQueue)
    assert isinstance(inbox, BrokerSubscriberQueue)
    assert (outbox.name, outbox.retry, outbox.records) == ("outbox", 5, 1000)
    assert (inbox.name, inbox.retry, inbox.records, inbox.topics) == ("inbox", 2, 10, {"a", "b"})
    async with outbox, inbox:
        await put(outbox, 1)
        assert await inbox.claim(1) == []
        assert bodies(await claim(outbox)) == [1]


def test_inbox_without_topics_is_refused(url: str) -> None:
    """C14."""
    with pytest.raises(ValueError, match="at least one topic"):
        DatabaseBrokerSubscriberQueue(url, [])


async def test_at_most_so_many_records_are_claimed_at_once(url: str) -> None:
    """C22."""
    async with DatabaseBrokerQueue(url, "orders", records=2) as queue:
        await put(queue, 1, 2, 3)
        assert bodies(await queue.claim(10)) == [1, 2]


async def test_concurrent_puts_share_transactions(engine: AsyncEngine) -> None:
    async with DatabaseBrokerQueue(engine, "orders") as queue:
        commits = 0

        @event.listens_for(engine.sync_engine, "commit")
        def count(_connection: object) -> None:
            nonlocal commits
            commits += 1

        await asyncio.gather(*(queue.put(order(number)) for number in range(200)))
        assert await queue.count() == 200
        assert commits < 20
    await engine.dispose()


async def test_one_message_that_cannot_be_indexed_stops_no_other(url: str) -> None:
    """What other NATS clients send is stored whatever it looks like."""
    odd = [
        Frame("orders.a", {"Nats-Msg-Id": "x" * 100_000}, b"1"),
        Frame("orders.a", {"Nats-Msg-Id": "nul \0 id", "odd": "nul \0 \udcff"}, b"2"),
        Frame("orders.\0", {}, b""),
    ]
    async with DatabaseBrokerQueue(url, "orders") as queue:
        await asyncio.gather(*(queue.put(each) for each in odd))
        frames = [entry.frame for entry in await queue.claim(5)]
    assert frames[:2] == odd[:2]
    assert frames[2].body == b""


@pytest.mark.parametrize("key", ["nul \0", "\udcff", "x" * 1025])
async def test_key_that_not_every_database_can_keep_is_refused(url: str, key: str) -> None:
    async with DatabaseBrokerQueue(url, "orders") as queue:
        with pytest.raises(ValueError, match="a key is text without NUL"):
            await queue.put(order(1), key=key)


async def test_second_process_on_a_file_takes_over_when_the_first_ends(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('turn')}/q.db"
    first = DatabaseBrokerQueue(url, "orders")
    async with DatabaseBrokerQueue(url, "orders") as second:
        await put(first, 1, 2)
        assert bodies(await first.claim(1)) == [1]
        assert await second.claim(10) == []
        waiting = asyncio.ensure_future(claim(second, within=2.0))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await first.destroy()
        assert bodies(await waiting) == [1, 2]


async def test_queue_of_something_that_could_not_be_set_up_claims_again_when_it_can(url: str) -> None:
    class Shop(Resource):
        def __init__(self) -> None:
            super().__init__()
            self.queue = DatabaseBrokerQueue(url, "orders")
            self.trouble = True

        async def _setup(self) -> None:
            await self.queue.setup()
            await put(self.queue, 1)
            assert bodies(await self.queue.claim(1)) == [1]
            if self.trouble:
                raise KeyError

        async def _destroy(self) -> None:
            await self.queue.destroy()

    shop = Shop()
    with pytest.raises(KeyError):
        await shop.setup()
    async with DatabaseBrokerQueue(url, "orders") as other:
        [entry] = await claim(other)
        await other.remove([entry.number])
    shop.trouble = False
    async with shop, DatabaseBrokerQueue(url, "orders") as other:
        assert await other.claim(1) == []


async def test_engine_that_begins_transactions_by_itself_will_do(tmp_path: Path) -> None:
    """SQLAlchemy's own recipe for SQLite."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/q.db")

    @event.listens_for(engine.sync_engine, "connect")
    def leave_it_to_us(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    async with DatabaseBrokerQueue(engine, "orders") as queue, DatabaseBrokerQueue(engine, "orders") as other:
        assert await queue.claim(1) == []
        waiting = asyncio.ensure_future(claim(queue, within=3.0))
        await asyncio.sleep(0.3)
        await put(other, 1)
        assert bodies(await waiting) == [1]
        async with AsyncSession(engine) as session, session.begin():
            await queue.put(order(2), transaction=session)
        assert bodies(await claim(queue)) == [2]
    await engine.dispose()


async def test_who_waits_while_the_queue_is_destroyed_is_told(url: str) -> None:
    queue = DatabaseBrokerQueue(url, "orders")
    assert await queue.claim(1) == []
    waiting = asyncio.ensure_future(claim(queue))
    await asyncio.sleep(0.05)
    await queue.destroy()
    with pytest.raises(ClosedError):
        await waiting
    with pytest.raises(ClosedError):
        await queue.remove([1])


async def test_transaction_of_another_kind_of_database_is_refused(postgres: str) -> None:
    lite = create_async_engine("sqlite+aiosqlite:///:memory:")
    async with DatabaseBrokerQueue(postgres, "orders") as queue, lite.connect() as connection:
        with pytest.raises(ValueError, match="the transaction is one of sqlite"):
            await queue.put(order(1), transaction=connection)
    await lite.dispose()


async def test_rows_say_where_messages_come_from(engine: AsyncEngine) -> None:
    async with DatabaseBrokerQueue(engine, "orders") as queue:
        await queue.put(order(1, "a"), origin=Origin("ORDERS", 7, "svc"))
        async with engine.connect() as connection:
            row = await connection.execute(text("SELECT topic, message_id, stream, sequence FROM callboard_queue"))
            assert row.one() == ("orders.placed", "svc:ORDERS:7", "ORDERS", 7)
    await engine.dispose()


async def test_entry_does_not_come_while_its_claimant_has_later_ones_of_its_key(url: str) -> None:
    async with DatabaseBrokerQueue(url, "orders") as queue:
        await put(queue, 1, 2, key="a")
        first, second = await queue.claim(2)
        await queue.put_back(first.number, delay=0.0, failed=1)
        assert await queue.claim(2) == []
        await queue.release([second.number])
        assert bodies(await claim(queue)) == [1, 2]


async def test_what_a_cancelled_claim_took_comes_with_the_next_ones(url: str) -> None:
    async with DatabaseBrokerQueue(url, "orders") as queue:
        await put(queue, 1, 2, 3, 4, 5)
        claiming = asyncio.ensure_future(queue.claim(5))
        await asyncio.sleep(0)
        claiming.cancel()
        await asyncio.wait([claiming])
        assert [bodies(await queue.claim(2)) for _ in range(4)] == [[1, 2], [3, 4], [5], []]


async def test_what_another_claimant_takes_in_the_middle_of_a_claim_stays_with_it(postgres: str) -> None:
    async with DatabaseBrokerQueue(postgres, "orders") as other, DatabaseBrokerQueue(postgres, "orders") as queue:
        await put(queue, 1, 2, key="a")
        await put(queue, 3, key="b")
        taken: list[int] = []

        async def lock_late(_connection: AsyncConnection, heads: Collection[int]) -> Collection[int]:
            entries = await other.claim(2)
            taken.extend(bodies(entries))
            await other.put_back(entries[0].number, delay=0.0, failed=1)
            return heads

        got = await queue.database.write(
            lambda connection: take(connection, "orders", owner=1, count=10, lock=lock_late)
        )
        assert taken == [1, 2]
        assert bodies(got.entries) == [3]


KEYS = {"one key": "'k'", "a key each": "'k' || i", "no keys": "NULL"}
"""The key of entry `i`, in SQL."""


@pytest.mark.parametrize("keys", KEYS)
async def test_claiming_costs_the_same_however_many_wait(url: str, keys: str) -> None:
    few, many = DatabaseBrokerQueue(url, "few"), DatabaseBrokerQueue(url, "many")
    async with few, many:
        await fill(few, 1000, KEYS[keys])
        short = await seconds(few)
        await fill(many, MANY, KEYS[keys])
        assert await seconds(many) < 5 * short


async def test_claiming_costs_the_same_however_many_are_held_back(url: str) -> None:
    few, many = DatabaseBrokerQueue(url, "few"), DatabaseBrokerQueue(url, "many")
    async with few, many:
        await fill_behind_delayed(few, 1000)
        short = await seconds(few)
        await fill_behind_delayed(many, MANY)
        assert await seconds(many) < 5 * short


async def fill_behind_delayed(queue: DatabaseBrokerQueue, count: int) -> None:
    """`count` entries that are held back, and behind them 1000 that are free."""
    await fill(queue, count, KEYS["one key"])
    await fill(queue, 1000, KEYS["a key each"])
    [head] = await queue.claim(1)
    await queue.put_back(head.number, delay=1000.0, failed=1)


async def fill(queue: DatabaseBrokerQueue, count: int, key: str) -> None:
    """Put many entries, faster than by putting them."""
    lite = queue.database.dialect == "sqlite"
    series = (
        "WITH RECURSIVE series(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < :count)" if lite else ""
    )
    source = "series" if lite else "generate_series(1, :count) AS series(i)"
    body = "zeroblob(10)" if lite else "decode(repeat('00', 10), 'hex')"
    columns = f"'{queue.name}', {key}, 't', '{{}}', {body}, 0, 0, 0"
    into = "INSERT INTO callboard_queue (queue, key, topic, headers, body, delivered, failed, put_at)"

    async def insert(connection: AsyncConnection) -> None:
        await connection.execute(text(f"{into} {series} SELECT {columns} FROM {source}"), {"count": count})  # noqa: S608

    await queue.database.write(insert)


async def seconds(queue: BrokerQueue) -> float:
    """Time of the fastest of some claims of 100 entries."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    for _ in range(6):
        begin = loop.time()
        assert len(await queue.claim(100)) == 100
        times.append(loop.time() - begin)
    return min(times)
