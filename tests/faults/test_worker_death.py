"""The death of a worker costs its messages nothing; the message that causes it is found."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import frozen

from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from tests.cli.command import CommandLine, Running, command_line
from tests.faults.journal import NOTE, Journal
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

KILLS = 20
ACK_WAIT = 2.0
WORK = 0.05
"""Seconds that a message runs."""

STEADY = f"""
import asyncio
from callboard import Actor, command
{NOTE}

class Steady(Actor):
    concurrency = 16
    ack_wait = {ACK_WAIT}

    @command("steady.work")
    async def work(self, number: int) -> None:
        note("begin", number)
        await asyncio.sleep({WORK})
        note("end", number)
"""


@frozen
class Place:
    """A service, what it says, and the door to it."""

    command: CommandLine
    board: Board
    transport: JetStreamTransport

    @property
    def journal(self) -> Journal:
        return Journal(self.command.folder / "journal.txt")

    async def letters(self) -> list[tuple[str, int]]:
        """Error type and number of attempts of the dead letters."""
        return [(letter.error_type, letter.attempts) async for letter in self.transport.dead_letters.letters()]


@pytest.fixture
async def place(nats_server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Place]:
    async with (
        command_line(tmp_path / "project", STEADY) as command,
        JetStreamTransport(ConnectionOptions((nats_server.url,))) as transport,
    ):
        command.environment["NATS_URL"] = nats_server.url
        yield Place(command, Board(transport), transport)


# Killed from outside


class Load:
    """Messages, about as many ahead as the workers can have in progress."""

    def __init__(self, place: Place, journal: Journal) -> None:
        self.published = 0
        self.enough = False
        self._place = place
        self._journal = journal

    async def run(self) -> None:
        while not self.enough:
            if self.published - len(set(self._journal.names("end"))) < 60:
                await self._place.board.publish("steady.work", self.published)
                self.published += 1
            else:
                await asyncio.sleep(0.01)


def crowd(journal: Journal) -> Counter[int]:
    """How many messages each process runs."""
    return Counter(entry.pid for entry in journal.running().values())


def victim(journal: Journal, alive: set[int]) -> int | None:
    """A worker in the middle of several messages, while another one lives."""
    if len(alive) < 2:
        return None
    return next((pid for pid, messages in crowd(journal).items() if pid in alive and messages > 1), None)


def suspects(log: str) -> list[str]:
    """The names of all messages that ran in a worker that died; one is published after the other."""
    return [str(int(number) - 1) for number in re.findall(r"message (\d+) of \S+ ran in a worker that died", log)]


async def kill_one(journal: Journal, running: Running, dead: set[int]) -> float:
    """Kill a worker in the middle of its messages, and wait until their fate is known: when it was killed."""

    def alive() -> set[int]:
        return {int(pid) for pid in re.findall(r"worker ready \(pid (\d+)\)", running.text)} - dead

    await eventually(lambda: victim(journal, alive()) is not None, within=60)
    while (pid := victim(journal, alive())) is None:
        await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    dead.add(pid)
    await eventually(lambda: len(RAN.findall(running.text)) == len(dead))
    await eventually(lambda: len(suspects(running.text)) == sum(map(int, RAN.findall(running.text))))
    return killed


RAN = re.compile(r"was killed by SIGKILL, messages in progress: (\d+)")


async def taken_over(journal: Journal, killed: float, name: str) -> float:
    """Seconds from the death of its worker until a message began in another one; it has ended there."""

    def later(word: str) -> list[float]:
        return [e.at for e in journal.read() if e.name == name and e.word == word and e.at > killed]

    await eventually(lambda: bool(later("begin") and later("end")), within=40)
    return later("begin")[0] - killed


@pytest.mark.timeout(240)
async def test_messages_of_killed_workers_are_taken_over_and_all_handled(place: Place, figures: Figures) -> None:
    """A worker is killed only while no suspect is left: a death while one runs alone would convict it."""
    running = await place.command.run("svc", "--workers", "3")
    await running.worker(3)
    journal = place.journal
    load = Load(place, journal)
    publishing = asyncio.create_task(load.run())
    gaps: list[float] = []
    dead: set[int] = set()
    for _ in range(KILLS):
        killed = await kill_one(journal, running, dead)
        orphans = suspects(running.text)[len(gaps) :]
        gaps += await asyncio.gather(*(taken_over(journal, killed, name) for name in orphans))
    load.enough = True
    await publishing
    wanted = {str(number) for number in range(load.published)}
    await eventually(lambda: set(journal.names("end")) >= wanted, within=40)

    letters = await place.letters()
    figures(
        "worker SIGKILLed from outside mid-message, 20 times",
        messages=load.published,
        handled=len(set(journal.names("end"))),
        killed_mid_message=len(gaps),
        convicted=len(letters),
        longest_takeover_s=max(gaps),
        median_takeover_s=sorted(gaps)[len(gaps) // 2],
    )
    assert letters == []
    assert max(gaps) <= ACK_WAIT + 1
    assert len(gaps) >= 2 * KILLS


# Killed by a message

KILLER = 32
IN_PROGRESS = 64

DEADLY = f"""
import asyncio
import ctypes
import signal
from pathlib import Path
from callboard import Actor, command
{NOTE}

