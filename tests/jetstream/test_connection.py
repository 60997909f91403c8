"""The connection that everything in a process shares."""

from __future__ import annotations

import asyncio

import pytest

from callboard.brokers.mailbox import Kind, MailboxSpec
from callboard.brokers.topic import TopicTemplate
from callboard.brokers.transport import Topology
from callboard.embedded import EmbeddedServer
from callboard.errors import ConnectionLostError, NoServerError
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.jetstream.connection import NatsConnection


async def test_connection_that_failed_once_can_be_set_up_later_and_tells_of_its_loss(
    nats_server: EmbeddedServer,
) -> None:
    connection = NatsConnection(ConnectionOptions((nats_server.url,)))
    nats_server.kill()
    with pytest.raises(NoServerError, match="connection refused"):
        await connection.setup()

    await nats_server.restart()
    await connection.setup()
    await connection.client.close()  # as nats-py does by itself after an error that it cannot live with

    with pytest.raises(ConnectionLostError):
        await asyncio.wait_for(connection.wait_closed(), 5)
    await connection.destroy()


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
