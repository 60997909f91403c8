"""A SQLite file that several actors of a process share: what must survive a crash."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiosqlite
from attrs import field, frozen

__all__ = ["Store", "Value", "open_store"]

Value = str | int | float | None

BUSY_TIMEOUT = 30.0
"""Seconds that a write waits for another process, or another store, that writes to the same file."""


@frozen(eq=False)
class _Write:
    statement: str
    values: tuple[Value, ...]
    committed: asyncio.Future[None] = field(factory=lambda: asyncio.get_running_loop().create_future())


class Store:
    """Writes and reads with one connection.

    A write returns once it is on the disk; a handler that awaits it has its message acknowledged after that.
    Writes that wait at the same time share one transaction: with 64 messages in flight the disk is asked to
    flush once for all of them.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._writes: asyncio.Queue[_Write] = asyncio.Queue()
        self._transaction = asyncio.Lock()

    async def create(self, table: str) -> None:
        """Create a table unless it is there; `table` is what follows `CREATE TABLE IF NOT EXISTS`."""
        async with self._transaction:
            await self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
            await self._connection.commit()

    async def write(self, statement: str, *values: Value) -> None:
        """Run one statement and wait for its commit. A cancelled call leaves open whether it was written.

        Raises what SQLite says when it cannot be written; other writes do not suffer from that.
        """
        write = _Write(statement, values)
        self._writes.put_nowait(write)
        await write.committed

    async def read(self, statement: str, *values: Value) -> tuple[Any, ...]:
        """The first row of what is committed; empty when there is none."""
        async with self._transaction:
            rows = await self._connection.execute_fetchall(statement, values)
        return tuple(next(iter(rows), ()))

    async def keep_writing(self) -> None:
        """Commit what waits, again and again, until cancelled."""
        while True:
            writes = [await self._writes.get()]
            while not self._writes.empty():
                writes.append(self._writes.get_nowait())
            try:
                await self._commit(writes)
            except Exception:  # noqa: BLE001 - each writer hears of its own failure
                for write in writes:
                    await self._commit_alone(write)

    async def _commit_alone(self, write: _Write) -> None:
        try:
            await self._commit([write])
        except Exception as error:  # noqa: BLE001 - it goes to the writer
            if not write.committed.done():
                write.committed.set_exception(error)

    async def _commit(self, writes: list[_Write]) -> None:
        """All of these or none, in one transaction."""
        values: dict[str, list[tuple[Value, ...]]] = {}
        for write in writes:
            values.setdefault(write.statement, []).append(write.values)
        async with self._transaction:
            try:
                for statement, rows in values.items():
                    await self._connection.executemany(statement, rows)
                await self._connection.commit()
            except BaseException:
                await self._connection.rollback()
                raise
        for write in writes:
            if not write.committed.done():
                write.committed.set_result(None)


@asynccontextmanager
async def open_store(suffix: str = "") -> AsyncGenerator[Store]:
    """Open the file that `FLIGHTS_STORE` names (default: `flights.sqlite` in the current folder).

    A `suffix` such as `-desk` opens another file beside it: `flights-desk.sqlite`. Several processes may have
    a file open. What was written before a crash of the process, or of the machine, is there afterwards.
    """
    path = Path(os.environ.get("FLIGHTS_STORE", "flights.sqlite"))
    path = path.with_stem(path.stem + suffix)
    async with aiosqlite.connect(path, timeout=BUSY_TIMEOUT) as connection:
        await _use_write_ahead_log(connection)
        await connection.execute("PRAGMA synchronous = FULL")
        store = Store(connection)
        writer = asyncio.create_task(store.keep_writing())
        try:
            yield store
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer


async def _use_write_ahead_log(connection: aiosqlite.Connection) -> None:
    """SQLite gives up at once, timeout or not, when another process makes this switch at the same moment."""
    async with asyncio.timeout(BUSY_TIMEOUT):
        while True:
            try:
                await connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                await asyncio.sleep(0.01)
            else:
                return
