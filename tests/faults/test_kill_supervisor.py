"""Nothing that was acknowledged is lost when the supervisor, its worker or the server is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from tests.cli.command import CommandLine, Running, command_line
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

EVENTS = 2000

SERVICE = '''
import os
from callboard import Actor, event


class Ledger(Actor):
    """Each event becomes a line that survives the process."""

    concurrency = 8
    ack_wait = 2.0

    async def on_start(self) -> None:
        self.file = os.open("ledger.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    async def on_stop(self) -> None:
        os.close(self.file)

    @event("sales.made")
    async def enter(self, number: int) -> None:
        os.write(self.file, b"%d\\n" % number)
        os.fsync(self.file)
'''


def effects(folder: Path) -> Counter[int]:
    """How often each event's effect stands in the ledger."""
    try:
        lines = (folder / "ledger.txt").read_text().split()
    except FileNotFoundError:
        return Counter()
    return Counter(int(line) for line in lines)


async def at_least(folder: Path, count: int) -> None:
    await eventually(lambda: len(effects(folder)) >= count, within=45)


async def start(command: CommandLine) -> tuple[Running, int]:
    """A supervisor whose worker is ready, and the worker's pid."""
    running = await command.run("svc")
    return running, await running.worker()


async def kill(running: Running, worker: int) -> None:
    """SIGKILL the parent and its worker, as a lost machine would."""
    running.signal(signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    await running.ended()


@pytest.mark.parametrize("victims", ["supervisor", "supervisor and server"])
async def test_every_acknowledged_event_has_its_effect(
    nats_server: EmbeddedServer, tmp_path: Path, victims: str, figures: Figures
) -> None:
    acknowledged: list[int] = []
    turn = asyncio.Semaphore(20)

    async def publish(board: Board, number: int) -> None:
        async with turn:
            await board.publish("sales.made", number)
            acknowledged.append(number)

    async with (
        command_line(tmp_path / "project", SERVICE) as command,
        JetStreamTransport(ConnectionOptions((nats_server.url,))) as transport,
    ):
        command.environment["NATS_URL"] = nats_server.url
        running, worker = await start(command)
        publishing = asyncio.gather(*(publish(Board(transport), number) for number in range(EVENTS)))

        for part in (300, 900):
            await at_least(command.folder, part)
            await kill(running, worker)
            assert len(effects(command.folder)) < EVENTS
            if victims == "supervisor and server":
                nats_server.kill()
                await nats_server.restart()
            running, worker = await start(command)
        await publishing
        await at_least(command.folder, EVENTS)

        runs = effects(command.folder)
        figures(
            "supervisor, its worker and the server SIGKILLed together",
            killed=victims,
            acknowledged=len(acknowledged),
            lost=len(set(acknowledged) - set(runs)),
            run_again=runs.total() - len(runs),
        )
        assert set(runs) == set(acknowledged) == set(range(EVENTS))
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0
