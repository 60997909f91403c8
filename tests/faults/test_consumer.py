"""What an operator does to consumers and streams under a running service."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from pathlib import Path
from time import monotonic
from uuid import UUID

import pytest
from nats.js.errors import NotFoundError

from callboard import Actor, event
from callboard.embedded import EmbeddedServer
from tests.cli.command import command_line
from tests.faults.audit import Audit, read_letters
from tests.faults.outside import NOTE, noted, outside
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually
from tests.jetstream.service import service

DELETIONS = 5
HEALED = 2.0
HOPELESS = 1_000_000

SERVICE = (
    NOTE
    + """
from callboard import Actor, command


class Clerk(Actor):
    concurrency = 4

    @command("letters.sort", retry=(0, 4, 0))
    async def sort(self, number: int) -> None:
        note("begun", number)
        if number >= 1_000_000:
            raise ValueError("no address")
        note("sorted", number)
"""
)


async def test_deleted_consumer_is_healed_within_two_seconds_and_attempts_are_kept(
    nats_server: EmbeddedServer, figures: Figures, tmp_path: Path
) -> None:
    """Deleted again and again under load; at last while a message has two of its four attempts behind it."""
    audit = Audit("letters.sort", "LETTERS")
    healed: list[float] = []
    async with command_line(tmp_path / "project", SERVICE) as command, outside(nats_server) as seen:
        command.environment["NATS_URL"] = nats_server.url
        running = await command.run("svc")
        await running.worker()
        begun = command.folder / "begun"

        async with audit.load(seen.board):
            for number in range(1, DELETIONS + 1):
                await eventually(partial(handled_after, audit, command.folder / "sorted", 50 * number))
                if number == DELETIONS:
                    await seen.board.publish("letters.sort", HOPELESS, identifier=UUID(int=HOPELESS))
                    await eventually(lambda: [each for each, _ in noted(begun)].count(HOPELESS) == 2)
                await seen.js.delete_consumer("LETTERS", (await seen.consumer("LETTERS")).name)
                deleted, last = monotonic(), max(audit.done)
                await eventually(partial(handled_after, audit, command.folder / "sorted", last))
                healed.append(min(each.at for each in audit.effects if each.number > last) - deleted)
        await eventually(partial(seen.done, "LETTERS"))

        audit.read_effects(command.folder / "sorted")
        found = await audit.check(nats_server.url)
        runs = Counter(number for number, _ in noted(begun))
        (letter,) = await read_letters(nats_server.url)
        figures(
            "consumer deleted",
            times=DELETIONS,
            longest_until_healed_s=max(healed),
            attempts=f"{letter.attempts} of 4",
            **found,
        )
        assert max(healed) < HEALED
        assert (letter.attempts, runs[HOPELESS]) == (4, 4)
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0


def handled_after(audit: Audit, file: Path, number: int) -> bool:
    """Whether a message that was published after this one was handled."""
    audit.read_effects(file)
    return any(effect.number > number for effect in audit.effects)


@pytest.mark.parametrize("mode", ["manage", "verify", "off"])
async def test_operators_configuration_is_respected_or_reported(
    nats_server: EmbeddedServer, figures: Figures, tmp_path: Path, mode: str
) -> None:
    """The operator changes one field that the code names, and one that it does not, under a running service."""
    async with command_line(tmp_path / "project", SERVICE) as command, outside(nats_server) as seen:
        command.environment["NATS_URL"] = nats_server.url
        running = await command.run("svc")
        await running.worker()
        config = (await seen.consumer("LETTERS")).config
        config.ack_wait, config.description = 12.0, "ask Kim before you touch this"
        await seen.js.add_consumer("LETTERS", config)
        await seen.board.publish("letters.sort", 1)
        await eventually(lambda: bool(noted(command.folder / "sorted")))  # who runs goes on
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0

        command.environment["CALLBOARD_STREAMS_MANAGE"] = mode
        again = await command.run("svc")
        refused = mode == "verify"
        assert await again.ended() == 5 if refused else await again.worker()
        found = (await seen.consumer("LETTERS")).config
        figures(
            "consumer's configuration changed by an operator",
            mode=mode,
            named_field="written back" if found.ack_wait == 30 else "left alone",
            unnamed_field="left alone" if found.description == config.description else "written",
            start="refused" if refused else "goes on",
        )
        assert found.description == config.description
        assert found.ack_wait == (30.0 if mode == "manage" else 12.0)
        assert mode == "manage" or ("ack_wait=12.0" in again.text and "30.0" in again.text)


async def test_deleted_stream_is_an_alarm_and_is_not_made_again(
    nats_server: EmbeddedServer, figures: Figures, tmp_path: Path
) -> None:
    """Who runs says so and is not ready, who starts refuses. It goes on when somebody decides."""
    async with command_line(tmp_path / "project", SERVICE) as command, outside(nats_server) as seen:
        command.environment["NATS_URL"] = nats_server.url
        running = await command.run("svc")
        await running.worker()
        async with service(nats_server, Reader, name="readers") as system:
            await seen.board.publish("letters.sort", 1)
            await eventually(partial(seen.done, "LETTERS", 2))

            deleted = monotonic()
            await seen.js.delete_stream("LETTERS")
            await eventually(lambda: bool(system.alarms))
            alarmed = monotonic() - deleted
            assert not system.ready
            await running.says("stands still: stream 'LETTERS'")
            started = await command.run("svc")
            assert await started.ended() == 5
            assert "callboard topology apply --recreate LETTERS" in started.text
            with pytest.raises(NotFoundError):
                await seen.js.stream_info("LETTERS")

            applied = await command("topology", "apply", "svc", "--recreate", "LETTERS")
            assert applied.code == 0, applied.err
            await eventually(lambda: system.ready)
            await seen.board.publish("letters.sort", 2)
            await eventually(lambda: {number for number, _ in noted(command.folder / "sorted")} == {1, 2})
        figures("stream deleted", alarm_after_s=alarmed, ready="no", made_again="only by 'topology apply --recreate'")
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0


class Reader(Actor):
    """In this process, where readiness can be asked."""

    @event("letters.sort")
    async def read(self, number: int) -> None:
        pass
