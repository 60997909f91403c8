"""Messages that take long beside their lease run once, however many processes compete for them."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from callboard.embedded import EmbeddedServer
from tests.cli.command import command_line
from tests.faults.outside import NOTE, noted, outside
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

MESSAGES = 100

SERVICE = (
    NOTE
    + '''
import asyncio
import os
from callboard import Actor, command


class Press(Actor):
    """Nothing here may run twice: there is no check for it."""

    concurrency = 4
    ack_wait = 2.0

    @command("pages.print")
    async def print_page(self, number: int) -> None:
        note(f"{os.getpid()}.begun", number)
        await asyncio.sleep(0.3)
'''
)


@pytest.mark.parametrize("start", [["svc"], ["svc", "--workers", "2"]], ids=["two services", "--workers 2"])
async def test_each_message_runs_once(
    nats_server: EmbeddedServer, figures: Figures, tmp_path: Path, start: list[str]
) -> None:
    """Seven messages take longer than a lease: who fetched too far ahead would see them come again."""
    async with command_line(tmp_path / "project", SERVICE) as command, outside(nats_server) as seen:
        command.environment["NATS_URL"] = nats_server.url
        running = [await command.run(*start) for _ in range(1 if "--workers" in start else 2)]
        for each in running:
            await each.worker(2 if "--workers" in start else 1)

        for number in range(MESSAGES):
            await seen.board.publish("pages.print", number)
        await eventually(partial(seen.done, "PAGES"), within=30)

        runs = {file.stem: noted(file) for file in command.folder.glob("*.begun")}
        times = sorted(at for notes in runs.values() for _, at in notes)
        figures(
            "100 messages of 0.3 s, ack_wait 2 s, concurrency 4, two workers",
            started_as=" ".join(start) if "--workers" in start else "two processes",
            runs=len(times),
            of_each_worker=" and ".join(str(len(notes)) for notes in runs.values()),
            last_begun_after_s=times[-1] - times[0],
        )
        assert Counter(number for notes in runs.values() for number, _ in notes) == dict.fromkeys(range(MESSAGES), 1)
        assert len(runs) == 2
        assert min(map(len, runs.values())) > MESSAGES / 4  # nobody keeps what the other one could begin

        for each in running:
            each.signal(signal.SIGTERM)
            assert await each.ended() == 0
