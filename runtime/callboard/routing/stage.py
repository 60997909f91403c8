"""Where handlers run."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from callboard.clock import SYSTEM_CLOCK, Clock

__all__ = ["OPEN_STAGE", "Stage", "is_async"]


class Stage:
    """The clock that handlers wait by, and threads for those that are plain functions.

    The threads are made when the first plain function comes: as many as `threads` says, so that none waits for
    another where there are as many slots. None stands for the event loop's own, which everybody shares.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK, *, threads: int | None = None) -> None:
        self.clock = clock
        self._size = threads
        self._threads: ThreadPoolExecutor | None = None

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of either kind: an async one here, a plain one in a thread."""
        if is_async(function):
            return await function(*arguments)
        return await self.in_thread(partial(function, *arguments))

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """Run `call` in a thread and carry back the context variables it set.

        A thread cannot be stopped: cancelling leaves it to end by itself, and nobody hears its result.
        """
        if self._threads is None and self._size is not None:
            self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="callboard")
        context = contextvars.copy_context()
        result = await asyncio.get_running_loop().run_in_executor(self._threads, context.run, call)
        for variable, value in context.items():
            if variable.get(_ABSENT) is not value:
                variable.set(value)
        return await result if inspect.isawaitable(result) else result

    def close(self) -> None:
        """Take no more calls; threads that still run are left to end by themselves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling gives something to await: an async function, or an object whose `__call__` is one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


_ABSENT: Any = object()

OPEN_STAGE = Stage()
"""For what runs outside of a handler loop."""
