"""A worker process as its parent sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Self

import cattrs
import msgspec
from attrs import evolve

from callboard.system.line import Lines, line_of
from callboard.system.orphan import Orphan, orphans_of
from callboard.system.status import Status
from callboard.system.table import RunningTable
from callboard.system.worker import Instruction, Orders, Report, ReportKind

__all__ = ["WorkerProcess"]

logger = logging.getLogger("callboard.parent")

LAST_REPORTS = 1.0
"""Seconds that the last lines of a dead worker get to arrive; a process that it started may hold the pipe open."""
ANSWER = 1.0
"""Seconds that a worker has to answer a question."""


class WorkerProcess:
    """Speaks with a worker: orders, orphans and questions go to its standard input, its reports come through a pipe,
    and what it runs stands in a table that outlives it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        table: RunningTable,
        on_ready: Callable[[], None],
        on_status: Callable[[Status], None],
        number: int,
    ) -> None:
        self.number = number
        """Its place among the workers; whoever replaces it has the same."""
        self._process = process
        self._table = table
        self._on_ready = on_ready
        self._on_status = on_status
        self._begun = monotonic()
        self._reports_ended = asyncio.Event()
        self._adopted: dict[str, Orphan] = {}
        """Orphans that it was given and has not settled yet, by token."""
        self._asked = 0
        """Questions so far."""
        self._answer: asyncio.Future[str] | None = None
        self._drained = False
        self._over_limit = False
        self.is_ready = False

    @classmethod
    async def start(
        cls,
        orders: Orders,
        orphans: Iterable[Orphan],
        *,
        keep_open: Iterable[int],
        on_ready: Callable[[], None],
        on_status: Callable[[Status], None],
        number: int = 0,
    ) -> Self:
        """Start a worker, which inherits the descriptors `keep_open` too; `on_ready` is called once it handles,
        `on_status` whenever it says how it is."""
        table, table_fd = RunningTable.create()
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "callboard.system.worker",
                stdin=asyncio.subprocess.PIPE,
                pass_fds=[writing, table_fd, *keep_open],
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            table.close()
            raise
        finally:
            os.close(writing)
            os.close(table_fd)
        self = cls(process, table, on_ready, on_status, number)
        self._adopted = {orphan.token: orphan for orphan in orphans}
        orders = evolve(orders, status_fd=writing, table_fd=table_fd, orphans=[*self._adopted.values()])
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: Lines(self._hear, self._reports_ended.set), os.fdopen(reading, "rb")
        )
        self._write(orders)
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_pulse(self) -> float:
        """When its event loop turned last; before the first time, when it was started."""
        return self._table.last_pulse or self._begun

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def adopt(self, orphans: Iterable[Orphan]) -> None:
        """Have it settle orphans; only once it is ready: before, it reads nothing but its orders."""
        adopted = {orphan.token: orphan for orphan in orphans}
        self._adopted.update(adopted)
        self._write(Instruction([*adopted.values()]))

    async def metrics(self) -> str | None:
        """What it counts, for Prometheus; None when it does not answer within 1 s. Only once it is ready, and not
        before the last question is answered or given up."""
        self._asked += 1
        self._answer = asyncio.get_running_loop().create_future()
        self._write(Instruction(question=self._asked))
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER):
                return await self._answer
        return None

    def kill_if_hung(self) -> None:
        """Kill it when a message runs past its hard limit. Works from outside alone: its event loop may stand still."""
        now = monotonic()
        for row in self._table.overdue(now):
            logger.error(
                "worker (pid %d) is killed: the message at %s has run for %.1f s, past its hard limit",
                self.pid,
                row.token or "(unknown)",
                now - row.begun,
            )
            self._over_limit = True
        if self._over_limit:
            self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, once it has ended and all its reports are heard."""
        code = await self._process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_REPORTS):
                await self._reports_ended.wait()
        return code

    def in_progress(self) -> list[Orphan]:
        """The messages that it ran when it ended."""
        return orphans_of(self._table, monotonic(), over_limit=self._over_limit, drained=self._drained)

    def not_settled(self) -> list[Orphan]:
        """The orphans that it was given and had not settled when it ended."""
        return [*self._adopted.values()]

    def close(self) -> None:
        """Give its table and its standard input back."""
        self._table.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _write(self, words: object) -> None:
        assert self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        self._process.stdin.write(line_of(words))

    def _hear(self, line: bytes) -> None:
        report = cattrs.structure(msgspec.json.decode(line), Report)
        match report.kind:
            case ReportKind.READY:
                self.is_ready = True
                self._on_ready()
            case ReportKind.STATUS if report.status is not None:
                self._on_status(report.status)
            case ReportKind.METRICS if report.question == self._asked:
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(report.metrics)
            case ReportKind.DRAINED:
                self._drained = True
            case ReportKind.NOTED if report.orphan is not None and report.orphan.token in self._adopted:
                self._adopted[report.orphan.token] = report.orphan
            case ReportKind.SETTLED if report.orphan is not None:
                self._adopted.pop(report.orphan.token, None)
            case _:
                pass
