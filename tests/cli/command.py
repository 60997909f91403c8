"""The real command `callboard` as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from attrs import frozen

from tests.jetstream.eventually import eventually

__all__ = ["CommandLine", "Result", "Running", "command_line"]


@frozen
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


@frozen(eq=False)
class Running:
    """`callboard run`, with its log in a file."""

    process: asyncio.subprocess.Process
    folder: Path
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text()

    async def says(self, text: str, times: int = 1) -> None:
        """Return once the log contains a text so often."""
        try:
            await eventually(lambda: self.text.count(text) >= times or self.process.returncode is not None, within=30)
        except TimeoutError:
            pytest.fail(f"no {text!r} in the log:\n{self.text}")
        assert self.text.count(text) >= times, self.text

    async def worker(self, number: int = 1) -> int:
        """The process id of the worker that became ready as the given one."""
        await self.says("worker ready (pid ", number)
        return int(self.text.split("worker ready (pid ")[number].split(")")[0])

    async def exists(self, name: str) -> None:
        """Return once a file of the service exists."""
        await eventually((self.folder / name).exists)

    async def ended(self) -> int:
        """The exit code."""
        return await asyncio.wait_for(self.process.wait(), 30)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@frozen(eq=False)
class CommandLine:
    """Runs commands in a folder of their own."""

    folder: Path
    environment: dict[str, str]
    stack: AsyncExitStack

    async def __call__(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Result:
        """Run a command to its end."""
        ended = await asyncio.to_thread(
            subprocess.run,
            self._command(arguments),
            cwd=self.folder,
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            timeout=50,
            check=False,
        )
        return Result(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    async def run(self, *arguments: str) -> Running:
        """Start `callboard run`; whatever still runs at the end of the test is killed."""
        log = self.folder / f"run-{len(list(self.folder.glob('run-*')))}.log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *self._command(("run", *arguments)),
                cwd=self.folder,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        self.stack.push_async_callback(_kill, process)
        return Running(process, self.folder, log)

    @staticmethod
    def _command(arguments: tuple[str, ...]) -> tuple[str, ...]:
        return (sys.executable, "-m", "callboard", *arguments)


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


@asynccontextmanager
async def command_line(folder: Path, service: str) -> AsyncGenerator[CommandLine]:
    """The command in a new folder with the module `svc`; what still runs at the end is killed."""
    folder.mkdir()
    (folder / "svc.py").write_text(service)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "NATS_"))}
    async with AsyncExitStack() as stack:
        yield CommandLine(folder, environment, stack)
