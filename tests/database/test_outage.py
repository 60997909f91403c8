"""A database that goes away and comes back."""

from __future__ import annotations

import asyncio
import logging

import pytest

from callboard.database import DatabaseBrokerQueue
from callboard.errors import DatabaseUnavailableError
from tests.database.order import bodies, claim, order, put
from tests.postgres import PostgresServer


async def test_queue_says_that_its_database_is_away_and_works_when_it_is_back(
    postgres: str, postgres_server: PostgresServer
) -> None:
    async with DatabaseBrokerQueue(postgres, "orders") as queue:
        await put(queue, 1, 2, 3)
        [first] = await queue.claim(1)
        await asyncio.to_thread(postgres_server.stop)
        for call in (queue.put(order(9)), queue.claim(1), queue.count()):
            with pytest.raises(DatabaseUnavailableError):
                await call
        await asyncio.to_thread(postgres_server.start)
        assert bodies(await claim(queue)) == [2, 3]
        await queue.remove([first.number])
        assert await queue.count() == 2


async def test_what_was_settled_while_the_database_was_away_is_settled_when_it_is_back(
    postgres: str, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with DatabaseBrokerQueue(postgres, "orders") as queue:
        await put(queue, 1, 2, 3, 4)
        first, second, third = await queue.claim(3)
        await asyncio.to_thread(postgres_server.stop)
        await queue.remove([first.number])
        await queue.put_back(second.number, delay=0.0, failed=2)
        await queue.release([third.number])
        await asyncio.to_thread(postgres_server.start)
        again = await claim(queue)
    assert bodies(again) == [2, 3, 4]
    assert [(entry.delivered, entry.failed) for entry in again] == [(2, 2), (1, 0), (1, 0)]
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1


async def test_settlements_are_written_without_being_asked_for_once_the_database_is_back(
    postgres: str,
    postgres_server: PostgresServer,
) -> None:
    async with DatabaseBrokerQueue(postgres, "orders") as queue:
        await put(queue, 1)
        [entry] = await queue.claim(1)
        await asyncio.to_thread(postgres_server.stop)
        await queue.remove([entry.number])
        await asyncio.to_thread(postgres_server.start)
        async with DatabaseBrokerQueue(postgres, "orders") as other, asyncio.timeout(15.0):
            while await other.count():
                await asyncio.sleep(0.05)


async def test_destroying_without_the_database_ends_and_says_what_is_unwritten(
    postgres: str, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    queue = DatabaseBrokerQueue(postgres, "orders")
    await put(queue, 1)
    [entry] = await queue.claim(1)
    await asyncio.to_thread(postgres_server.stop)
    await queue.remove([entry.number])
    async with asyncio.timeout(10.0):
        await queue.destroy()
    assert "stops with 1 settlements unwritten" in caplog.text


async def test_waiting_reports_that_the_database_is_away(postgres: str, postgres_server: PostgresServer) -> None:
    async with DatabaseBrokerQueue(postgres, "orders") as queue:
        assert await queue.claim(1) == []
        waiting = asyncio.ensure_future(claim(queue))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(postgres_server.stop)
        with pytest.raises(DatabaseUnavailableError):
            await waiting


async def test_what_was_put_is_there_after_the_server_crashed(postgres: str, postgres_server: PostgresServer) -> None:
    async with DatabaseBrokerQueue(postgres, "orders") as queue:
        await put(queue, *range(20))
        await asyncio.to_thread(postgres_server.kill)
        await asyncio.to_thread(postgres_server.start)
        assert bodies(await claim(queue, 100)) == list(range(20))
