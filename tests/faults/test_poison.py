"""A message that always fails costs its own attempts and nobody else's."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from pathlib import Path

from callboard.embedded import EmbeddedServer
from tests.cli.command import command_line
from tests.faults.audit import Audit, read_letters
from tests.faults.outside import NOTE, noted, outside
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

MESSAGES = 1000
POISON = 400
DELAYS = (0, 0.1, 0.5)

SERVICE = (
    NOTE
    + """
from callboard import Actor, command


class Taster(Actor):
    concurrency = 8
    ack_wait = 2.0

    @command("dishes.taste", retry=(0, 0.1, 0.5))
    async def taste(self, number: int) -> None:
        note("begun", number)
        if number == 400:
            raise ValueError("poison")
        note("tasted", number)
"""
)


async def test_one_poison_message_among_a_thousand_is_dead_lettered_alone(
    nats_server: EmbeddedServer, figures: Figures, tmp_path: Path
) -> None:
    audit = Audit("dishes.taste", "DISHES")
    async with command_line(tmp_path / "project", SERVICE) as command, outside(nats_server) as seen:
        command.environment["NATS_URL"] = nats_server.url
        running = await command.run("svc")
        await running.worker()
        for _ in range(MESSAGES):
            await audit.publish(seen.board)
        await eventually(partial(seen.done, "DISHES"))

        audit.read_effects(command.folder / "tasted")
        found = await audit.check(nats_server.url)
        begun = Counter(number for number, _ in noted(command.folder / "begun"))
        attempts = begun.pop(POISON)
        figures("poison message among 1,000", **found, attempts=attempts, others_run_again=begun.total() - len(begun))
        (letter,) = await read_letters(nats_server.url)
        assert (letter.number, letter.attempts, letter.reason, letter.body) == (POISON, 4, "ValueError", b"400")
        assert attempts == len(DELAYS) + 1
        assert begun == dict.fromkeys(set(range(1, MESSAGES + 1)) - {POISON}, 1)

        running.signal(signal.SIGTERM)
        assert await running.ended() == 0
