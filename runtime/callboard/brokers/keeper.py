"""The process's one timer: handler timeouts, leases, lost pulls, acknowledgements that do not come.

One task looks at everything ten times a second. A timer object for each message would cost more than the message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from callboard.brokers.transport import Tick
from callboard.clock import SYSTEM_CLOCK, Clock

__all__ = ["Keeper"]

logger = logging.getLogger("callboard.keeper")

PERIOD = 0.1
LATE_TICKS = 150
"""How many ticks a late one is remembered: a scrape every 15 s sees it."""


class Keeper:
    """Calls what has to happen in time, and renews leases. Nothing that a tick raises stops it."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._late: deque[float] = deque([0.0], maxlen=LATE_TICKS)
        self._ticks: list[Tick] = []
        self._task: asyncio.Task[None] | None = None

    def watch(self, tick: Tick) -> Callable[[], None]:
        """Add a tick; the result removes it."""
        self._ticks.append(tick)

        def unwatch() -> None:
            if tick in self._ticks:
                self._ticks.remove(tick)

        return unwatch

    @property
    def late(self) -> float:
        """Seconds by which a tick was late, at most, in the last 15 s: for so long something kept the event loop."""
        return max(self._late)

    def start(self) -> None:
        """Begin; `stop` ends it."""
        self._task = asyncio.create_task(self._run(), name="callboard keeper")

    async def stop(self) -> None:
        """End, and wait for it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            due = self._clock.time() + PERIOD
            await self._clock.sleep(PERIOD)
            self._late.append(max(0.0, self._clock.time() - due))
            for tick in tuple(self._ticks):
                try:
                    for delivery in tick(self._clock.time()):
                        await delivery.in_progress()
                except Exception:
                    logger.exception("a timer's tick raised")
