"""Resources that are set up once and destroyed once."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from callboard.errors import ClosedError

__all__ = ["Resource", "being_cancelled"]

_UNDOING: ContextVar[bool] = ContextVar("callboard_undoing_setup", default=False)
"""Whether a setup that failed is being undone: the parts of that resource are given back then, not closed for good."""


class Resource:
    """Something with `setup()` and `destroy()`, usable with `async with`, and set up at first use.

    Both are idempotent and safe to call from several tasks. After `destroy()` it stays closed: `setup()` raises
    `ClosedError`. When `_setup` fails or is cancelled, what it had acquired is given back through `_destroy` and
    the resource, with all the resources that it sets up, may be set up again.
    """

    def __init__(self) -> None:
        self._ready = False
        self._closed = False
        self._lifecycle = asyncio.Lock()

    def is_ready(self) -> bool:
        """Whether it is set up and not destroyed."""
        return self._ready

    async def setup(self) -> None:
        """Acquire what the resource needs. Does nothing when that has happened."""
        if self.is_ready():
            return
        async with self._lifecycle:
            if self._closed:
                raise ClosedError(type(self).__name__)
            if self.is_ready():  # another task was faster
                return
            try:
                await self._setup()
            except BaseException:
                await self._undo()
                raise
            self._ready = True

    async def _undo(self) -> None:
        token = _UNDOING.set(True)
        try:
            await self._destroy()
        finally:
            _UNDOING.reset(token)

    async def destroy(self) -> None:
        """Give everything back. Does nothing when that has happened."""
        async with self._lifecycle:
            if self._closed:
                return
            self._closed = not _UNDOING.get()
            if self._ready:
                self._ready = False
                await self._destroy()

    async def _setup(self) -> None:
        """What a subclass acquires."""

    async def _destroy(self) -> None:
        """What a subclass gives back; also called after a `_setup` that failed half-way."""

    async def __aenter__(self) -> Self:
        await self.setup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.destroy()


def being_cancelled() -> bool:
    """Whether somebody cancels the current task; a `CancelledError` without that is just an error of what it ran."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
