"""The load: steady, without an end, and every flight once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

import callboard
from actors.figures import Row, key_of
from actors.flights import LedgerSummary, flights
from actors.load import endless, load, paced
from actors.users import Users
from callboard import Board, Supervisor, System
from callboard.embedded import EmbeddedServer
from tests.jetstream.eventually import eventually

EARLY = 0.01
"""Seconds that a timer of asyncio may be early."""


@pytest.fixture
async def board(nats_server: EmbeddedServer, store_path: Path) -> AsyncIterator[Board]:
    """The way to the actors, which run in this process."""
    async with (
        System(flights, name="flights", nats=nats_server.url),
        System(Supervisor([Users]), name="users", nats=nats_server.url),
        callboard.connect(nats_server.url) as board,
    ):
        yield board


async def ledger(board: Board) -> LedgerSummary:
    return await board.request("ledger.summary", returns=LedgerSummary)


def test_no_flight_comes_twice_when_the_month_is_through(month: Sequence[Row]) -> None:
    played = [key_of(row) for row in islice(endless(month[:100]), 350)]
    assert len(set(played)) == 350


def test_a_load_goes_on_at_any_flight(month: Sequence[Row]) -> None:
    rows = month[:100]
    assert list(islice(endless(rows, 130), 80)) == list(islice(endless(rows), 130, 210))


async def test_flights_are_no_closer_than_the_rate_allows(month: Sequence[Row]) -> None:
    loop = asyncio.get_running_loop()
    times = [loop.time() async for _ in paced(iter(month[:21]), rate=100)]
    assert times[-1] - times[0] >= 0.2 - EARLY


async def test_a_slow_consumer_is_not_made_up_for_with_a_burst(month: Sequence[Row]) -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    async for flight, _ in paced(iter(month[:12]), rate=100):
        if flight == 1:
            await asyncio.sleep(0.1)  # what is slow, not what is waited for
        times.append(loop.time())
    assert times[-1] - times[0] >= 0.1 - EARLY


async def test_the_ledger_has_each_flight_once_also_after_a_second_load(board: Board, month: Sequence[Row]) -> None:
    await load(board, month, rate=1000, flights=25)

    async def is_handled(flights: int) -> bool:
        return await ledger(board) == LedgerSummary(flights, flights)

    await eventually(lambda: is_handled(25))
    await load(board, month, rate=1000, flights=15)
    await eventually(lambda: is_handled(40))


async def test_questions_that_nobody_answers_do_not_stop_the_load(
    nats_server: EmbeddedServer, store_path: Path, month: Sequence[Row], caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        System(flights, name="flights", nats=nats_server.url),
        callboard.connect(nats_server.url) as board,
    ):
        await load(board, month, rate=1000, flights=20)
    assert "user.create" in caplog.text


async def test_a_load_that_is_told_to_stop_ends(nats_server: EmbeddedServer, board: Board) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "actors.load", "--rate", "50"),
        env={**os.environ, "NATS_URL": nats_server.url},
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def has_begun() -> bool:
        return (await ledger(board)).distinct > 3

    await eventually(has_begun)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 143
