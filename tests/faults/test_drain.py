"""SIGTERM hands back what has not begun: somebody else begins it at once, and nothing runs twice."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from time import monotonic

from callboard.embedded import EmbeddedServer
from tests.cli.command import command_line
from tests.faults.outside import NOTE, noted, outside
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

EASY = 200
SLOTS = PREFETCHED = 20
GRACE = 6.0
AT_ONCE = 1.0

SERVICE = (
    NOTE
    + '''
import asyncio
import os
from pathlib import Path
from callboard import Actor, command

WHO = os.environ["WHO"]


class Kitchen(Actor):
    """Quick at first, so that many messages are fetched ahead of it. Then come those that take two seconds."""

    concurrency = 20

    async def on_start(self) -> None:
        Path(f"{WHO}.there").touch()
        while not Path(f"{WHO}.open").exists():
            await asyncio.sleep(0.01)

    @command("meals.cook")
    async def cook(self, number: int) -> None:
        note(f"{WHO}.begun", number)
        if number >= 200:
            await asyncio.sleep(2.0)
        note(f"{WHO}.done", number)
'''
)


async def test_what_a_stopping_process_has_not_begun_begins_elsewhere_at_once(
    nats_server: EmbeddedServer, figures: Figures, tmp_path: Path
) -> None:
    async with command_line(tmp_path / "project", SERVICE) as command, outside(nats_server) as seen:
        command.environment["NATS_URL"] = nats_server.url
        folder = command.folder
        command.environment["WHO"] = "first"
        (folder / "first.open").touch()
        first = await command.run("svc", "--grace", str(GRACE))
        await first.worker()
        for number in range(EASY):
            await seen.board.publish("meals.cook", number)
        await eventually(lambda: len(noted(folder / "first.done")) == EASY)

        command.environment["WHO"] = "second"
        second = await command.run("svc")
        await second.exists("second.there")
        for number in range(EASY, EASY + SLOTS + PREFETCHED):
            await seen.board.publish("meals.cook", number)
        await eventually(lambda: len(noted(folder / "first.begun")) == EASY + SLOTS)
        assert await seen.handed_over("MEALS") == SLOTS + PREFETCHED
        (folder / "second.open").touch()
        await second.worker()

        stopped = monotonic()
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0
        took = monotonic() - stopped
        await eventually(partial(seen.done, "MEALS"))

        begun = [at - stopped for _, at in noted(folder / "second.begun")]
        runs = [number for who in ("first", "second") for number, _ in noted(folder / f"{who}.done")]
        figures(
            "SIGTERM with 20 prefetched messages and 2 s handlers",
            handed_back=len(begun),
            longest_until_begun_s=max(begun),
            exit_after_s=took,
            grace_s=GRACE,
            run_twice=len(runs) - len(set(runs)),
        )
        assert sorted(runs) == list(range(EASY + SLOTS + PREFETCHED))
        assert len(begun) == PREFETCHED
        assert max(begun) < AT_ONCE
        assert took < GRACE
