"""A system on JetStream is ready only while messages would arrive."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio

import pytest

from callboard import Actor, command
from callboard.brokers.intake import Window
from callboard.brokers.status import Flow, MailboxStatus
from callboard.embedded import EmbeddedServer
from callboard.jetstream import JetStreamTransport
from callboard.jetstream.mailbox import JetStreamMailbox
from callboard.system import System
from callboard.system.status import Readiness
from tests.jetstream.eventually import eventually
from tests.jetstream.service import service

pytestmark = pytest.mark.usefixtures("nats_binary")


class Worker(Actor):
    failures = {OSError: "pause"}

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.finish = asyncio.Event()

    @command("work.do")
    async def do(self, number: int) -> None:
        if number == 0:
            raise OSError("what it needs is away")
        self.begun.set()
        await (self.go_on if number <= 40 else self.finish).wait()


def worker_of(system: System) -> Worker:
    [cell] = system._cells.values()
    return cell._instance


def mailbox_of(system: System) -> MailboxStatus:
    return system.status().actors[0].mailboxes[0]


async def test_not_ready_while_the_server_is_away(nats_server: EmbeddedServer) -> None:
    async with service(nats_server, Worker) as system:
        assert system.ready

        nats_server.kill()
        await nats_server.wait()
        await eventually(lambda: not system.ready, within=2.0)  # before a heartbeat is missed
        [reason] = system.status().reasons

        await nats_server.restart()
        await eventually(lambda: system.ready)

    assert reason.endswith("has no live pull")


async def test_not_ready_while_the_server_is_frozen(nats_server: EmbeddedServer) -> None:
    """Its connection looks alive for seconds; the missing heartbeats tell."""
    async with service(nats_server, Worker) as system:
        nats_server.pause()
        try:
            await eventually(lambda: not system.ready)
        finally:
            nats_server.resume()
        await eventually(lambda: system.ready)


def ahead(window: Window) -> int:
    """Messages to keep waiting: a hundred, however fast the handler is."""
    return 100


async def test_mailbox_with_messages_for_busy_slots_is_live(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for more only once half of what it may hold is used up."""
    monkeypatch.setattr("callboard.brokers.intake.Window.size", property(ahead))
    async with service(nats_server, Worker) as system:
        worker, mailbox = worker_of(system), mailbox_in(system)
        lane = mailbox._lane
        assert lane is not None
        await asyncio.gather(*(system.board.publish("work.do", number) for number in range(1, 102)))
        await eventually(lambda: len(lane.waiting) == 100)
        worker.go_on.set()
        await eventually(lambda: len(lane.waiting) == 60)
        monkeypatch.setattr("callboard.jetstream.mailbox.MISSED", 0.0)  # any silence is too long

        assert lane.room
        assert not mailbox._pulls
        assert mailbox_of(system).live
        worker.finish.set()


async def test_busy_mailbox_without_room_for_a_pull_is_live(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(nats_server, Worker) as system:
        worker = worker_of(system)
        await system.board.publish("work.do", 1)
        await worker.begun.wait()
        monkeypatch.setattr("callboard.jetstream.mailbox.MISSED", 0.0)  # any silence is too long

        assert mailbox_of(system).live
        worker.go_on.set()


async def test_mailbox_that_pauses_degrades_the_system(nats_server: EmbeddedServer) -> None:
    async with service(nats_server, Worker) as system:
        await system.board.publish("work.do", 0)
        await eventually(lambda: mailbox_of(system).flow is Flow.PAUSED)

        assert system.status().readiness is Readiness.DEGRADED
        assert mailbox_of(system).live


async def test_end_of_a_long_message_is_no_silence_of_the_server(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While every slot is busy no pull waits, and the server has nothing to say."""
    monkeypatch.setattr("callboard.jetstream.mailbox.HEARTBEAT", 0.2)
    loop = asyncio.get_running_loop()
    async with service(nats_server, Worker) as system:
        worker = worker_of(system)
        await system.board.publish("work.do", 1)
        await worker.begun.wait()
        begun = loop.time()
        await eventually(lambda: loop.time() > begun + 1.0)

        worker.go_on.set()
        mailbox = mailbox_in(system)
        await eventually(lambda: bool(mailbox._pulls))
        asked = loop.time()
        await eventually(lambda: mailbox._seen > asked + 0.25)

    assert "no sign of life" not in caplog.text


def mailbox_in(system: System) -> JetStreamMailbox:
    transport = system._transport
    assert isinstance(transport, JetStreamTransport)
    [mailbox] = (mailbox for mailbox in transport._mailboxes if mailbox.durable == mailbox_of(system).durable)
    return mailbox