def segfault() -> None:
    ctypes.string_at(0)


def sigkill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Actor):
    concurrency = {IN_PROGRESS}
    ack_wait = {ACK_WAIT}

    @command("deadly.work")
    async def work(self, number: int) -> None:
        note("begin", number)
        struck = Path("struck")
        while not struck.exists():
            if number == {KILLER} and len(Path("journal.txt").read_text().splitlines()) >= {IN_PROGRESS}:
                struck.touch()
            else:
                await asyncio.sleep(0.01)
        if number == {KILLER}:
            DEATH()
        note("end", number)
"""


@pytest.mark.parametrize("death", ["segfault", "sigkill"])
async def test_message_that_kills_its_worker_is_given_up_and_its_neighbours_are_handled(
    place: Place, figures: Figures, death: str
) -> None:
    (place.command.folder / "deadly.py").write_text(DEADLY.replace("DEATH", death))
    running = await place.command.run("deadly")
    await running.worker()
    begun = time.monotonic()
    for number in range(IN_PROGRESS):
        await place.board.publish("deadly.work", number)
    journal = place.journal
    innocent = {str(number) for number in range(IN_PROGRESS)} - {str(KILLER)}

    async def given_up() -> bool:
        return bool(await place.letters())

    await eventually(given_up, within=40)
    gone = time.monotonic() - begun
    await eventually(lambda: set(journal.names("end")) == innocent, within=40)

    letters, deaths = await place.letters(), running.text.count("was killed by")
    figures(
        "message that kills its worker, among 64 in progress",
        how=death,
        deaths=deaths,
        dead_letters=", ".join(kind for kind, _ in letters),
        runs_of_the_killer=journal.names("begin").count(str(KILLER)),
        neighbours_handled=len(set(journal.names("end"))),
        given_up_after_s=gone,
    )
    assert letters == [("worker_died", 1)]
    assert deaths == 2
    assert journal.names("begin").count(str(KILLER)) == 2


# Hung

TIMEOUT, HARD = 0.5, 1.5

STUBBORN = f"""
import asyncio
import ctypes
from callboard import Actor, command
{NOTE}

class Stubborn(Actor):
    concurrency = 4
    retry = (0.5,)

    @command("stubborn.swallow", timeout={TIMEOUT}, hard_timeout={HARD})
    async def swallow(self, name: str) -> None:
        note("begin", name)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                note("cancelled", name)

    @command("stubborn.block", hard_timeout={HARD})
    def block(self, name: str) -> None:
        note("begin", name)
        ctypes.PyDLL(None).sleep(60)  # holds the interpreter's lock: no timer, no lease, no signal handler runs
"""


@pytest.mark.parametrize("how", ["swallow", "block"])
async def test_worker_of_a_handler_that_hangs_is_replaced_at_the_hard_limit(
    place: Place, figures: Figures, how: str
) -> None:
    (place.command.folder / "stubborn.py").write_text(STUBBORN)
    running = await place.command.run("stubborn")
    await running.worker()
    await place.board.publish(f"stubborn.{how}", "it")
    journal = place.journal

    async def given_up() -> bool:
        return bool(await place.letters())

    await eventually(given_up, within=40)
    first, second = [entry.at for entry in journal.read() if entry.word == "begin"]
    cancelled = [entry.at - first for entry in journal.read() if entry.word == "cancelled"]
    letters = await place.letters()
    measured = {"cancelled_after_s": cancelled[0]} if cancelled else {}
    figures(
        "handler hangs",
        how=how,
        timeout_s=TIMEOUT,
        hard_timeout_s=HARD,
        **measured,
        next_attempt_after_s=second - first,
        workers_replaced=running.text.count("past its hard limit"),
        dead_letter=f"{letters[0][0]} after {letters[0][1]} attempts",
    )
    assert letters == [("HandlerTimeoutError", 2)]
    assert running.text.count("past its hard limit") == 2
    assert HARD + 0.5 <= second - first < HARD + 0.5 + 3
    assert how == "block" or TIMEOUT <= cancelled[0] < HARD
