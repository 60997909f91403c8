"""The parent process of `callboard run`: starts workers, watches them, stops them, and does nothing else.

Workers and the embedded server run in sessions of their own, so that Ctrl-C reaches only the parent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import cattrs
import msgspec
from attrs import frozen

from callboard.backoff import Backoff
from callboard.config import Config, NatsSettings
from callboard.embedded import EmbeddedServer
from callboard.system.exitcode import ExitCode
from callboard.system.worker import Orders

__all__ = ["Embedded", "Parent"]

logger = logging.getLogger("callboard.parent")

KILL_MARGIN = 5.0
"""Seconds after the grace period until a worker that did not stop is killed."""
STABLE = 30.0
"""Seconds after which a worker's earlier deaths are forgotten."""


@frozen
class Embedded:
    """Run a NATS server too."""

    store: Path | None = None
    port: int = 4222


class Parent:
    """Runs the workers of a service until a signal comes or nothing can go on.

    Without `targets` they run the services of the configuration.
    """

    def __init__(self, targets: list[str], config: Config, embedded: Embedded | None = None) -> None:
        self._targets = targets
        self._config = config
        self._embedded = embedded
        self._processes: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        self._signals = 0
        self._code = 0
        self._was_ready = False
        """Whether a worker ever was: before that, an exit code is final, because trying again would not help."""
        self._lifeline: int | None = None

    async def run(self) -> int:
        """The exit code: 0 after a drain that was asked for, else what ended the workers."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        if self._embedded is None:
            return await self._run_workers()
        async with EmbeddedServer(store=self._embedded.store, port=self._embedded.port) as server:
            logger.info("embedded NATS server at %s", server.url)
            self._config = self._config.over(nats=NatsSettings((server.url,)))
            self._lifeline = server.lifeline_fd
            watch = asyncio.ensure_future(self._watch_server(server))
            try:
                return await self._run_workers()
            finally:
                watch.cancel()
                await asyncio.wait([watch])

    async def _watch_server(self, server: EmbeddedServer) -> None:
        code = await server.wait()
        if not self._stopping.is_set():
            logger.error("the embedded NATS server ended with code %d; stopping", code)
            self._end(ExitCode.NO_SERVER)

    async def _run_workers(self) -> int:
        async with asyncio.TaskGroup() as group:
            for number in range(self._config.workers):
                group.create_task(self._keep(number))
        return self._code

    async def _keep(self, number: int) -> None:
        """One worker, started again with backoff whenever it dies."""
        backoff, deaths = Backoff(), 0
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            begun = clock()
            process, ready = await self._spawn()
            code = await self._outlive(process)
            if self._stopping.is_set():
                return
            self._was_ready = self._was_ready or ready.done()
            if (code > 0 and not self._was_ready) or code == ExitCode.ACTOR_FAILED:
                self._end(code)
                return
            deaths = 1 if clock() - begun > STABLE else deaths + 1
            delay = backoff.delay(deaths - 1)
            logger.error("worker %d (pid %d) %s; again in %.1f s", number, process.pid, _ending(code), delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, asyncio.Future[None]]:
        """Start a worker; the future is done once it is ready."""
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        orders = Orders(self._targets, self._config.reveal(), writing)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "callboard.system.worker",
                stdin=asyncio.subprocess.PIPE,
                pass_fds=[writing, *([self._lifeline] if self._lifeline is not None else [])],
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        ready = loop.create_future()
        await loop.connect_read_pipe(lambda: _Status(ready, process.pid), os.fdopen(reading, "rb"))
        self._processes.add(process)
        assert process.stdin is not None  # noqa: S101 - PIPE was asked for
        process.stdin.write(msgspec.json.encode(cattrs.unstructure(orders)) + b"\n")
        if self._stopping.is_set():
            _signal(process, signal.SIGTERM)
        return process, ready

    async def _outlive(self, process: asyncio.subprocess.Process) -> int:
        """Wait for a worker's end; one that outlives its grace period is killed."""
        ended = asyncio.ensure_future(process.wait())
        try:
            stopping = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not ended.done():
                await asyncio.wait({ended}, timeout=self._config.grace + KILL_MARGIN)
            if not ended.done():
                logger.error("worker (pid %d) did not stop in time; killed", process.pid)
                _signal(process, signal.SIGKILL)
            return await ended
        finally:
            self._processes.discard(process)

    def _on_signal(self) -> None:
        """The first stops, the second shortens the grace period, the third ends at once."""
        self._signals += 1
        if self._signals == 1:
            logger.info("stopping; running handlers have %.0f s", self._config.grace)
        self._end(0, signal.SIGKILL if self._signals >= 3 else signal.SIGTERM)

    def _end(self, code: int, number: signal.Signals = signal.SIGTERM) -> None:
        self._code = self._code or code
        self._stopping.set()
        for process in self._processes:
            _signal(process, number)


class _Status(asyncio.Protocol):
    """Hears that a worker is ready."""

    def __init__(self, ready: asyncio.Future[None], pid: int) -> None:
        self._ready = ready
        self._pid = pid

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        if not self._ready.done():
            self._ready.set_result(None)
            logger.info("worker ready (pid %d)", self._pid)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
