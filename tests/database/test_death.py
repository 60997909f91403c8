"""What happens to claims whose process or connection dies."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.brokers.queue.queue import QueueEntry
from callboard.database import DatabaseBrokerQueue
from tests.database.order import bodies, claim, put

CLAIMER = Path(__file__).parent / "claimer.py"
AT_ONCE = 3.0
"""Seconds: a look every second, and a slow machine. Any lease would be longer."""


async def claimer(url: str, count: int) -> asyncio.subprocess.Process:
    """A process that has claimed `count` entries."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CLAIMER), url, str(count), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert int(await process.stdout.readline()) == count
    return process


async def test_claims_of_a_killed_process_are_free_at_once(url: str) -> None:
    """S03."""
    async with DatabaseBrokerQueue(url, "orders") as queue:
        await put(queue, 1, 2, 3, key="a")
        process = await claimer(url, 3)
        assert await queue.claim(10) == []
        waiting = asyncio.ensure_future(claim(queue, within=AT_ONCE))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        entries = await waiting
        assert bodies(entries) == [1, 2, 3]
        assert [entry.delivered for entry in entries] == [2, 2, 2]


async def test_claims_of_a_process_that_was_killed_long_ago_are_free(url: str) -> None:
    async with DatabaseBrokerQueue(url, "orders") as queue:
        await put(queue, 1)
        process = await claimer(url, 1)
        process.kill()
        await process.wait()
    async with DatabaseBrokerQueue(url, "orders") as queue:
        assert bodies(await claim(queue, within=AT_ONCE)) == [1]


async def test_claims_stay_with_their_process_when_its_connection_breaks(postgres: str) -> None:
    """Nobody gets twice what it still has."""
    async with DatabaseBrokerQueue(postgres, "orders") as queue, DatabaseBrokerQueue(postgres, "orders") as other:
        await put(queue, 1, 2, 3, key="a")
        entries = await queue.claim(2)
        await cut_connections(other)
        assert bodies(await claim(queue)) == [3]
        assert await other.claim(10) == []
        await queue.remove([entry.number for entry in entries])
        assert await queue.count() == 1


async def test_waiting_goes_on_when_its_connection_breaks(postgres: str) -> None:
    async with DatabaseBrokerQueue(postgres, "orders") as queue, DatabaseBrokerQueue(postgres, "orders") as other:
        assert await queue.claim(1) == []
        waiting = asyncio.ensure_future(claim(queue))
        await asyncio.sleep(0.05)
        await cut_connections(other)
        await put(other, 1)
        assert bodies(await waiting) == [1]


async def test_claim_whose_outcome_nobody_learned_is_free_again(postgres: str) -> None:
    async with DatabaseBrokerQueue(postgres, "orders") as queue, DatabaseBrokerQueue(postgres, "orders") as other:
        await put(queue, 1)
        [entry] = await queue.claim(1)
        forget(queue, entry)
        await cut_connections(other)
        assert bodies(await claim(queue, within=AT_ONCE)) == [1]


def forget(queue: DatabaseBrokerQueue, entry: QueueEntry) -> None:
    """As if the claim had committed and its answer had been lost."""
    queue._claimant.held.discard(entry.number)  # pyright: ignore[reportPrivateUsage]


async def cut_connections(queue: DatabaseBrokerQueue) -> None:
    """End every connection to the database except the one that asks for it."""

    async def cut(connection: AsyncConnection) -> None:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    await queue.database.write(cut)
