"""What the account may not do is said at once, with the subject; nobody waits for a timeout."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from callboard.brokers.mailbox import MailboxSpec, group_mailboxes
from callboard.brokers.transport import Topology
from callboard.client import Board
from callboard.config import Config
from callboard.embedded import EmbeddedServer
from callboard.errors import PermissionDeniedError
from callboard.jetstream import JetStreamTransport
from callboard.jetstream.topology import topology_of
from tests.jetstream.denying import server_that_denies, url

pytestmark = pytest.mark.usefixtures("nats_binary")

SOON = 2.0
"""Seconds; the timeouts that a denial would end in otherwise are 3 and more."""


def transport_of(server: EmbeddedServer, user: str = "shop") -> JetStreamTransport:
    return JetStreamTransport.from_config(Config(nats=url(server, user)))


def mailbox(topic: str) -> MailboxSpec:
    return group_mailboxes([topic], "shop")[0]


@contextmanager
def denied(subject: str) -> Generator[None]:
    """What is inside is refused soon, by an error that names the subject."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(PermissionDeniedError) as raised:
        yield
    assert loop.time() - begun < SOON
    assert f"permission denied for '{subject}" in str(raised.value)


async def test_publish_to_a_denied_topic_is_refused_at_once() -> None:
    async with server_that_denies("publish", "orders.Place") as server, transport_of(server) as transport:
        await transport.prepare(Topology((), ["orders.Place"]))
        board = Board(transport)

        with denied("orders.Place"):
            await board.publish("orders.Place", 1)

        assert (await board.publish("orders.other", 1)).sequence == 1


async def test_denied_inbox_is_an_error_of_the_start() -> None:
    async with server_that_denies("subscribe", "_INBOX.>") as server:
        transport = transport_of(server)

        with denied("_INBOX."):
            await transport.setup()


async def test_start_works_again_once_the_inbox_is_allowed() -> None:
    async with server_that_denies("subscribe", "_INBOX.>") as server:
        transport = transport_of(server)
        with denied("_INBOX."):
            await transport.setup()

        server.extra_config = ""
        await server.restart()

        async with transport:
            await transport.prepare(Topology((), ["orders.place"]))


@pytest.mark.parametrize(
    "call",
    ["STREAM.NAMES", "STREAM.CREATE.ORDERS", "CONSUMER.CREATE.ORDERS.{durable}", "STREAM.INFO.CALLBOARD_DEAD"],
)
async def test_denied_call_of_the_start_is_named_at_once(call: str) -> None:
    spec = mailbox("orders.place")
    subject = f"$JS.API.{call.format(durable=spec.durable)}"
    async with server_that_denies("publish", subject) as server, transport_of(server) as transport:
        with denied(subject):
            await transport.prepare(Topology([spec], ()))


async def test_other_calls_are_not_ended_by_the_denial_of_one() -> None:
    spec = mailbox("orders.place")
    subject = "$JS.API.STREAM.CREATE.BILLS"
    async with server_that_denies("publish", subject) as server, transport_of(server) as transport:
        results = await asyncio.gather(
            transport.prepare(Topology([spec], ())),
            transport.prepare(Topology((), ["bills.sent"])),
            return_exceptions=True,
        )

    assert results[0] is None
    assert isinstance(results[1], PermissionDeniedError)


async def test_denied_pull_is_an_error_of_the_start() -> None:
    specs = [mailbox("orders.place"), mailbox("bills.sent")]
    subject = f"$JS.API.CONSUMER.MSG.NEXT.BILLS.{specs[1].durable}"
    async with server_that_denies("publish", subject) as server, transport_of(server) as transport:
        for _ in range(2):
            with denied(subject):
                await transport.prepare(Topology(specs, ()))

        await transport.prepare(Topology(specs[:1], ()))


async def test_check_of_pulls_takes_no_message(nats_server: EmbeddedServer) -> None:
    spec = mailbox("orders.place")
    async with JetStreamTransport.from_config(Config(nats=nats_server.url)) as transport:
        await transport.prepare(Topology([spec], ()))
        await Board(transport).publish("orders.place", 1)
    async with topology_of(Config(nats=nats_server.url)) as topology:
        await topology.locate(spec)

        info = await topology._api.call(f"CONSUMER.INFO.ORDERS.{spec.durable}")

    assert (info["num_waiting"], info["num_ack_pending"], info["num_pending"]) == (0, 0, 1)


async def test_pull_that_is_denied_later_ends_the_mailbox_at_once() -> None:
    spec = mailbox("orders.place")
    subject = f"$JS.API.CONSUMER.MSG.NEXT.ORDERS.{spec.durable}"
    async with server_that_denies("publish", "nothing") as server, transport_of(server) as transport:
        await transport.prepare(Topology([spec], ()))
        async with transport.subscriber([spec]) as subscriber:
            server.extra_config = server.extra_config.replace("nothing", subject)
            await server.restart()

            with pytest.raises(PermissionDeniedError, match=re.escape(subject.lower())):
                await asyncio.wait_for(subscriber.receive(), 10)


async def test_floors_that_may_not_be_read_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    spec = mailbox("orders.place")
    subject = "$JS.API.CONSUMER.INFO.>"
    async with server_that_denies("publish", subject) as server, topology_of(Config(nats=url(server))) as topology:
        await topology.prepare([spec], ())
        for _ in range(3):
            await topology.record.note([("ORDERS", spec.durable)])

    assert caplog.text.count("the floors of durables are not recorded") == 1
    assert caplog.text.count("may not publish to $js.api.consumer.info") == 1
