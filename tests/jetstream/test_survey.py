"""What waits in mailboxes on a real server, and the alarm before a stream drops it."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from callboard.brokers.mailbox import MailboxSpec, group_mailboxes
from callboard.brokers.transport import Topology
from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.jetstream.api import JetStreamApi
from callboard.jetstream.connection import NatsConnection
from callboard.jetstream.survey import Survey
from callboard.statistics import MailboxStatistics, Statistics
from tests.jetstream.eventually import eventually
from tests.jetstream.test_permissions import server_that_denies, url

SPEC = group_mailboxes(["orders.placed"], "shop")[0]


class Surveyed:
    """A survey of one mailbox."""

    def __init__(self, connection: NatsConnection, specs: list[MailboxSpec]) -> None:
        self.connection = connection
        self.statistics = Statistics()
        for spec in specs:
            self.statistics.mailbox(spec.durable, spec.actor, spec.template.text).stream = "ORDERS"
        self.survey = Survey(connection, JetStreamApi(connection), lambda: self.statistics)

    @property
    def mailbox(self) -> MailboxStatistics:
        return self.statistics.mailboxes[SPEC.durable]

    async def age_above(self, seconds: float) -> bool:
        """Look, and say whether the oldest message is older."""
        await self.survey.look()
        return self.mailbox.age_now > seconds


@asynccontextmanager
async def surveyed(server: EmbeddedServer, *specs: MailboxSpec) -> AsyncGenerator[Surveyed]:
    async with NatsConnection(ConnectionOptions((server.url,))) as connection:
        yield Surveyed(connection, list(specs) or [SPEC])


@pytest.fixture
async def prepared(transport: JetStreamTransport) -> JetStreamTransport:
    """The stream and the durable are there, and nobody pulls."""
    await transport.prepare(Topology([SPEC], ()))
    return transport


async def keep_for(js: JetStreamContext, seconds: float) -> None:
    """The stream drops messages after so long."""
    config = (await js.stream_info("ORDERS")).config
    config.max_age = seconds
    config.duplicate_window = min(seconds, config.duplicate_window or seconds)
    await js.update_stream(config)


@pytest.mark.usefixtures("prepared")
async def test_what_waits_and_what_is_not_settled_are_told_apart(
    nats_server: EmbeddedServer, board: Board, js: JetStreamContext
) -> None:
    for number in range(5):
        await board.publish("orders.placed", number)
    pulling = await js.pull_subscribe_bind(SPEC.durable, "ORDERS")
    taken = await pulling.fetch(2)

    async with surveyed(nats_server) as looking:
        await looking.survey.look()
        assert (looking.mailbox.lag_now, looking.mailbox.ack_pending_now) == (3, 2)

        for message in taken:
            await message.ack_sync()
        await looking.survey.look()
        assert (looking.mailbox.lag_now, looking.mailbox.ack_pending_now) == (3, 0)


@pytest.mark.usefixtures("prepared")
async def test_age_is_that_of_the_oldest_message_that_is_not_settled(
    nats_server: EmbeddedServer, board: Board, js: JetStreamContext
) -> None:
    """Not of what was settled before it, nor of other topics in the stream; and 0 when nothing waits."""
    await board.publish("orders.placed", "old")
    async with surveyed(nats_server) as looking:
        await eventually(lambda: looking.age_above(0.5))
        await board.publish("orders.cancelled", "of nobody here")
        await board.publish("orders.placed", "new")
        pulling = await js.pull_subscribe_bind(SPEC.durable, "ORDERS")
        old, new = await pulling.fetch(2)

        await looking.survey.look()
        assert looking.mailbox.age_now > 0.5
        await old.ack_sync()
        await looking.survey.look()
        assert 0 < looking.mailbox.age_now < 0.5
        await new.ack_sync()
        await looking.survey.look()
        assert looking.mailbox.age_now == 0


@pytest.mark.usefixtures("prepared")
async def test_message_that_its_stream_is_about_to_drop_is_an_alarm_once_and_its_end_too(
    nats_server: EmbeddedServer, board: Board, js: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    """G1."""
    caplog.set_level(logging.INFO, "callboard.mailbox")
    await keep_for(js, 5.0)
    await board.publish("orders.placed", 1)
    await board.publish("orders.placed", 2)
    async with surveyed(nats_server) as looking:
        await looking.survey.look()
        assert not caplog.records

        await eventually(lambda: looking.age_above(4.0))
        await looking.survey.look()

        [alarm] = caplog.records
        assert alarm.levelname == "ERROR"
        for said in (SPEC.durable, "has waited 4 s", "after 5 s", "2 wait", "--workers", "max_age"):
            assert said in alarm.getMessage()

        pulling = await js.pull_subscribe_bind(SPEC.durable, "ORDERS")
        for message in await pulling.fetch(2):
            await message.ack_sync()
        await looking.survey.look()
        await looking.survey.look()

        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        assert SPEC.durable in caplog.text


@pytest.mark.usefixtures("prepared")
async def test_stream_that_keeps_messages_for_ever_raises_no_alarm(
    nats_server: EmbeddedServer, board: Board, js: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    await keep_for(js, 0)
    await board.publish("orders.placed", 1)
    async with surveyed(nats_server) as looking:
        await eventually(lambda: looking.age_above(0.1))

    assert not [record for record in caplog.records if record.name == "callboard.mailbox"]


async def test_idle_mailboxes_of_a_stream_cost_one_call_for_every_page(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client
) -> None:
    """The server puts 256 durables on a page."""
    specs = [group_mailboxes([f"orders.{number}"], f"shop{number}")[0] for number in range(300)]
    await transport.prepare(Topology(specs, ()))
    calls: Counter[str] = Counter()

    async def audit(message: Msg) -> None:
        subject = str(json.loads(message.data)["subject"])
        if "ORDERS" in subject:
            calls[".".join(subject.split(".")[:4])] += 1

    await client.subscribe("$JS.EVENT.ADVISORY.API", cb=audit)
    async with surveyed(nats_server, *specs) as looking:
        await client.flush()
        await looking.survey.look()
    await eventually(lambda: calls["$JS.API.CONSUMER.LIST"] >= 2)
    await client.flush()

    assert calls == {"$JS.API.CONSUMER.LIST": 2}


@pytest.mark.usefixtures("prepared")
async def test_nothing_is_asked_while_the_server_is_away_and_it_goes_on_afterwards(
    nats_server: EmbeddedServer, board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    await board.publish("orders.placed", 1)
    async with surveyed(nats_server) as looking:
        await looking.survey.look()
        nats_server.kill()
        await eventually(lambda: not looking.connection.client.is_connected)

        await looking.survey.look()
        assert looking.mailbox.lag_now == 1

        await nats_server.restart()
        await eventually(lambda: looking.connection.client.is_connected)
        await eventually(lambda: looking.age_above(0.0))
    assert not [record for record in caplog.records if record.name == "callboard.mailbox"]


async def test_running_mailbox_is_surveyed_and_its_credit_is_known(prepared: JetStreamTransport, board: Board) -> None:
    """Without anybody asking for it."""
    async with prepared.subscriber([SPEC]) as subscriber:
        for number in range(3):
            await board.publish("orders.placed", number)
        await subscriber.receive()
        mailbox = prepared.statistics.mailboxes[SPEC.durable]
        await eventually(lambda: mailbox.lag_now == 2)

    async with prepared.subscriber([SPEC]):
        await eventually(lambda: mailbox.credit_now == 0)


async def test_account_that_may_not_ask_is_told_once(nats_binary: object, caplog: pytest.LogCaptureFixture) -> None:
    async with server_that_denies("publish", "$JS.API.CONSUMER.LIST.>") as server:
        connection = NatsConnection(ConnectionOptions((url(server),)))
        async with connection:
            looking = Surveyed(connection, [SPEC])
            await looking.survey.look()
            await looking.survey.look()

    told = [record for record in caplog.records if record.name == "callboard.mailbox"]
    assert [record.levelname for record in told] == ["WARNING"]
    assert "$JS.API.CONSUMER.LIST.ORDERS" in told[0].getMessage()
