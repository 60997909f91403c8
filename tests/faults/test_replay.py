"""A replayed event reaches the actor that failed, and nobody who handled it already."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

from callboard.embedded import EmbeddedServer
from tests.cli.command import Running, command_line
from tests.faults.audit import read_letters
from tests.faults.outside import NOTE, noted, outside
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

SERVICE = (
    NOTE
    + '''
import os
from pathlib import Path
from callboard import Actor, BrokerRequest, event

SERVICE = os.environ["SERVICE"]


class Billing(Actor):
    """Fails in the service `shop` while the file `broken` is there."""

    @event("orders.placed", retry=())
    async def bill(self, number: int) -> None:
        note(f"{SERVICE}.billing", number)
        if SERVICE == "shop" and Path("broken").exists():
            raise ValueError("no connection to the bank")


class Mail(Actor):
    @event("orders.*", retry=())
    async def write(self, number: int) -> None:
        note(f"{SERVICE}.mail", number)
'''
)
EVERYBODY = ("shop.billing", "shop.mail", "depot.billing", "depot.mail")


async def test_replayed_event_runs_in_the_actor_that_failed_and_in_no_other(
    nats_server: EmbeddedServer, figures: Figures, tmp_path: Path
) -> None:
    """Two services have the same two actors; the billing of one fails."""
    async with command_line(tmp_path / "project", SERVICE) as command, outside(nats_server) as seen:
        command.environment["NATS_URL"] = nats_server.url
        (command.folder / "broken").touch()
        running: list[Running] = []
        for name in ("shop", "depot"):
            command.environment["SERVICE"] = name
            running.append(await command.run("svc", "--name", name))
            await running[-1].worker()
        for number in (1, 2, 3):
            await seen.board.publish("orders.placed", number)
        await eventually(partial(seen.done, "ORDERS", len(EVERYBODY)))
        assert [letter.body for letter in await read_letters(nats_server.url)] == [b"1", b"2", b"3"]

        (command.folder / "broken").unlink()
        replayed = await command("dead", "replay", "--all", "--error", "ValueError")
        assert replayed.code == 0, replayed.err
        await eventually(partial(seen.done, "ORDERS", len(EVERYBODY)))

        runs = {name: sorted(number for number, _ in noted(command.folder / name)) for name in EVERYBODY}
        figures(
            "replay of an event's dead letter",
            replayed=3,
            runs_of_who_failed=len(runs["shop.billing"]) - 3,
            runs_of_others=sum(len(runs[name]) - 3 for name in EVERYBODY if name != "shop.billing"),
            letters_left=len(await read_letters(nats_server.url)),
        )
        assert runs.pop("shop.billing") == [1, 1, 2, 2, 3, 3]
        assert set(map(tuple, runs.values())) == {(1, 2, 3)}
        assert await read_letters(nats_server.url) == []
        for each in running:
            each.signal(signal.SIGTERM)
            assert await each.ended() == 0
