"""Publishes flights, waits until everything is handled, and asks the actors about it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from time import perf_counter
from uuid import NAMESPACE_URL, uuid5

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from actors.figures import Row, key_of
from actors.flights import AirportDelay, DisruptionsSummary, LedgerSummary, RebookingSummary
from actors.lag import Lag
from actors.process import SupervisorProcess
from actors.report import Outcome
from callboard import Board, RequestTimeoutError
from callboard.errors import NoHandlerError, NoStreamError

__all__ = ["Replay"]

IN_FLIGHT = 200
"""Publishes that wait for their acknowledgement at the same time."""
POLL = 0.1
"""Seconds between two looks at the mailboxes."""


class Replay:
    """One run over some rows, on actors that `supervisor` runs and an empty server.

    With `kill`, the supervisor is killed when half of the rows are published, and started again.
    """

    def __init__(
        self, rows: Sequence[Row], board: Board, lag: Lag, supervisor: SupervisorProcess, *, kill: bool
    ) -> None:
        self._rows = rows
        self._board = board
        self._lag = lag
        self._supervisor = supervisor
        self._kill = kill
        self._published = 0
        self._half_published = asyncio.Event()

    async def run(self, console: Console) -> Outcome:
        """Returns once every mailbox is empty, however often a message had to be tried.

        Raises `SupervisorEndedError` when the supervisor ends by itself, and what publishing raises. There is
        no time limit.
        """
        await self._until_ready()
        begun = perf_counter()
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(self._publish_all())
            if self._kill:
                group.create_task(self._kill_halfway(console))
            await self._until_handled(publishing, console)
        handling = perf_counter() - begun
        return await self._ask(publishing.result(), handling)

    async def _until_ready(self) -> None:
        """Ask the ledger until it answers."""
        while True:
            self._supervisor.check()
            try:
                await self._board.request("ledger.summary", timeout=1.0)
            except (NoStreamError, NoHandlerError, RequestTimeoutError):
                await asyncio.sleep(POLL)
            else:
                return

    async def _publish_all(self) -> float:
        """Publish with many messages in flight; the seconds that it took."""
        begun = perf_counter()
        rows = iter(self._rows)
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._publish_from(rows))
        return perf_counter() - begun

    async def _publish_from(self, rows: Iterable[Row]) -> None:
        """Publish one row after another, each under an identifier of its own: repeating it would be safe."""
        for row in rows:
            await self._board.publish("flights.departed", row, identifier=uuid5(NAMESPACE_URL, f"flight:{key_of(row)}"))
            self._published += 1
            if self._published * 2 >= len(self._rows):
                self._half_published.set()

    async def _kill_halfway(self, console: Console) -> None:
        await self._half_published.wait()
        await self._supervisor.kill()
        console.print(
            f"killed the supervisor and its worker after {self._published:,} messages, started it again; what "
            "they had in hand comes back when their leases end"
        )
        await self._supervisor.start()

    async def _until_handled(self, publishing: asyncio.Task[float], console: Console) -> None:
        """Watch the mailboxes until all are empty twice in a row: what leaves one may be on its way to another."""
        empty = 0
        with _progress(console) as progress:
            published = progress.add_task("published", total=len(self._rows))
            handled = progress.add_task("handled", total=len(self._rows))
            while empty < 2:
                self._supervisor.check()
                waiting = await self._lag.flights()
                progress.update(published, completed=self._published)
                progress.update(handled, completed=max(0, self._published - waiting))
                empty = 0 if not publishing.done() or await self._lag.anywhere() else empty + 1
                await asyncio.sleep(POLL)

    async def _ask(self, publishing: float, handling: float) -> Outcome:
        airports = sorted({str(row["origin"]) for row in self._rows})
        return Outcome(
            delays={
                code: await self._board.request(f"airports.{code}.delay", returns=AirportDelay) for code in airports
            },
            ledger=await self._board.request("ledger.summary", returns=LedgerSummary),
            disruptions=await self._board.request("disruptions.summary", returns=DisruptionsSummary),
            rebooking=await self._board.request("rebooking.summary", returns=RebookingSummary),
            dead_letters=await self._lag.dead_letters(),
            publishing=publishing,
            handling=handling,
            killed=self._kill,
        )


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
