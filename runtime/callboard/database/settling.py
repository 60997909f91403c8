"""What becomes of claimed entries, on record until the database has it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen

from callboard.backoff import Backoff
from callboard.errors import DatabaseUnavailableError

__all__ = ["PutBack", "Released", "Removed", "Settlement", "Settling"]

logger = logging.getLogger("callboard.database")

MOST = 1000
"""Settlements in one transaction."""
BACKOFF = Backoff(base=0.1, factor=2.0, maximum=5.0)


@frozen
class Removed:
    """Handled: forget it."""

    number: int


@frozen
class Released:
    """Nobody has begun it: that it was claimed does not count."""

    number: int


@frozen
class PutBack:
    """To be claimed again, from `due` on by the event loop's clock."""

    number: int
    due: float
    failed: int


Settlement = Removed | Released | PutBack


class Settling:
    """Writes settlements in the background, several in a transaction, and again until they are written.

    `write` raises `DatabaseUnavailableError` when nothing of a batch was written.
    """

    def __init__(self, queue: str, write: Callable[[Sequence[Settlement]], Awaitable[None]]) -> None:
        self._queue = queue
        self._write = write
        self._waiting: list[Settlement] = []
        self._writing: asyncio.Task[None] | None = None
        self._asked: list[asyncio.Future[None]] = []
        self._hurry = asyncio.Event()

    def add(self, settlements: Sequence[Settlement]) -> None:
        """From now on these are on record."""
        self._waiting.extend(settlements)
        if self._waiting and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_all())

    async def flush(self) -> None:
        """Return when everything on record is written. Raises `DatabaseUnavailableError` when that fails; it stays
        on record and is tried again."""
        if self._waiting:
            asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._asked.append(asked)
            self._hurry.set()
            await asked

    async def close(self) -> None:
        """Write what is on record, or say that it could not be written and give it up: others will claim it."""
        try:
            await self.flush()
        except DatabaseUnavailableError as error:
            logger.error(  # noqa: TRY400 - the reason is the whole story
                "queue %r stops with %d settlements unwritten, so these entries come again: %s",
                self._queue,
                len(self._waiting),
                error,
            )
            self._waiting.clear()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    async def _write_all(self) -> None:
        tries = 0
        while self._waiting:
            self._hurry.clear()
            batch = self._waiting[:MOST]
            try:
                await self._write(batch)
            except Exception as error:  # noqa: BLE001 - handed to who asks; what is on record stays there
                tries += 1
                self._report(error, first=tries == 1)
                await self._pause(BACKOFF.delay(tries))
            else:
                tries = 0
                del self._waiting[: len(batch)]
        self._answer(None)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try, but not while somebody waits for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    def _report(self, error: Exception, *, first: bool) -> None:
        if first:
            logger.warning("queue %r keeps %d settlements for later: %s", self._queue, len(self._waiting), error)
        self._answer(error)

    def _answer(self, error: Exception | None) -> None:
        asked, self._asked = self._asked, []
        for one in asked:
            if not one.done():
                one.set_result(None) if error is None else one.set_exception(error)
