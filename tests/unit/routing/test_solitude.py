"""A suspect runs alone in its process."""

from __future__ import annotations

import asyncio
from math import inf

from callboard.routing.running import Running
from callboard.routing.solitude import Solitude


class Table(Running):
    """Notes in a list."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, bool]] = []
        self.ended: list[int] = []

    def begin(self, token: str, *, hard_deadline: float, alone: bool) -> int:
        self.rows.append((token, hard_deadline, alone))
        return len(self.rows) - 1

    def hold(self, token: str) -> int:
        return self.begin(token, hard_deadline=inf, alone=False)

    def end(self, row: int) -> None:
        self.ended.append(row)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def suspect(solitude: Solitude, journal: list[str], end: asyncio.Event) -> None:
    async with solitude.alone():
        row = solitude.begin("suspect", alone=True)
        journal.append("begins")
        await end.wait()
        journal.append("ends")
        solitude.end(row)


async def test_suspect_begins_when_all_others_have_ended_and_others_wait_for_it() -> None:
    solitude, end = Solitude(), asyncio.Event()
    journal: list[str] = []
    rows = [solitude.begin("a"), solitude.begin("b")]
    task = asyncio.create_task(suspect(solitude, journal, end))
    await settle()
    assert (solitude.closed, journal) == (True, [])

    for row in rows:
        solitude.end(row)
    await settle()
    waiting = asyncio.create_task(solitude.opened())
    await settle()
    assert (journal, waiting.done()) == (["begins"], False)

    end.set()
    await task
    await waiting
    assert (solitude.closed, journal) == (False, ["begins", "ends"])


async def test_suspects_take_turns() -> None:
    solitude, ends = Solitude(), [asyncio.Event(), asyncio.Event()]
    journal: list[str] = []
    tasks = [asyncio.create_task(suspect(solitude, journal, end)) for end in ends]
    await settle()
    assert journal == ["begins"]
    ends[0].set()
    await settle()
    assert journal == ["begins", "ends", "begins"]
    ends[1].set()
    await asyncio.gather(*tasks)


async def test_suspect_that_is_cancelled_while_it_waits_lets_the_others_go_on() -> None:
    solitude = Solitude()
    row = solitude.begin("a")
    task = asyncio.create_task(suspect(solitude, [], asyncio.Event()))
    await settle()
    waiting = asyncio.create_task(solitude.opened())
    task.cancel()
    await waiting
    solitude.end(row)

    assert task.cancelled() or task.done()
    assert not solitude.closed


async def test_what_runs_is_noted_where_somebody_watches() -> None:
    table = Table()
    solitude = Solitude(table)

    solitude.end(solitude.begin("one", 5.0))
    solitude.end(solitude.begin("two", alone=True))
    solitude.end(solitude.begin(""))

    assert table.rows == [("one", 5.0, False), ("two", inf, True)]
    assert table.ended == [0, 1]
