"""The parent process of `callboard run`: starts workers, watches them, stops them, and does nothing else.

Workers and the embedded server run in sessions of their own, so that Ctrl-C reaches only the parent. It looks at what
its workers run from outside alone, through shared memory, and speaks to no message system: what a dead worker left is
settled by another one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from functools import partial
from math import inf
from pathlib import Path

from attrs import frozen

from callboard.backoff import Backoff
from callboard.config import Config, NatsSettings
from callboard.embedded import EmbeddedServer
from callboard.system.exitcode import ExitCode
from callboard.system.health import Health
from callboard.system.orphan import Orphan, explained
from callboard.system.process import WorkerProcess
from callboard.system.scrape import Scrape, check_prometheus
from callboard.system.web import WebServer
from callboard.system.worker import Orders

__all__ = ["Embedded", "Parent"]

logger = logging.getLogger("callboard.parent")

KILL_MARGIN = 5.0
"""Seconds after the grace period until a worker that did not stop is killed."""
STABLE = 30.0
"""Seconds after which a worker's earlier deaths are forgotten."""
SHORT = 1.0
"""Longest pause after a worker that died while it ran messages: they wait, and the next one finds the cause."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
"""What workers get for the first, second and third signal: stop, stop soon, end at once."""
LOOK = 0.25
"""Seconds between two looks for messages that run past their hard limit."""


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
        self._workers: set[WorkerProcess] = set()
        self._orphans: dict[str, Orphan] = {}
        """Messages of dead workers that nobody is to settle yet, by token."""
        self._stopping = asyncio.Event()
        self._health = Health(config.workers, self._stopping.is_set)
        self._signals = 0
        self._code = 0
        self._was_ready = False
        """Whether a worker ever was: before that, an exit code is final, because trying again would not help."""
        self._lifeline: int | None = None

    async def run(self) -> int:
        """The exit code: 0 after a drain that was asked for, else what ended the workers. Raises `ConfigError` for a
        port that cannot be listened on, and `MissingExtraError`; nothing is started then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        async with AsyncExitStack() as stack:
            if (port := self._config.metrics.port) is not None:
                check_prometheus("metrics.port")
                scrape = Scrape(self._workers, self._config.workers)
                web = WebServer(port, {"/metrics": scrape.page}, host=self._config.metrics.host)
                await stack.enter_async_context(web)
                logger.info("metrics at http://%s:%d/metrics", web.host or "localhost", web.port)
            if (port := self._config.health.port) is not None:
                web = WebServer(port, self._health.routes, host=self._config.health.host)
                await stack.enter_async_context(web)
                logger.info("health on port %d: %s", web.port, ", ".join(self._health.routes))
            return await self._run_on_server()

    async def _run_on_server(self) -> int:
        """Run the workers, on a server of our own where one is wanted."""
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
        limits = asyncio.ensure_future(self._watch_limits())
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._config.workers):
                    group.create_task(self._keep(number))
        finally:
            limits.cancel()
            await asyncio.wait([limits])
        return self._code

    async def _watch_limits(self) -> None:
        while not self._stopping.is_set():
            for worker in tuple(self._workers):
                worker.kill_if_hung()
            await asyncio.sleep(LOOK)

    async def _keep(self, number: int) -> None:
        """One worker, started again whenever it dies: at once where the cause is known and out of the way, soon where
        messages wait for it, else with backoff."""
        backoff, deaths = Backoff(), 0
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            begun = clock()
            worker = await self._spawn(number)
            code = await self._outlive(worker)
            self._health.left(number)
            ran, passed_on = worker.in_progress(), worker.not_settled()
            worker.close()
            if self._stopping.is_set():
                return
            if (code > 0 and not self._was_ready) or code == ExitCode.ACTOR_FAILED:
                self._end(code)
                return
            self._hand_over([*passed_on, *ran])
            delay = 0.0
            if not explained(ran):
                deaths = 1 if clock() - begun > STABLE else deaths + 1
                delay = min(backoff.delay(deaths - 1), SHORT if ran else inf)
            logger.error(
                "worker %d (pid %d) %s, messages in progress: %d; again in %.1f s",
                number,
                worker.pid,
                _ending(code),
                len(ran),
                delay,
            )
            await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless everything stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _hand_over(self, orphans: Iterable[Orphan] = ()) -> None:
        """Have orphans settled by a worker that is ready, the liveliest; where there is none, the next one does it."""
        self._orphans.update((orphan.token, orphan) for orphan in orphans)
        ready = [worker for worker in self._workers if worker.is_ready]
        if ready and self._orphans:
            max(ready, key=lambda worker: worker.last_pulse).adopt(self._take_orphans())

    def _take_orphans(self) -> list[Orphan]:
        orphans, self._orphans = self._orphans, {}
        return [*orphans.values()]

    async def _spawn(self, number: int) -> WorkerProcess:
        def on_ready() -> None:
            self._was_ready = True
            logger.info("worker ready (pid %d)", worker.pid)
            self._hand_over()

        worker = await WorkerProcess.start(
            Orders(self._targets, self._config.reveal()),
            self._take_orphans(),
            keep_open=[] if self._lifeline is None else [self._lifeline],
            on_ready=on_ready,
            on_status=partial(self._health.heard, number),
            number=number,
        )
        self._workers.add(worker)
        self._health.took(number, worker)
        if self._stopping.is_set():
            worker.send_signal(signal.SIGTERM)
        return worker

    async def _outlive(self, worker: WorkerProcess) -> int:
        """Wait for a worker's end; one that outlives its grace period is killed."""
        ended = asyncio.ensure_future(worker.wait())
        try:
            stopping = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not ended.done():
                await asyncio.wait({ended}, timeout=self._config.grace + KILL_MARGIN)
            if not ended.done():
                logger.error("worker (pid %d) did not stop in time; killed", worker.pid)
                worker.send_signal(signal.SIGKILL)
            return await ended
        finally:
            self._workers.discard(worker)

    def _on_signal(self) -> None:
        """The first stops, the second shortens the grace period, the third ends at once."""
        self._signals += 1
        if self._signals == 1:
            logger.info("stopping; running handlers have %.0f s", self._config.grace)
        # A different one each time: of two equal signals that are sent in a row, a busy process may see one.
        self._end(0, _SIGNALS[min(self._signals, len(_SIGNALS)) - 1])

    def _end(self, code: int, number: signal.Signals = signal.SIGTERM) -> None:
        self._code = self._code or code
        self._stopping.set()
        for worker in self._workers:
            worker.send_signal(number)


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
