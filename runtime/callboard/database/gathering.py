"""Writes that share transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Gathering"]

T = TypeVar("T")

MOST = 500
"""Items in one transaction."""


class Gathering(Generic[T]):
    """Writes items in the order in which they come; while some are written, the next ones gather.

    `write` is called with one batch after another and raises when nothing of a batch was written.
    """

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, item: T) -> None:
        """Return when the item is written; raises what `write` raised. Cancelled in time, it is not written."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        await written

    async def close(self) -> None:
        """Return when everything that came is written, or has failed."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])

    async def _write_all(self) -> None:
        while self._waiting:
            batch = [(item, written) for item, written in self._waiting[:MOST] if not written.done()]
            del self._waiting[:MOST]
            error = await self._failure([item for item, _ in batch])
            for _, written in batch:
                if not written.done():
                    written.set_result(None) if error is None else written.set_exception(error)

    async def _failure(self, items: Sequence[T]) -> Exception | None:
        try:
            if items:
                await self._write(items)
        except Exception as error:  # noqa: BLE001 - handed to everybody who waits
            return error
        return None
