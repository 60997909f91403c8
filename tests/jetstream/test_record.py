"""What is remembered of streams and durables, and what it is good for when they are gone."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from nats.js import JetStreamContext

from callboard.brokers.mailbox import MailboxSpec, Start, group_mailboxes
from callboard.brokers.transport import Topology
from callboard.client import Board
from callboard.config import StreamSettings
from callboard.embedded import EmbeddedServer
from callboard.errors import StreamLostError
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.jetstream.api import JetStreamApi
from callboard.jetstream.comparison import TopologyPlan
from callboard.jetstream.connection import NatsConnection
from callboard.jetstream.topology import Located, TopologyManager
from tests.jetstream.eventually import eventually

SPEC = group_mailboxes(["orders.>"], "shop")[0]
TOPOLOGY = Topology([SPEC], ())


@asynccontextmanager
async def manager_at(server: EmbeddedServer, settings: StreamSettings | None = None) -> AsyncGenerator[TopologyManager]:
    """As a process that has just started sees it."""
    async with NatsConnection(ConnectionOptions((server.url,))) as connection:
        yield TopologyManager(JetStreamApi(connection), settings)


async def start(server: EmbeddedServer, spec: MailboxSpec = SPEC) -> Located:
    """What a start finds, or makes."""
    async with manager_at(server) as manager:
        await manager.prepare([spec], ())
        return await manager.locate(spec)


async def note(server: EmbeddedServer) -> None:
    """What a running process does every few seconds."""
    async with manager_at(server) as manager:
        located = await manager.locate(SPEC)
        await manager.record.note([(located.stream, SPEC.durable)])


async def handle(transport: JetStreamTransport, count: int) -> list[int]:
    """Receive so many messages and acknowledge them."""
    async with transport.subscriber([SPEC]) as subscriber:
        return [(await subscriber.receive()).content for _ in range(count)]


@pytest.fixture
async def handled(
    nats_server: EmbeddedServer, transport: JetStreamTransport, board: Board, js: JetStreamContext
) -> None:
    """Five messages; the first three are handled, and that is recorded."""
    await transport.prepare(TOPOLOGY)
    for number in range(5):
        await board.publish("orders.placed", number)
    assert await handle(transport, 3) == [0, 1, 2]
    await eventually(lambda: acknowledged(js, 3))
    await note(nats_server)


async def acknowledged(js: JetStreamContext, sequence: int) -> bool:
    floor = (await js.consumer_info("ORDERS", SPEC.durable)).ack_floor
    return floor is not None and floor.stream_seq == sequence


async def waiting(js: JetStreamContext) -> int | None:
    return (await js.consumer_info("ORDERS", SPEC.durable)).num_pending


@pytest.mark.usefixtures("handled")
async def test_lost_durable_goes_on_behind_what_it_had_acknowledged(
    nats_server: EmbeddedServer, js: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    await js.delete_consumer("ORDERS", SPEC.durable)

    located = await start(nats_server)

    assert await waiting(js) == 2
    assert located.seen_before == 5
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(SPEC.durable in text and "was missing on ORDERS" in text for text in warned)


@pytest.mark.usefixtures("handled")
async def test_every_process_knows_what_a_lost_durable_may_have_seen(
    nats_server: EmbeddedServer, js: JetStreamContext, board: Board
) -> None:
    await js.delete_consumer("ORDERS", SPEC.durable)
    await start(nats_server)
    await board.publish("orders.placed", 5)

    assert (await start(nats_server)).seen_before == 5


async def test_durable_that_was_never_lost_has_seen_nothing_before(nats_server: EmbeddedServer) -> None:
    assert (await start(nats_server)).seen_before == 0
    assert (await start(nats_server)).seen_before == 0


@pytest.mark.usefixtures("handled")
async def test_lost_durable_is_found_again_while_the_service_runs(
    nats_server: EmbeddedServer, js: JetStreamContext, board: Board
) -> None:
    async with manager_at(nats_server) as manager:
        await manager.locate(SPEC)
        await js.delete_consumer("ORDERS", SPEC.durable)
        assert (await manager.locate(SPEC)).seen_before == 0

        manager.forget(SPEC)

        assert (await manager.locate(SPEC)).seen_before == 5


async def test_lost_durable_that_began_with_new_messages_goes_on_from_there(
    nats_server: EmbeddedServer, js: JetStreamContext, board: Board
) -> None:
    spec = MailboxSpec(SPEC.kind, SPEC.template, "shop", "", start=Start.NEW)
    await board._transport.prepare(Topology((), ["orders.placed"]))
    await board.publish("orders.placed", 1)
    await start(nats_server, spec)
    await board.publish("orders.placed", 2)
    await js.delete_consumer("ORDERS", spec.durable)

    await start(nats_server, spec)

    assert await waiting(js) == 1


@pytest.mark.usefixtures("handled")
async def test_lost_stream_stops_the_start_and_is_not_made_again(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await js.delete_stream("ORDERS")

    with pytest.raises(StreamLostError, match=r"stream 'ORDERS'.* recorded at 20.*--recreate ORDERS") as raised:
        await start(nats_server)

    assert raised.value.stream == "ORDERS"
    assert "ORDERS" not in [info.config.name for info in await js.streams_info()]


@pytest.mark.usefixtures("handled")
async def test_stream_that_is_lost_while_the_service_runs_is_not_made_again(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    async with manager_at(nats_server) as manager:
        await manager.locate(SPEC)
        await js.delete_stream("ORDERS")
        manager.forget(SPEC)

        with pytest.raises(StreamLostError, match="stream 'ORDERS'"):
            await manager.locate(SPEC)


async def test_lost_stream_of_an_operator_is_not_replaced_by_one_of_ours(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await js.add_stream(name="everything", subjects=["orders.>", "bills.>"])
    await start(nats_server)
    await js.delete_stream("everything")

    with pytest.raises(StreamLostError, match="stream 'everything'"):
        await start(nats_server)


@pytest.mark.usefixtures("handled")
async def test_stream_that_was_made_again_by_an_operator_is_reported_and_begins_anew(
    nats_server: EmbeddedServer, js: JetStreamContext, board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    await js.delete_stream("ORDERS")
    await js.add_stream(name="ORDERS", subjects=["orders", "orders.>"])
    for number in range(4):
        await board.publish("orders.placed", number)

    located = await start(nats_server)

    assert "stream ORDERS was deleted and made again" in caplog.text
    assert (await waiting(js), located.seen_before) == (4, 0)
    caplog.clear()
    await start(nats_server)
    assert "made again" not in caplog.text


@pytest.mark.usefixtures("handled")
async def test_lost_stream_is_made_again_when_somebody_says_so(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await js.delete_stream("ORDERS")

    async with manager_at(nats_server) as manager:
        outcomes = await manager.apply(TOPOLOGY, recreate=["ORDERS"])

    assert [(o.difference.name, o.done) for o in outcomes] == [("ORDERS", True), (SPEC.durable, True)]
    assert (await start(nats_server)).seen_before == 0


@pytest.mark.usefixtures("handled")
async def test_mailbox_that_was_removed_on_purpose_is_forgotten(
    nats_server: EmbeddedServer, transport: JetStreamTransport, js: JetStreamContext
) -> None:
    await transport.remove([SPEC])

    await start(nats_server)

    assert await waiting(js) == 5


@pytest.mark.usefixtures("handled")
async def test_memory_survives_a_crash_of_the_server(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    nats_server.kill()
    await nats_server.restart()
    await js.delete_consumer("ORDERS", SPEC.durable)

    assert (await start(nats_server)).seen_before == 5


@pytest.mark.usefixtures("handled")
async def test_floor_is_written_once_while_it_does_not_move(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    async with manager_at(nats_server) as manager:
        located = await manager.locate(SPEC)
        await manager.record.note([(located.stream, SPEC.durable)])
        before = (await js.stream_info("KV_CALLBOARD")).state.last_seq
        await manager.record.note([(located.stream, SPEC.durable)])

    assert (await js.stream_info("KV_CALLBOARD")).state.last_seq == before


async def test_floors_that_could_not_be_written_are_written_the_next_time(
    nats_server: EmbeddedServer,
    transport: JetStreamTransport,
    board: Board,
    js: JetStreamContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("callboard.jetstream.api.BUDGET", 0.1)
    await transport.prepare(TOPOLOGY)
    await board.publish("orders.placed", 1)
    await handle(transport, 1)
    await eventually(lambda: acknowledged(js, 1))
    async with manager_at(nats_server) as manager:
        located = await manager.locate(SPEC)
        nats_server.terminate()
        await manager.record.note([(located.stream, SPEC.durable)])

        await nats_server.restart()
        await manager.record.note([])

        incarnation = manager.incarnations[located.stream]
        assert await manager.record.floor(located.stream, SPEC.durable, incarnation) == 1


async def test_what_is_remembered_does_not_expire_with_messages(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    async with manager_at(nats_server, StreamSettings(max_age=60.0)) as manager:
        await manager.prepare([SPEC], ())

    assert not (await js.stream_info("KV_CALLBOARD")).config.max_age


async def test_process_that_was_slower_takes_the_durable_of_the_faster_one(
    nats_server: EmbeddedServer, transport: JetStreamTransport, board: Board, js: JetStreamContext
) -> None:
    await transport.prepare(TOPOLOGY)
    await js.delete_consumer("ORDERS", SPEC.durable)
    async with manager_at(nats_server) as slower, manager_at(nats_server) as faster:
        seen = await slower._comparison().durable(SPEC)
        await board.publish("orders.placed", 1)
        assert (await faster.locate(SPEC)).seen_before == 1

        await slower._carry_out(TopologyPlan((), (seen,)))

        assert (await slower.locate(SPEC)).seen_before == 1
