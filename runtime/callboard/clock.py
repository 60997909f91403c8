"""Time, real or virtual.

What waits for time to pass asks a clock, so that a test can let an hour pass in a millisecond.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock", "Timer", "VirtualClock", "let_tasks_run"]


class Timer(Protocol):
    """A callback that is still to come."""

    def cancel(self) -> None:
        """Never call it. Idempotent."""


class Clock(Protocol):
    """Where the time comes from."""

    def time(self) -> float:
        """Seconds since some moment in the past; never goes back."""
        ...

    def now(self) -> datetime:
        """The date and time, in UTC."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once, `delay` seconds from now, on the running event loop. The callback must not raise."""
        ...

    async def sleep(self, delay: float) -> None:
        """Return `delay` seconds from now."""
        ...

    def timeout(self, delay: float) -> AbstractAsyncContextManager[object]:
        """As `asyncio.timeout`, by this clock."""
        ...


class SystemClock:
    """The monotonic clock, which is that of asyncio's event loops, and the system's date."""

    time = staticmethod(monotonic)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)

    timeout = staticmethod(asyncio.timeout)


SYSTEM_CLOCK = SystemClock()


class _VirtualTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


TURNS = 20
"""Turns of the event loop in which tasks that are woken come to their next wait, at most."""


async def let_tasks_run() -> None:
    """Let all tasks that can run come to their next wait."""
    # asyncio's queue is private, and the only one to know that nothing is left to run; other loops take all turns.
    left = getattr(asyncio.get_running_loop(), "_ready", None)
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if left is not None and not left:
            return


class VirtualClock:
    """Stands still until it is told to advance."""

    def __init__(self, begin: datetime | None = None) -> None:
        self._begin = begin or datetime.now(UTC)
        self._time = 0.0
        self._count = itertools.count()
        self._timers: list[tuple[float, int, _VirtualTimer]] = []

    def time(self) -> float:
        return self._time

    def now(self) -> datetime:
        return self._begin + timedelta(seconds=self._time)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        if delay <= 0:  # due already
            return asyncio.get_running_loop().call_soon(callback)
        timer = _VirtualTimer(callback)
        heapq.heappush(self._timers, (self._time + delay, next(self._count), timer))
        return timer

    async def sleep(self, delay: float) -> None:
        passed = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not passed.done():
                passed.set_result(None)

        timer = self.call_later(delay, wake)
        try:
            await passed
        finally:
            timer.cancel()

    @asynccontextmanager
    async def timeout(self, delay: float) -> AsyncGenerator[None]:
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)
        timer = self.call_later(delay, lambda: limit.reschedule(loop.time()))
        try:
            async with limit:
                yield
        finally:
            timer.cancel()

    async def advance(self, seconds: float, between: Callable[[], Awaitable[None]] = let_tasks_run) -> None:
        """Let time pass: what falls due happens in order, each at its own time, and before time goes on `between` is
        awaited: the tasks that were woken run."""
        target = self._time + seconds
        await between()
        while self._timers and self._timers[0][0] <= target:
            self._time, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
                await between()
        self._time = target
