"""The flights against a real server."""

# nats-py ships no complete annotations.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from io import StringIO
from pathlib import Path
from uuid import uuid4

import nats
import pytest
from rich.console import Console

import callboard
from actors.figures import Row, figures_of
from actors.flights import AirportDelay, LedgerSummary, flights
from actors.lag import Lag, open_lag
from actors.process import SupervisorProcess
from actors.replay import Replay
from actors.report import Check, checks
from callboard import System
from callboard.embedded import EmbeddedServer


@pytest.fixture
async def system(nats_server: EmbeddedServer, store_path: Path) -> AsyncIterator[System]:
    """The actors, running in this process."""
    async with System(flights, name="flights", nats=nats_server.url) as system:
        yield system


@pytest.fixture
async def lag(nats_server: EmbeddedServer) -> AsyncIterator[Lag]:
    async with open_lag(nats_server.url) as lag:
        yield lag


async def replay(server: EmbeddedServer, rows: Sequence[Row], folder: Path, *, kill: bool = False) -> list[Check]:
    """Run the rows through a supervisor in a process of its own; the checks of what came out."""
    async with (
        SupervisorProcess(server.url, folder) as supervisor,
        callboard.connect(server.url) as board,
        open_lag(server.url) as lag,
    ):
        outcome = await Replay(rows, board, lag, supervisor, kill=kill).run(Console(file=StringIO()))
    return checks(figures_of(rows), outcome)


async def test_every_figure_agrees_with_the_file(
    nats_server: EmbeddedServer, some_flights: Sequence[Row], tmp_path: Path
) -> None:
    results = await replay(nats_server, some_flights[1_400:1_700], tmp_path)
    assert [check for check in results if not check.passed] == []


@pytest.mark.timeout(120)  # what the killed process had in hand comes back after its lease of 30 s
async def test_a_supervisor_that_is_killed_loses_no_flight_and_settles_each_once(
    nats_server: EmbeddedServer, some_flights: Sequence[Row], tmp_path: Path
) -> None:
    results = await replay(nats_server, some_flights, tmp_path, kill=True)
    assert [check for check in results if not check.passed] == []


async def until_settled(lag: Lag) -> None:
    while await lag.anywhere():
        pass


async def test_a_plain_json_message_of_any_nats_client_is_handled(
    nats_server: EmbeddedServer, system: System, lag: Lag, month: Sequence[Row]
) -> None:
    client = await nats.connect(nats_server.url)
    await client.jetstream().publish("flights.departed", json.dumps(month[0]).encode())
    await client.close()
    await until_settled(lag)
    delay = await system.board.request("airports.EWR.delay", returns=AirportDelay)
    assert delay == AirportDelay("EWR", 1, 2.0)


async def test_handling_a_flight_twice_changes_no_delay_and_shows_in_the_ledger(
    system: System, lag: Lag, month: Sequence[Row]
) -> None:
    for _ in range(2):
        await system.board.publish("flights.departed", month[0], identifier=uuid4())
    await until_settled(lag)
    delay = await system.board.request("airports.EWR.delay", returns=AirportDelay)
    ledger = await system.board.request("ledger.summary", returns=LedgerSummary)
    assert (delay.departures, ledger) == (1, LedgerSummary(handled=2, distinct=1))
