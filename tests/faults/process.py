"""Processes that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

__all__ = ["Processes"]

ROOT = Path(__file__).parents[2]


class Processes:
    """Some processes of one module, of which one is killed from time to time."""

    def __init__(self, module: str, *arguments: str, count: int = 1) -> None:
        self._command = (sys.executable, "-m", module, *arguments)
        self._count = count
        self._running: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        """As many as there should be."""
        while len(self._running) < self._count:
            process = await asyncio.create_subprocess_exec(
                *self._command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
            self._running.append(process)

    async def kill_one(self) -> None:
        """The oldest, without a warning."""
        oldest = self._running.pop(0)
        oldest.send_signal(signal.SIGKILL)
        await oldest.wait()

    async def end(self) -> None:
        while self._running:
            await self.kill_one()
