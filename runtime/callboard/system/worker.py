"""A worker process: the actors themselves.

Started by `callboard run` as `python -m callboard.system.worker`, in a session of its own. Its standard input brings
its orders (one line of JSON), later the messages of workers that died (a line each time), and is its lifeline: when
the pipe closes, the parent is gone and the worker drains.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import partial
from math import inf
from time import monotonic
from typing import Any

import cattrs
import msgspec
from attrs import field, frozen

from callboard.config import Config, TelemetrySettings
from callboard.errors import CallboardError
from callboard.system.assembly import assemble
from callboard.system.exitcode import exit_code_of
from callboard.system.line import Lines, LineWriter
from callboard.system.log import configure_logging
from callboard.system.orphan import Orphan
from callboard.system.recovery import Recovery
from callboard.system.status import Status
from callboard.system.system import System
from callboard.system.table import RunningTable
from callboard.system.target import service_name
from callboard.telemetry import configure_telemetry

__all__ = ["Orders", "Report", "ReportKind", "main", "telemetry_variables"]

logger = logging.getLogger("callboard.worker")

TELEMETRY_SHUTDOWN = 2.0
"""Longest wait for the last spans to be exported; it is part of the grace period."""
LAST_SPANS = 0.25
"""Shortest: where the handlers took the whole grace period, a collector that is there gets them all the same."""
SHORT_GRACE = 2.0
"""Seconds that are left after a second signal."""
MARGIN = 0.5
"""Seconds of the grace period kept for handing back, flushing and closing."""
FIRST_RECOVERY = 10.0
"""Seconds for which a new worker waits until the messages of its predecessor are settled; then it begins without."""
PULSE = 0.5
"""Seconds between two signs of life in the table, and between two looks at how its actors are."""
REPORT = 2.0
"""Seconds after which it says again how they are, when nothing has changed."""


@frozen
class Orders:
    """What a parent tells its worker."""

    targets: list[str]
    """Those of the command line; empty: the configuration's."""
    config: dict[str, Any]
    """What `Config.reveal` said: secrets go nowhere but through this pipe."""
    status_fd: int = -1
    """Where the worker writes its reports."""
    table_fd: int = -1
    """Shared memory in which it notes what it runs."""
    orphans: list[Orphan] = field(factory=list[Orphan])
    """Messages of workers that died, to be settled before its own work begins."""


@frozen
class Instruction:
    """One line to a worker that is ready."""

    orphans: list[Orphan] = field(factory=list[Orphan])
    """Messages of a worker that died, to be settled."""
    question: int = 0
    """The number of a question for metrics; 0: none."""


class ReportKind(StrEnum):
    """What a worker tells its parent."""

    READY = "ready"
    """It handles messages."""
    NOTED = "noted"
    """What is to be known of an orphan, should this worker die before it has settled it."""
    SETTLED = "settled"
    """Nobody need settle this orphan again."""
    STATUS = "status"
    """How its actors are."""
    METRICS = "metrics"
    """What it counts, because somebody asked."""
    DRAINED = "drained"
    """It has ended its work in order; what it still runs ignores its cancellation."""


@frozen
class Report:
    """One line from a worker."""

    kind: ReportKind
    orphan: Orphan | None = None
    status: Status | None = None
    question: int = 0
    """The number of the question that this answers."""
    metrics: str = ""


