"""Who claims: one for each queue object, from its first claim to its end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.database.claim import Claim, Look
from callboard.database.database import Database
from callboard.database.schema import QUEUE, among, numbers
from callboard.errors import ClosedError, DatabaseUnavailableError

__all__ = ["Claimant"]

_GIVE_UP = update(QUEUE).where(among(QUEUE.c.owner, numbers("owners"))).values(owner=None)


class Claimant(ABC):
    """Claims entries of one queue under numbers of its own, which mean nothing once its process has died.

    Its methods raise `DatabaseUnavailableError`, after which it can be used again, and `ClosedError` while it is
    closed. They are not cancelled. One of them runs at a time.
    """

    pace: float
    """Seconds between two looks of somebody who waits."""

    def __init__(self, database: Database, queue: str, *, wake: Callable[[], None]) -> None:
        self.database = database
        self.queue = queue
        self.owners: set[int] = set()
        """All numbers under which this one has ever claimed."""
        self.held: set[int] = set()
        """Entries that were claimed and not settled."""
        self._wake = wake
        self._claimed = float("-inf")
        """When it last claimed."""
        self._open = False
        self._one = asyncio.Lock()

    async def claim(self, count: int) -> Claim:
        """Claim up to `count` entries; none when it is another one's turn."""
        async with self._alone():
            claim = await self._claim(count)
            self._claimed = asyncio.get_running_loop().time()
            self.held.update(entry.number for entry in claim.entries)
            return claim

    async def look(self) -> Look:
        """What is new since the last look."""
        async with self._alone():
            return await self._look()

    def open(self) -> None:
        """From now on it may be used. What it needs it takes at its first claim or look."""
        self._open = True

    async def close(self) -> None:
        """Give up what it has. A database that is away is no error: the claims end by themselves."""
        self._open = False
        async with self._one:
            try:
                if self.owners and self.database.is_ready():
                    await self.database.write(self._give_up)
            except DatabaseUnavailableError:
                pass
            finally:
                self.held.clear()
                await self._close()

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        async with self._one:
            if not self._open:
                raise ClosedError(f"queue {self.queue!r}")
            yield

    def _later(self, look: Look) -> Look:
        """What a claim has just left is held back: it is worth another one after a while only."""
        fresh = asyncio.get_running_loop().time() - self._claimed < self.pace
        return Look(ready=look.ready and not fresh, wait=look.wait)

    async def _give_up(self, connection: AsyncConnection) -> None:
        await connection.execute(_GIVE_UP, {"owners": self.owners})

    @abstractmethod
    async def _claim(self, count: int) -> Claim: ...

    @abstractmethod
    async def _look(self) -> Look: ...

    @abstractmethod
    async def _close(self) -> None:
        """Let go of connections and locks."""
