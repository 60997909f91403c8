"""Processes: the supervisor of the flights, started by the command line, and a program that is told to stop."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

__all__ = ["SupervisorEndedError", "SupervisorProcess", "stop_on_sigterm"]

STOP_TIMEOUT = 20.0
"""Seconds that a supervisor has to stop; it gives its running handlers `GRACE` of them."""
GRACE = 10.0

_REPOSITORY = Path(__file__).parent.parent
_READY = re.compile(r"worker ready \(pid (\d+)\)")


class SupervisorEndedError(Exception):
    """The supervisor ended although nobody had told it to."""

    def __init__(self, code: int, log: str) -> None:
        self.code = code
        last = "\n".join(log.splitlines()[-15:])
        super().__init__(f"the supervisor ended with code {code}; its log ends with:\n{last}")


class SupervisorProcess:
    """Runs `callboard run actors.flights` on the server at `nats`; output goes to `supervisor.log` in `folder`.

    `async with` starts it, and stops it whatever happens inside. It has a session of its own: Ctrl-C reaches
    only the program that uses this class.
    """

    def __init__(self, nats: str, folder: Path) -> None:
        self._nats = nats
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self._folder / "supervisor.log").read_text()

    async def start(self) -> None:
        """Start it; actors are ready some time later."""
        with (self._folder / "supervisor.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "callboard", "run", "actors.flights"),
                *("--nats", self._nats, "--grace", str(GRACE)),
                cwd=_REPOSITORY,
                env={**os.environ, "FLIGHTS_STORE": str(self._folder / "flights.sqlite")},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise `SupervisorEndedError` when it does not run any more."""
        if self._process is not None and self._process.returncode is not None:
            raise SupervisorEndedError(self._process.returncode, self.log)

    async def stop(self) -> None:
        """Stop it gracefully (SIGTERM), and by force when that takes too long. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is not None:
            self._kill(process)
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.wait()
        except BaseException:
            self._kill(process)
            raise

    async def kill(self) -> None:
        """Kill it and its worker (SIGKILL): nothing is drained, flushed or handed back."""
        process, self._process = self._process, None
        if process is not None:
            self._kill(process)
            await process.wait()

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        """Kill what is left: the supervisor first, or it would start another worker.

        The worker's number stands in the log; its session of its own keeps it out of the supervisor's group.
        """
        with suppress(ProcessLookupError):
            process.kill()
        for pid in _READY.findall(self.log)[-1:]:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def stop_on_sigterm() -> None:
    """SIGTERM cancels the task that calls this, so that the program unwinds as at Ctrl-C and leaves nothing behind."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
