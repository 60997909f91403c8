"""The connection that everything in a process shares."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from nats.aio.client import Client

from callboard import Actor, command
from callboard.brokers.mailbox import Kind, MailboxSpec
from callboard.brokers.topic import TopicTemplate
from callboard.brokers.transport import Topology
from callboard.embedded import EmbeddedServer
from callboard.errors import NoServerError
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.jetstream import connection as connection_module
from callboard.jetstream.connection import NatsConnection
from tests.jetstream.eventually import eventually
from tests.jetstream.service import service


async def test_connection_that_failed_once_can_be_set_up_later(nats_server: EmbeddedServer) -> None:
    connection = NatsConnection(ConnectionOptions((nats_server.url,)))
    nats_server.kill()
    with pytest.raises(NoServerError, match="connection refused"):
        await connection.setup()

    await nats_server.restart()
    await connection.setup()
    assert connection.client.is_connected
    await connection.destroy()


def _close(client: Client) -> asyncio.Task[None]:
    """As nats-py does by itself after an error that it cannot live with."""
    return asyncio.ensure_future(client.close())


def _deafen(client: Client) -> None:
    """As happens when a callback raises, or somebody cancels a flush: nats-py goes on to say that it is connected."""
    assert client._reading_task is not None
    client._reading_task.cancel()


@pytest.mark.parametrize("end", [_close, _deafen])
async def test_client_that_is_closed_or_deaf_is_replaced_and_everything_goes_on(
    nats_server: EmbeddedServer, end: Callable[[Client], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "WATCH", 0.1)
    seen: list[int] = []

    class Worker(Actor):
        @command("work.do")
        async def do(self, number: int) -> int:
            seen.append(number)
            return number

    async with service(nats_server, Worker) as system:
        transport = system._transport
        assert isinstance(transport, JetStreamTransport)
        assert await system.board.request("work.do", 1) == 1
        former = transport._connection.client
        ending = end(former)

        await eventually(lambda: transport._connection.client is not former)
        assert await system.board.request("work.do", 2, timeout=10) == 2
        assert await system.board.request("work.do", 3) == 3
        del ending

    assert seen == [1, 2, 3]


async def test_failed_setup_leaves_no_task_behind(nats_server: EmbeddedServer) -> None:
    nats_server.kill()
    before = asyncio.all_tasks()
    with pytest.raises(NoServerError):
        await NatsConnection(ConnectionOptions((nats_server.url,))).setup()
    assert asyncio.all_tasks() == before


async def test_mailboxes_may_be_drained_from_two_sides_at_once(transport: JetStreamTransport) -> None:
    spec = MailboxSpec(Kind.EVENT, TopicTemplate.parse("orders.placed"), "shop", "kitchen")
    await transport.prepare(Topology([spec], []))
    async with transport.subscriber([spec]) as subscriber:
        await asyncio.gather(subscriber.drain(), subscriber.drain())
