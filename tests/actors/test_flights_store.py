"""The file in which the actors keep what must survive."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from actors.store import Store, open_store

TALLY = "tally (name TEXT PRIMARY KEY, times INTEGER NOT NULL)"
COUNT = "INSERT INTO tally VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET times = times + 1"


async def times(store: Store, name: str) -> int:
    found = await store.read("SELECT times FROM tally WHERE name = ?", name)
    return int(found[0]) if found else 0


async def test_a_write_has_reached_the_file_when_it_returns(store_path: Path) -> None:
    async with open_store() as store:
        await store.create(TALLY)
        await store.write(COUNT, "a")
        other = sqlite3.connect(store_path)
        try:
            assert other.execute("SELECT * FROM tally").fetchall() == [("a", 1)]
        finally:
            other.close()


async def test_writes_of_many_handlers_at_once_are_all_there(store_path: Path) -> None:
    async with open_store() as store:
        await store.create(TALLY)
        await asyncio.gather(*(store.write(COUNT, f"name {n % 10}") for n in range(1_000)))
        assert [await times(store, f"name {n}") for n in range(10)] == [100] * 10


async def test_a_write_that_cannot_be_made_fails_alone(store_path: Path) -> None:
    async with open_store() as store:
        await store.create(TALLY)
        good, too_big, nothing, also_good = await asyncio.gather(
            store.write(COUNT, "a"),
            store.write(COUNT, 2**64),
            store.write("INSERT INTO tally VALUES (?, NULL)", "c"),
            store.write(COUNT, "a"),
            return_exceptions=True,
        )
        assert (good, also_good) == (None, None)
        assert isinstance(too_big, OverflowError)
        assert isinstance(nothing, sqlite3.IntegrityError)
        assert await times(store, "a") == 2


async def test_a_cancelled_write_does_not_disturb_the_next_one(store_path: Path) -> None:
    async with open_store() as store:
        await store.create(TALLY)
        cancelled = asyncio.create_task(store.write(COUNT, "a"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await store.write(COUNT, "b")
        assert await times(store, "b") == 1


async def test_what_was_written_is_there_when_the_file_is_opened_again(store_path: Path) -> None:
    async with open_store() as store:
        await store.create(TALLY)
        await store.write(COUNT, "a")
    async with open_store() as store:
        await store.create(TALLY)
        assert await times(store, "a") == 1


async def test_two_stores_write_to_one_file_at_the_same_time(store_path: Path) -> None:
    async with open_store() as one, open_store() as other:
        await one.create(TALLY)
        writes = [store.write(COUNT, "a") for _ in range(100) for store in (one, other)]
        await asyncio.gather(*writes)
        assert await times(one, "a") == await times(other, "a") == 200


async def test_reading_finds_nothing_as_an_empty_row(store_path: Path) -> None:
    async with open_store() as store:
        await store.create(TALLY)
        assert await store.read("SELECT * FROM tally") == ()
