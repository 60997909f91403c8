"""Claiming on SQLite: one claimant at a time for each queue of a file."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout
from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.database.claim import Claim, Look, look, take
from callboard.database.claimant import Claimant
from callboard.database.database import Database
from callboard.database.schema import QUEUE, among, numbers

__all__ = ["SqliteClaimant"]

LOOK_EVERY = 0.2
"""Seconds between two looks whether anybody has committed."""

_CLEAR = (
    update(QUEUE)
    .where(QUEUE.c.queue == bindparam("name"), QUEUE.c.owner.is_not(None), ~among(QUEUE.c.number, numbers("held")))
    .values(owner=None)
)


class SqliteClaimant(Claimant):
    """Claims while it has the turn: a lock on a file beside the database, which ends with its process.

    A database in memory belongs to one process, whose claimants need no turns.
    """

    pace = LOOK_EVERY

    def __init__(self, database: Database, queue: str, *, wake: Callable[[], None]) -> None:
        super().__init__(database, queue, wake=wake)
        self._number = secrets.randbits(63)
        self.owners.add(self._number)
        self._turn: FileLock | None = None
        if database.file is not None:
            self._turn = FileLock(_lock_file(database.file, queue), thread_local=False)
        self._clear = self._turn is None
        """Nothing is claimed except what is held."""
        self._watcher: AsyncConnection | None = None
        self._seen: tuple[int, float] | None = None
        """State of the file at the last look, and when the next entry is due."""

    async def _claim(self, count: int) -> Claim:
        if not await self._has_turn():
            return Claim((), more=False)
        try:
            return await self.database.write(
                lambda connection: take(connection, self.queue, owner=self._number, count=count, lock=_no_lock)
            )
        except BaseException:
            self._clear = self._turn is None  # it may have committed without our learning of it
            raise

    async def _look(self) -> Look:
        if not await self._has_turn():
            return Look(ready=False, wait=float("inf"))
        if self.database.file is None:
            return self._later(await self._see())
        version = await self._version()
        time = asyncio.get_running_loop().time()
        if self._seen is not None and self._seen[0] == version:
            return Look(ready=False, wait=self._seen[1] - time)
        seen = await self._see()
        self._seen = (version, time + seen.wait)
        return seen

    async def _see(self) -> Look:
        return await self.database.read(lambda connection: look(connection, self.queue))

    async def _has_turn(self) -> bool:
        if not self._clear:
            if not self._take_turn():
                return False
            await self.database.write(self._clear_others)
            self._clear = True
        return True

    def _take_turn(self) -> bool:
        if self._turn is None or self._turn.is_locked:
            return True
        with self.database.trouble():
            try:
                self._turn.acquire(blocking=False)
            except Timeout:
                return False
        return True

    async def _clear_others(self, connection: AsyncConnection) -> None:
        """Free what an earlier claimant had: it has ended, or we had no turn."""
        await connection.execute(_CLEAR, {"name": self.queue, "held": self.held})

    async def _version(self) -> int:
        """A number that is another one after each commit, of whatever process."""
        try:
            with self.database.trouble():
                if self._watcher is None:
                    self._watcher, _ = await self.database.session()
                version = (await self._watcher.exec_driver_sql("PRAGMA data_version")).scalar_one()
                await self._watcher.rollback()  # some engines begin a transaction, in which nothing would change
                return int(version)
        except BaseException:
            await self._stop_watching()
            raise

    async def _stop_watching(self) -> None:
        watcher, self._watcher, self._seen = self._watcher, None, None
        if watcher is not None:
            await watcher.close()

    async def _close(self) -> None:
        await self._stop_watching()
        if self._turn is not None:
            self._clear = False
            self._turn.release(force=True)


async def _no_lock(_connection: AsyncConnection, heads: Collection[int]) -> Collection[int]:
    """Nobody else is claiming: the transaction is the only one that writes."""
    return heads


def _lock_file(database: Path, queue: str) -> Path:
    return database.with_name(f"{database.name}.{quote(queue, safe='')}.lock")