class Worker:
    """Runs until a signal, the end of the parent, or a failure that cannot be lived with."""

    def __init__(self, orders: Orders, config: Config, metrics: Callable[[], str] | None = None) -> None:
        self._metrics = metrics
        self._orders = orders
        self._config = config
        self._table = RunningTable(orders.table_fd)
        os.close(orders.table_fd)
        os.set_inheritable(orders.status_fd, False)  # noqa: FBT003 - its only argument
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._grace = max(0.0, config.grace - MARGIN)
        self._deadline = inf
        """By `time.monotonic()`: the end of the grace period."""
        self._reports: LineWriter | None = None
        self._told = Status()
        self._told_at = -REPORT
        self._recovery: Recovery | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Returns after a drain that was asked for; raises what else ended it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        await loop.connect_read_pipe(lambda: Lines(self._on_instruction, self._on_parent_gone), sys.stdin)
        self._reports = await LineWriter.open(self._orders.status_fd)
        system = assemble(self._orders.targets, self._config, grace=self._grace, running=self._table)
        life = asyncio.create_task(self._show_life(system))
        try:
            await self._unless_stopped(system.start(partial(self._settle_first, system)))
            if not self._stop.is_set():
                self._report(Report(ReportKind.READY))
                self._report_status(system)
                await self._unless_stopped(system.wait())
        finally:
            await self._end(system)
            life.cancel()
            self._report(Report(ReportKind.DRAINED))
            self._reports.close()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work until it is done or a stop is asked for; raises what the work raised."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            working.cancel()
        with suppress(asyncio.CancelledError):
            await working

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside the actors, until it is done or a stop begins."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _show_life(self, system: System) -> None:
        while True:
            self._table.pulse()
            self._report_status(system)
            await asyncio.sleep(PULSE)

    def _report_status(self, system: System) -> None:
        """Say how the actors are, if somebody may ask: what has changed at once, else every few seconds. A parent that
        does not listen is told again once it does."""
        if self._config.health.port is None or self._reports is None or not self._reports.is_idle:
            return
        try:
            now, status = monotonic(), system.status()
        except Exception:
            logger.exception("how the actors are cannot be told")
            return
        if status != self._told or now - self._told_at >= REPORT:
            self._told, self._told_at = status, now
            self._report(Report(ReportKind.STATUS, status=status))

    async def _settle_first(self, system: System) -> None:
        """Settle what a predecessor left; what takes long goes on beside the actors."""
        self._recovery = system.recovery(
            note=lambda orphan: self._report(Report(ReportKind.NOTED, orphan)),
            settled=lambda orphan: self._report(Report(ReportKind.SETTLED, orphan)),
        )
        if self._orders.orphans:
            await asyncio.wait({self._own(self._recovery.settle(self._orders.orphans))}, timeout=FIRST_RECOVERY)

    def _on_instruction(self, line: bytes) -> None:
        """A sibling died, or somebody wants metrics; this worker is ready, else it would not be asked."""
        instruction = cattrs.structure(msgspec.json.decode(line), Instruction)
        if instruction.orphans and self._recovery is not None and not self._stop.is_set():
            self._own(self._recovery.settle(instruction.orphans))
        if instruction.question and self._metrics is not None:
            self._own(self._tell_metrics(instruction.question, self._metrics))

    async def _tell_metrics(self, question: int, metrics: Callable[[], str]) -> None:
        """In a thread: they are long, and the actors do not wait for them. A parent that does not listen gets none."""
        try:
            text = await asyncio.to_thread(metrics)
        except Exception:
            logger.exception("metrics cannot be collected")
            return
        if self._reports is not None and self._reports.is_idle:
            self._report(Report(ReportKind.METRICS, question=question, metrics=text))

    async def _end(self, system: System) -> None:
        """Stop within the grace period; a second signal shortens it."""
        self._deadline = monotonic() + self._config.grace
        for task in tuple(self._tasks):
            task.cancel()
        ending, hurrying = asyncio.create_task(system.stop(self._grace)), asyncio.create_task(self._hurry.wait())
        await asyncio.wait([ending, hurrying], return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not ending.done():
            self._deadline = min(self._deadline, monotonic() + SHORT_GRACE)
            await system.stop(SHORT_GRACE)
        await ending

    @property
    def left(self) -> float:
        """Seconds until the grace period is over; infinite before it has begun."""
        return max(0.0, self._deadline - monotonic())

    def _on_signal(self) -> None:
        """The first drains, the second shortens the grace period, the third ends at once."""
        if self._hurry.is_set():
            os._exit(1)
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _on_parent_gone(self) -> None:
        if not self._stop.is_set():
            logger.warning("the parent process is gone; stopping")
        self._stop.set()

    def _report(self, report: Report) -> None:
        if self._reports is not None:
            self._reports.write(report)


def telemetry_variables(settings: TelemetrySettings, environment: Mapping[str, str]) -> dict[str, str]:
    """What a configuration says about telemetry in the words of OpenTelemetry, where the environment says nothing."""
    variables: dict[str, str] = {}
    if not settings.enabled:
        variables["OTEL_SDK_DISABLED"] = "true"
    if settings.endpoint:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings.endpoint
    if settings.ratio < 1 and "OTEL_TRACES_SAMPLER" not in environment:
        variables |= {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(settings.ratio)}
    return {name: value for name, value in variables.items() if name not in environment}


def main() -> int:
    """Read the orders, run, and return the exit code. Errors are one line on standard error."""
    orders = cattrs.structure(msgspec.json.decode(sys.stdin.buffer.readline()), Orders)
    try:
        _run(orders)
    except CallboardError as error:
        sys.stderr.write(f"callboard: {error}\n")
        return exit_code_of(error) or 1
    except Exception:
        logger.exception("worker failed")
        return 1
    return 0


def _run(orders: Orders) -> None:
    config = Config(**orders.config)
    configure_logging(config.log_level, config.log_format)
    os.environ.update(telemetry_variables(config.telemetry, os.environ))
    name = config.name or ",".join(map(service_name, orders.targets or config.services))
    telemetry = configure_telemetry(name, prometheus=config.metrics.port is not None)
    worker = Worker(orders, config, None if telemetry.meters is None else telemetry.meters.prometheus)
    try:
        asyncio.run(worker.run())
    finally:
        telemetry.shutdown(max(LAST_SPANS, min(TELEMETRY_SHUTDOWN, worker.left)))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a handler thread that hangs must not keep the process
