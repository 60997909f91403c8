"""Lets one message run alone in its process, so that a death of the process has one explanation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import inf

from callboard.routing.running import Running

__all__ = ["Solitude"]


class Solitude:
    """Counts what runs in this process, over all its handler loops, and keeps others out while a suspect runs.

    Requests that wait for their answer in this very process are let in all the same: who asked may be what runs, and
    would wait for ever.
    """

    def __init__(self, table: Running | None = None) -> None:
        self.table = table
        """Where what runs is noted for whoever watches this process; None: nobody does."""
        self.closed = False
        """Whether a suspect runs, or waits for what runs to end."""
        self._running = 0
        self._suspects = 0
        self._suspect = asyncio.Lock()
        self._changed: list[asyncio.Future[None]] = []

    def begin(self, token: str, hard_deadline: float = inf, *, alone: bool = False) -> int:
        """A handler begins; give the result to `end`."""
        self._running += 1
        return (
            -1 if self.table is None or not token else self.table.begin(token, hard_deadline=hard_deadline, alone=alone)
        )

    def hold(self, token: str) -> int:
        """A message is held back; give the result to `release`. Should the process die now, it comes again at once."""
        return -1 if self.table is None or not token else self.table.hold(token)

    def release(self, row: int) -> None:
        """It is held back no more."""
        if row >= 0 and self.table is not None:
            self.table.end(row)

    def end(self, row: int) -> None:
        """Its message is settled."""
        self._running -= 1
        if row >= 0 and self.table is not None:
            self.table.end(row)
        if self._changed:
            self._wake()

    async def opened(self) -> None:
        """Wait until no suspect runs or waits."""
        while self.closed:
            await self._change()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Keep others out; the block begins when nothing else runs. Suspects take turns, and go
        before others."""
        self._suspects += 1
        self.closed = True
        try:
            async with self._suspect:
                while self._running:
                    await self._change()
                yield
        finally:
            self._suspects -= 1
            self.closed = self._suspects > 0
            self._wake()

    async def _change(self) -> None:
        change = asyncio.get_running_loop().create_future()
        self._changed.append(change)
        await change

    def _wake(self) -> None:
        changed, self._changed = self._changed, []
        for change in changed:
            if not change.done():
                change.set_result(None)
