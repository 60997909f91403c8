"""Load without an end: the month of flights, played again and again, on actors that run already.

    callboard run actors.flights --embedded
    python -m actors.load --rate 20

Every flight is a new one: a month that has been played goes on a year later, and a load that is started again goes
on where the ledger stands. Now and then it asks how late an airport is, and creates a user (`actors.users`).
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count, islice
from typing import Annotated
from uuid import NAMESPACE_URL, uuid5

import typer

import callboard
from actors.figures import Row, key_of, read_rows
from actors.flights import LedgerSummary
from actors.process import stop_on_sigterm
from callboard import Board, CallboardError, RequestTimeoutError
from callboard.errors import NoHandlerError, NoStreamError
from callboard.telemetry import configure_telemetry

__all__ = ["endless", "load", "main", "paced"]

POLL = 0.5
"""Seconds between two questions whether the ledger is there."""
ASK_EVERY = 20
"""Flights between two questions."""
FLUSH = 5.0
"""Seconds for sending the last spans."""

_log = logging.getLogger(__name__)


def main(
    *,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=1000, help="Flights a second.")] = 10.0,
    flights: Annotated[int | None, typer.Option("--flights", min=1, help="Stop after so many.")] = None,
) -> None:
    """Publish flights at a steady rate until Ctrl-C or SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    telemetry = configure_telemetry("load")
    try:
        asyncio.run(_run(rate, flights))
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None
    finally:
        telemetry.shutdown(FLUSH)


async def _run(rate: float, flights: int | None) -> None:
    stop_on_sigterm()
    async with callboard.connect() as board:
        await load(board, read_rows(), rate=rate, flights=flights)


async def load(board: Board, rows: Sequence[Row], *, rate: float, flights: int | None = None) -> None:
    """Publish one flight after another, at most `rate` a second, for ever or so many.

    Waits for the ledger first. A publish that fails raises what `Board.publish` raises; questions that nobody answers
    are logged.
    """
    begin = await _handled(board)
    _log.info("%g flights a second, from flight %s on", rate, f"{begin:,}")
    async for flight, row in paced(islice(endless(rows, begin), flights), rate):
        await board.publish("flights.departed", row, identifier=uuid5(NAMESPACE_URL, f"flight:{key_of(row)}"))
        if flight % ASK_EVERY == 0:
            await _ask(board, f"airports.{row['origin']}.delay")
            await _ask(board, "user.create", {"email": f"{row['carrier']}{row['flight']}@example.org"})


def endless(rows: Sequence[Row], begin: int = 0) -> Iterator[Row]:
    """The rows from number `begin` on, without an end: a year later each time they are through."""
    for number in count(begin):
        years, place = divmod(number, len(rows))
        yield {**rows[place], "year": int(rows[place]["year"] or 0) + years}


async def paced(rows: Iterator[Row], rate: float) -> AsyncIterator[tuple[int, Row]]:
    """Number, from 1, and row; `rate` a second. A consumer that was slow is not made up for with a burst."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    for numbered in enumerate(rows, 1):
        await asyncio.sleep(due - loop.time())
        yield numbered
        due = max(due + 1 / rate, loop.time())


async def _handled(board: Board) -> int:
    """How many flights the ledger has, once it answers."""
    while True:
        try:
            return (await board.request("ledger.summary", returns=LedgerSummary, timeout=1.0)).distinct
        except (NoStreamError, NoHandlerError, RequestTimeoutError):
            await asyncio.sleep(POLL)


async def _ask(board: Board, topic: str, content: object = None) -> None:
    try:
        await board.request(topic, content)
    except CallboardError as error:
        _log.warning("%s", error)


if __name__ == "__main__":
    typer.run(main)
