"""Deploys use up no attempts, whatever waits meanwhile."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from time import monotonic
from uuid import UUID

import pytest
from nats.js import JetStreamContext

from callboard.brokers.deadletter import DEAD_STREAM, DEAD_TOPIC
from callboard.brokers.wire import IDENTIFIER
from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine, Running, command_line
from tests.faults.audit import read_letters
from tests.faults.outside import NOTE, Outside, noted, outside
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

DEPLOYS = 30
WAITING = 30
ATTEMPTS = 3
WITHOUT = 60.0
"""Seconds for which no dead letter can be stored, at the least."""

SERVICE = (
    NOTE
    + '''
import asyncio
import os
from pathlib import Path
from callboard import Actor, command

DEPLOY = os.environ["DEPLOY"]


class Carrier(Actor):
    """Carries nothing before the file `go` is there, and then no heavy parcel."""

    concurrency = 4
    retry = (0, 0)

    @command("parcels.carry")
    async def carry(self, number: int) -> None:
        note(f"{DEPLOY}.begun", number)
        try:
            while not Path("go").exists():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            if number % 2:
                raise
            raise ValueError("interrupted")
        note("carried", number)
        if number % 5 == 0:
            raise ValueError("too heavy")


class Scales(Actor):
    retry = (0, 0)

    @command("parcels.weigh")
    async def weigh(self, number: int) -> None:
        note("weighed", number)
        raise ValueError("broken scales")
'''
)


async def deploy(command: CommandLine, number: int) -> Running:
    """A process that holds messages."""
    command.environment["DEPLOY"] = str(number)
    running = await command.run("svc", "--grace", "0")
    await eventually(lambda: bool(noted(command.folder / f"{number}.begun")), within=30)
    return running


async def deploy_again_and_again(command: CommandLine, numbers: range) -> None:
    """One replica: each process is stopped when it has begun something; the last one stays."""
    for number in numbers:
        running = await deploy(command, number)
        if number != numbers[-1]:
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0


async def limit_dead_letters(js: JetStreamContext, messages: int) -> None:
    """The operator's limit; -1 for none."""
    config = (await js.stream_info(DEAD_STREAM)).config
    config.max_msgs = messages
    await js.update_stream(config)


@pytest.mark.timeout(240)
async def test_thirty_deploys_over_waiting_messages_use_up_no_attempt(
    nats_server: EmbeddedServer, figures: Figures, tmp_path: Path
) -> None:
    """Two replicas are deployed again and again. What runs is cut short each time, and what failed for good finds no
    room in the dead-letter stream. Afterwards each message has all its attempts."""
    async with command_line(tmp_path / "project", SERVICE) as command, outside(nats_server) as seen:
        command.environment["NATS_URL"] = nats_server.url
        first = await deploy_first(command, seen)
        somebody = {f"Callboard-Origin-{IDENTIFIER}": str(UUID(int=0))}
        await seen.js.publish(f"{DEAD_TOPIC}.somebody", b"the one that fills it", headers=somebody)
        await limit_dead_letters(seen.js, 1)
        full = monotonic()
        await seen.board.publish("parcels.weigh", WAITING, identifier=UUID(int=WAITING))

        await asyncio.gather(
            deploy_again_and_again(command, range(1, DEPLOYS // 2 + 1)),
            deploy_again_and_again(command, range(DEPLOYS // 2 + 1, DEPLOYS + 1)),
        )
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0
        await asyncio.sleep(full + WITHOUT - monotonic())  # the outage lasts so long: this is the fault, not a wait
        begun = Counter(number for deployed in command.folder.glob("*.begun") for number, _ in noted(deployed))
        assert not noted(command.folder / "carried")
        weighed = len(noted(command.folder / "weighed"))
        assert weighed > ATTEMPTS

        (command.folder / "go").touch()
        without = monotonic() - full
        await limit_dead_letters(seen.js, -1)
        await eventually(partial(all_settled, seen.js), within=30)
        carried = Counter(number for number, _ in noted(command.folder / "carried"))
        letters = {letter.number: letter.attempts for letter in await read_letters(nats_server.url) if letter.reason}
        figures(
            "30 deploys in a row over waiting messages; a minute without the dead-letter stream",
            without_s=without,
            cut_short=begun.total(),
            most_often_one_message=max(begun.values()),
            run_for_a_letter_that_found_no_room=weighed,
            attempts_used=0,
            handled=len(carried),
            dead_letters=len(letters),
        )
        heavy = dict.fromkeys(range(0, WAITING, 5), ATTEMPTS)
        assert carried == dict.fromkeys(range(WAITING), 1) | heavy
        assert letters == heavy | {WAITING: ATTEMPTS}


async def deploy_first(command: CommandLine, seen: Outside) -> Running:
    """The process that was there before; it makes the streams, and there is something to do."""
    command.environment["DEPLOY"] = "0"
    running = await command.run("svc", "--grace", "0")
    await running.worker()
    for number in range(WAITING):
        await seen.board.publish("parcels.carry", number, identifier=UUID(int=number))
    return running


async def all_settled(js: JetStreamContext) -> bool:
    """Whether no mailbox has anything left to do."""
    found = await js.consumers_info("PARCELS")
    return not any(consumer.num_pending or consumer.num_ack_pending for consumer in found)
