"""Messages that wait for a late retry hold back nobody."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from callboard.embedded import EmbeddedServer
from tests.cli.command import command_line
from tests.faults.outside import NOTE, Outside, noted, outside
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

PARKED = 2000
LOAD = 3000
"""Healthy messages of one measurement."""
TURNS = 3
FULL_SPEED = 0.8
"""Of the speed without parked messages. Equal loads on busy processors differ by as much as this leaves."""

SERVICE = (
    NOTE
    + '''
import asyncio
from callboard import Actor, command


class Office(Actor):
    """Two equal mailboxes. At full speed all slots are busy: 3,200 messages a second."""

    concurrency = 16

    @command("forms.file", retry=(600,))
    async def file(self, number: int) -> None:
        await self.handle("file", number)

    @command("forms.copy", retry=(600,))
    async def copy(self, number: int) -> None:
        await self.handle("copy", number)

    async def handle(self, what: str, number: int) -> None:
        if number >= 1_000_000:
            raise ValueError("the archive is closed")
        await asyncio.sleep(0.005)
        note(what, number)
'''
)
PARKS = 1_000_000


async def in_hand(seen: Outside) -> tuple[int, int]:
    """Messages of all mailboxes that wait, and that were handed over and are not settled: what is parked, at rest."""
    found = await seen.js.consumers_info("FORMS")
    return sum(each.num_pending or 0 for each in found), sum(each.num_ack_pending or 0 for each in found)


async def speed(seen: Outside, folder: Path, what: str) -> float:
    """Healthy messages per second of a load that is in the stream within an instant."""
    file = folder / what
    file.unlink(missing_ok=True)

    async def handled() -> bool:
        return await in_hand(seen) == (0, PARKED) and len(noted(file)) == LOAD

    for number in range(LOAD):
        await seen.client.publish(f"forms.{what}", b"%d" % number)
    await eventually(handled)
    times = [at for _, at in noted(file)]
    return LOAD / (max(times) - min(times))


@pytest.mark.timeout(90)
async def test_healthy_messages_pass_two_thousand_parked_ones_at_full_speed(
    nats_server: EmbeddedServer, figures: Figures, tmp_path: Path
) -> None:
    """Compared with the same load for a mailbox of the same process in which nothing is parked, in turns."""
    async with command_line(tmp_path / "project", SERVICE) as command, outside(nats_server) as seen:
        command.environment["NATS_URL"] = nats_server.url
        running = await command.run("svc")
        await running.worker()
        for number in range(PARKED):  # among healthy ones: it is no outage
            await seen.client.publish("forms.file", b"%d" % (PARKS + number))
            for _ in range(4):
                await seen.client.publish("forms.file", b"0")
        await eventually(partial(all_parked, seen), within=45)

        turns = [
            (await speed(seen, command.folder, "copy"), await speed(seen, command.folder, "file")) for _ in range(TURNS)
        ]
        without, behind = (max(speeds) for speeds in zip(*turns, strict=True))
        figures(
            "2,000 messages parked in long retries",
            without_any_per_s=int(without),
            behind_them_per_s=int(behind),
            speed_percent=int(behind / without * 100),
        )
        assert behind / without > FULL_SPEED
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0


async def all_parked(seen: Outside) -> bool:
    return await in_hand(seen) == (0, PARKED)
