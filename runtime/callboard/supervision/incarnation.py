"""One life of a child: from its start until everything it held is released."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from callboard.errors import ActorCrash
from callboard.supervision.child import Child

__all__ = ["Incarnation", "uninterrupted"]

_log = logging.getLogger("callboard.supervision")


async def uninterrupted(work: Coroutine[object, object, None]) -> None:
    """Run `work` to its end, even when the caller is cancelled meanwhile; that is raised afterwards."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


class Incarnation:
    """Guards one child object: what it raises against its contract is logged or made a crash.

    Stopping concerns this object alone, so a late stop can never hit its successor.
    """

    def __init__(self, child: Child) -> None:
        self.child = child
        self.stopping = False
        self.released = False
        self._stops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._crash_when_cancelled_from_inside(self.child.start())

    async def wait(self) -> None:
        await self._crash_when_cancelled_from_inside(self.child.wait())

    async def drain(self) -> None:
        """Drain the child unless it is being stopped already. Never raises."""
        if self.stopping:
            return
        try:
            await self.child.drain()
        except Exception:  # noqa: BLE001 - nothing may keep a supervisor from stopping
            _log.exception("%s failed to drain; it is stopped all the same", self.child.name)

    async def stop(self, grace: float) -> None:
        """Stop the child and wait until all is released, also when cancelled meanwhile.

        A call during another passes the new grace on and waits for the same end.
        """
        if not self.released:
            await uninterrupted(self._stop(grace))

    async def _stop(self, grace: float) -> None:
        self.stopping = True
        self._stops.append(asyncio.create_task(self._release(grace)))
        await asyncio.wait(self._stops)
        self.released = True

    async def _release(self, grace: float) -> None:
        try:
            await self.child.stop(grace)
        except Exception:  # noqa: BLE001 - nothing may keep a supervisor from stopping
            _log.exception("%s failed to stop; it counts as stopped", self.child.name)

    async def _crash_when_cancelled_from_inside(self, work: Coroutine[object, object, None]) -> None:
        # Else a library that cancels the task it runs in would end an actor that nobody restarts.
        try:
            await work
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise ActorCrash(f"{self.child.name} was cancelled, but not by its supervisor") from error
