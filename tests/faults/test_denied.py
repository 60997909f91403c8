"""What an account may not do is an error that says so, and soon."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from tests.cli.command import command_line
from tests.faults.report import Figures
from tests.jetstream.denying import server_that_denies, url

pytestmark = pytest.mark.usefixtures("nats_binary")

FAULT = "publish or subscribe not permitted for the account"
TIMEOUT = 5.0
"""Seconds; the shortest of the timeouts that a denial would end in: a call to JetStream, or the start of a worker."""
SERVICE = """
from callboard import Actor, command


class Orders(Actor):
    retry = ()

    @command("orders.place")
    async def place(self, number: int) -> int:
        await self.publish("bills.sent", number)
        return number
"""
DENIED = {
    "the subscription of replies": ("subscribe", "_INBOX.>", "_INBOX."),
    "the making of a stream": ("publish", "$JS.API.STREAM.CREATE.ORDERS", "$JS.API.STREAM.CREATE.ORDERS"),
    "the pulls of a mailbox": ("publish", "$JS.API.CONSUMER.MSG.NEXT.ORDERS.>", "$JS.API.CONSUMER.MSG.NEXT.ORDERS."),
}


@pytest.mark.parametrize("what", DENIED)
async def test_start_that_is_not_permitted_says_so_and_ends(what: str, figures: Figures, tmp_path: Path) -> None:
    operation, subject, named = DENIED[what]
    async with (
        server_that_denies(operation, subject) as server,
        command_line(tmp_path / "project", SERVICE) as command,
    ):
        command.environment["NATS_URL"] = url(server)
        begun = monotonic()
        running = await command.run("svc")
        code = await running.ended()
        seconds = monotonic() - begun

    figures(FAULT, denied=what, exit_code=code, said_after_s=seconds)
    assert code == 5
    assert f"permission denied for '{named}" in running.text
    assert seconds < TIMEOUT


async def test_call_that_is_not_permitted_says_so(figures: Figures, tmp_path: Path) -> None:
    """Of a person, and of a handler: its caller gets an error reply, and the message a dead letter that says why."""
    async with (
        server_that_denies("publish", "bills.sent") as server,
        command_line(tmp_path / "project", SERVICE) as command,
    ):
        command.environment["NATS_URL"] = url(server, "root")
        running = await command.run("svc", "--nats", url(server))
        await running.worker()
        begun = monotonic()
        refused = await command("publish", "bills.sent", "1", "--nats", url(server))
        said = monotonic() - begun
        answer = await command("request", "orders.place", "1")
        answered = monotonic() - begun - said
        letters = await command("dead", "list")

    figures(
        FAULT,
        denied="an output",
        exit_code=refused.code,
        said_after_s=said,
        handler_answered_after_s=answered,
        dead_letters=letters.out.count("PermissionDeniedError"),
    )
    assert refused.code == 5
    assert "permission denied for 'bills.sent'" in refused.err
    assert answer.code == 1
    assert letters.out.count("PermissionDeniedError") == 1
    assert max(said, answered) < TIMEOUT
