"""Dead letters on the wire: what other clients send, replays as the server stores them, and what it gives up on."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from attrs import evolve
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from callboard import Actor, event
from callboard.brokers.deadletter import DEAD_STREAM
from callboard.brokers.letter import BODY, StoredLetter
from callboard.brokers.mailbox import Kind, MailboxSpec
from callboard.brokers.topic import TopicTemplate
from callboard.brokers.transport import Topology
from callboard.client import DeadLetterReplay
from callboard.config import Config, Manage, StreamSettings
from callboard.embedded import EmbeddedServer
from callboard.errors import MessageTooLargeError, ReplayRefusedError, TopologyError
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.jetstream.adoption import ADVISORY_STREAM, Adoption
from callboard.jetstream.deadletter import stored_message
from callboard.jetstream.topology import topology_of
from callboard.telemetry import OpenTelemetryInstrumentation
from tests.jetstream.eventually import eventually
from tests.jetstream.service import service

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPEC = MailboxSpec(Kind.EVENT, TopicTemplate.parse("orders.placed"), service="shop", actor="Orders")


class Orders(Actor):
    retry: ClassVar[tuple[float, ...]] = ()

    @event("orders.placed")
    async def placed(self, number: int) -> None:
        raise ValueError("never")


async def letters(transport: JetStreamTransport) -> list[StoredLetter]:
    return [letter async for letter in transport.dead_letters.letters()]


async def has_letters(transport: JetStreamTransport, count: int) -> bool:
    return len(await letters(transport)) == count


async def api(client: Client, call: str, **request: Any) -> dict[str, Any]:
    answer = await client.request(f"$JS.API.{call}", json.dumps(request).encode(), timeout=5)
    return cast("dict[str, Any]", json.loads(answer.data))


async def send_raw(server: EmbeddedServer, subject: str, headers: bytes, body: bytes) -> None:
    """What a client may send that checks nothing."""
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()
    block = b"NATS/1.0\r\n" + headers + b"\r\n"
    writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
    writer.write(b"HPUB %s %d %d\r\n" % (subject.encode(), len(block), len(block) + len(body)))
    writer.write(block + body + b"\r\nPING\r\n")
    while (await reader.readline()) != b"PONG\r\n":
        pass
    writer.close()
    await writer.wait_closed()


# reading


async def test_message_with_hostile_headers_becomes_a_letter_and_can_be_replayed(
    nats_server: EmbeddedServer, transport: JetStreamTransport
) -> None:
    hostile = b"a@b: c\r\nbroken: \xff\xfe\r\nsplit: a\nb\r\n: nameless\r\nno colon\r\nfine: yes\r\n"
    async with service(nats_server, Orders, name="shop"):
        await send_raw(nats_server, "orders.placed", hostile, b"\xff\x00{")
        await eventually(lambda: has_letters(transport, 1))
        [letter] = await letters(transport)
        receipt = await DeadLetterReplay(transport).replay(letter.sequence)
        await eventually(lambda: has_letters(transport, 1))

    assert letter.body == b"\xff\x00{"
    assert letter.headers == {"a@b": "c", "broken": "\ufffd\ufffd", "split": "a\nb", "fine": "yes"}
    replayed = await stored_message(transport._api, "ORDERS", receipt.sequence)
    assert replayed is not None
    assert replayed.body == letter.body
    assert {"broken": "\ufffd\ufffd", "fine": "yes"}.items() <= replayed.headers.items()


async def test_body_that_is_too_large_for_a_letter_is_read_from_the_stream_while_it_is_there(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client, js: JetStreamContext
) -> None:
    body = b"x" * (1024 * 1024 - 100)
    async with service(nats_server, Orders, name="shop"):
        await client.publish("orders.placed", body, headers={"shelf": "3"})
        await eventually(lambda: has_letters(transport, 1))
        [listed] = await letters(transport)
        whole = await transport.dead_letters.get(1)
        with pytest.raises(MessageTooLargeError):
            await DeadLetterReplay(transport).replay(1)
        await js.purge_stream("ORDERS")
        lost = await transport.dead_letters.get(1)
        with pytest.raises(ReplayRefusedError, match="body of the original were too large.*stream 'ORDERS' is gone"):
            await DeadLetterReplay(transport).replay(1)

    assert (listed.body, listed.left_out) == (b"", {BODY})
    assert (whole.body, whole.headers, whole.left_out) == (body, {"shelf": "3"}, frozenset())
    assert (lost.body, lost.headers, lost.left_out) == (b"", {"shelf": "3"}, {BODY})


async def test_listing_reads_no_more_than_somebody_takes(transport: JetStreamTransport, js: JetStreamContext) -> None:
    await transport.prepare(Topology((), ()))
    headers = {"Callboard-Dead-Stream": "S", "Callboard-Dead-Durable": "d", "Callboard-Dead-Sequence": "1"}
    await asyncio.gather(*(js.publish("_callboard.dead.d", b"x" * 10_000, headers=headers) for _ in range(2000)))
    before = transport._connection.client.stats["in_bytes"]

    async for letter in transport.dead_letters.letters():
        assert letter.sequence == 1
        break

    assert transport._connection.client.stats["in_bytes"] - before < 5_000_000


async def test_what_others_put_among_the_dead_letters_is_passed_over(
    transport: JetStreamTransport, js: JetStreamContext
) -> None:
    await transport.prepare(Topology((), ()))
    await js.publish("_callboard.dead.x", b"no letter")
    await js.publish("_callboard.dead.x", b"", headers={"Nats-Sequence": "99", "Callboard-Dead-Sequence": "x"})

    assert await letters(transport) == []


async def test_stream_that_allows_no_direct_gets_says_what_to_do(transport: JetStreamTransport, client: Client) -> None:
    await api(client, f"STREAM.CREATE.{DEAD_STREAM}", name=DEAD_STREAM, subjects=["_callboard.dead.>"])

    with pytest.raises(TopologyError, match="allow_direct=False.*--allow-direct"):
        await letters(transport)


async def test_without_a_stream_there_are_no_letters(transport: JetStreamTransport) -> None:
    assert await letters(transport) == []
    assert not await transport.dead_letters.remove(1)


# replays


async def test_replay_carries_the_original_and_nothing_that_was_true_of_its_first_delivery_alone(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client, js: JetStreamContext
) -> None:
    sent = {
        "Callboard-Id": "6f1f8a50-4a0e-4f5c-9d52-3a0d1b0a7c11",
        "Callboard-Reply-Topic": "answers.here",
        "Callboard-Reply-Via": "stream",
        "Callboard-Deadline": "2999-01-01T00:00:00Z",
        "Callboard-Strategy": "multicast",
        "Nats-Msg-Id": "mine",
        "Nats-TTL": "1h",
        "Traceparent": TRACE,
        "shelf": "3",
    }
    async with service(nats_server, Orders, name="shop"):
        original = await js.publish("orders.placed", b" 1 ", headers=sent)
        await eventually(lambda: has_letters(transport, 1))
    [letter] = await letters(transport)
    receipt = await DeadLetterReplay(transport).replay(letter.sequence)

    replayed = await js.get_msg("ORDERS", receipt.sequence)
    assert replayed.data == b" 1 "
    assert replayed.headers == {
        "Callboard-Id": sent["Callboard-Id"],
        "Callboard-Strategy": "multicast",
        "shelf": "3",
        "Nats-Msg-Id": f"replay:1:{sent['Callboard-Id']}",
        "Nats-Expected-Stream": "ORDERS",
        "Callboard-Target": letter.durable,
        "Callboard-Replay-Of": f"ORDERS:{original.seq}",
        "traceparent": TRACE,
    }


async def test_replay_is_a_span_of_the_letters_trace(
    nats_server: EmbeddedServer, transport: JetStreamTransport, js: JetStreamContext
) -> None:
    async with service(nats_server, Orders, name="shop"):
        await js.publish("orders.placed", b"1", headers={"traceparent": TRACE})
        await eventually(lambda: has_letters(transport, 1))
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    receipt = await DeadLetterReplay(transport, OpenTelemetryInstrumentation(provider)).replay(1)
    provider.shutdown()

    [span] = exporter.get_finished_spans()
    assert span.name == "send orders.placed"
    assert [f"{link.context.span_id:016x}" for link in span.links] == [TRACE.split("-")[2]]
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE.split("-")[1]
    assert f"{span.parent.span_id:016x}" == TRACE.split("-")[2]
    replayed = await js.get_msg("ORDERS", receipt.sequence)
    assert (replayed.headers or {})["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"


# what the server gives up on


@asynccontextmanager
async def adopting(server: EmbeddedServer) -> AsyncGenerator[Adoption]:
    """A process that adopts."""
    async with JetStreamTransport(ConnectionOptions((server.url,))) as transport:
        adoption = Adoption(transport, transport._connection, transport._api, transport._mailboxes)
        adoption.start()
        yield adoption
        await adoption.stop()


async def limited(client: Client, stream: str, durable: str, **config: Any) -> None:
    """An operator sets a limit of one delivery."""
    info = await api(client, f"CONSUMER.INFO.{stream}.{durable}")
    wanted = {"config": info.get("config", {}) | {"max_deliver": 1, "ack_wait": 200_000_000} | config}
    answer = await api(client, f"CONSUMER.CREATE.{stream}.{durable}", stream_name=stream, **wanted)
    assert "error" not in answer, answer


async def give_up(js: JetStreamContext, durable: str, count: int = 1) -> None:
    """Take messages and say nothing, until the server gives up on them."""
    mailbox = await js.pull_subscribe_bind(durable, stream="ORDERS")
    assert len(await mailbox.fetch(count)) == count
    with pytest.raises(NatsTimeoutError):
        await mailbox.fetch(1, timeout=0.6)


async def advisories(js: JetStreamContext) -> int:
    return (await js.stream_info(ADVISORY_STREAM)).state.messages


async def adopts(js: JetStreamContext) -> bool:
    """Whether advisories are kept by now."""
    return ADVISORY_STREAM in [info.config.name for info in await js.streams_info()]


async def test_message_that_the_server_gives_up_on_becomes_a_dead_letter(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client, js: JetStreamContext
) -> None:
    await transport._topology.prepare([SPEC], ())  # without an adoption of its own
    async with adopting(nats_server):
        await eventually(lambda: adopts(js))
        await limited(client, "ORDERS", SPEC.durable)
        await js.publish("orders.placed", b"\xff1", headers={"shelf": "3", "traceparent": TRACE})
        await give_up(js, SPEC.durable)
        await eventually(lambda: has_letters(transport, 1))
        await eventually(lambda: _none(js))

    [letter] = await letters(transport)
    assert (letter.topic, letter.body, letter.headers["shelf"]) == ("orders.placed", b"\xff1", "3")
    assert (letter.error_type, letter.attempts, letter.actor) == ("MaxDeliveries", 1, "Orders")
    assert (letter.stream, letter.stream_sequence, letter.durable) == ("ORDERS", 1, SPEC.durable)
    assert letter.trace_id == TRACE.split("-")[1]
    await DeadLetterReplay(transport).replay(letter.sequence)


async def _none(js: JetStreamContext) -> bool:
    return await advisories(js) == 0


async def test_caller_whose_message_the_server_gives_up_on_gets_an_error_reply(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client, js: JetStreamContext
) -> None:
    spec = evolve(SPEC, kind=Kind.COMMAND)
    await transport._topology.prepare([spec], ())  # without an adoption of its own
    replies = await client.subscribe("_INBOX.caller")
    async with adopting(nats_server):
        await eventually(lambda: adopts(js))
        await limited(client, "ORDERS", spec.durable)
        asked = {"Callboard-Reply-Topic": "_INBOX.caller", "Callboard-Id": str(UUID(int=7))}
        await js.publish("orders.placed", b"1", headers=asked)
        await give_up(js, spec.durable)
        reply = await replies.next_msg(timeout=5)

    assert reply.headers is not None
    assert (reply.headers["Callboard-Status"], reply.headers["Callboard-Id"]) == ("500", str(UUID(int=7)))
    assert json.loads(reply.data)["error"]["type"] == "DeliveriesExhaustedError"


async def test_letter_of_a_stream_that_was_made_again_is_no_copy_of_the_former_ones(
    nats_server: EmbeddedServer, transport: JetStreamTransport, js: JetStreamContext
) -> None:
    """Both messages have the same place and name no identifier, and all happens within the duplicate window."""
    for number in (b"1", b"2"):
        async with service(nats_server, Orders, name="shop") as system:
            await js.publish("orders.placed", number)
            await eventually(lambda number=number: has_letters(transport, int(number)))
            await js.delete_stream("ORDERS")
            await eventually(lambda system=system: not system.ready)
        async with topology_of(Config(nats=nats_server.url)) as manager:
            await manager.apply(Topology([SPEC], ()), recreate=["ORDERS"])

    first, second = await letters(transport)
    assert (first.stream_sequence, first.body) == (1, b"1")
    assert (second.stream_sequence, second.body) == (1, b"2")
    assert first.identifier != second.identifier


async def test_what_was_given_up_while_nobody_ran_is_adopted_by_one_of_several_processes(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client, js: JetStreamContext
) -> None:
    await transport._topology.prepare([SPEC], ())  # without an adoption of its own
    async with adopting(nats_server):
        await eventually(lambda: adopts(js))
    await limited(client, "ORDERS", SPEC.durable)
    for number in range(20):
        await js.publish("orders.placed", b"%d" % number)
    await give_up(js, SPEC.durable, 20)
    await eventually(lambda: _kept(js, 20))
    async with adopting(nats_server), adopting(nats_server):
        await eventually(lambda: _none(js))

    assert sorted(letter.stream_sequence for letter in await letters(transport)) == list(range(1, 21))


async def test_running_service_adopts(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client, js: JetStreamContext
) -> None:
    async with service(nats_server, Orders, name="shop"):
        await eventually(lambda: adopts(js))
    await limited(client, "ORDERS", SPEC.durable)
    await js.publish("orders.placed", b"1")
    await give_up(js, SPEC.durable)

    async with service(nats_server, Orders, name="shop"):
        await eventually(lambda: has_letters(transport, 1))


async def _kept(js: JetStreamContext, count: int) -> bool:
    return await advisories(js) == count


async def test_nothing_is_adopted_of_durables_that_are_not_ours(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client, js: JetStreamContext
) -> None:
    await transport._topology.prepare([SPEC], ())  # without an adoption of its own
    async with adopting(nats_server):
        await eventually(lambda: adopts(js))
        await limited(client, "ORDERS", "theirs", durable_name="theirs", name="theirs", ack_policy="explicit")
        await limited(client, "ORDERS", SPEC.durable)
        await js.publish("orders.placed", b"1")
        await give_up(js, "theirs")
        await give_up(js, SPEC.durable)
        await eventually(lambda: has_letters(transport, 1))
        await eventually(lambda: _none(js))

    assert [letter.durable for letter in await letters(transport)] == [SPEC.durable]


async def test_advisory_waits_until_its_letter_can_be_stored(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client, js: JetStreamContext
) -> None:
    await transport._topology.prepare([SPEC], ())  # without an adoption of its own
    async with adopting(nats_server):
        await eventually(lambda: adopts(js))
        config = (await js.stream_info(DEAD_STREAM)).config
        await js.delete_stream(DEAD_STREAM)
        await limited(client, "ORDERS", SPEC.durable)
        await js.publish("orders.placed", b"1")
        await give_up(js, SPEC.durable)
        await eventually(lambda: _redelivered(js))
        assert await advisories(js) == 1
        await js.add_stream(config)
        await eventually(lambda: has_letters(transport, 1))
        await eventually(lambda: _none(js))


async def _redelivered(js: JetStreamContext) -> bool:
    """Whether the advisory was tried and handed back."""
    return ((await js.consumer_info(ADVISORY_STREAM, "callboard-adoption")).num_redelivered or 0) > 0


async def test_adoption_goes_on_when_its_durable_was_deleted(
    nats_server: EmbeddedServer, transport: JetStreamTransport, client: Client, js: JetStreamContext
) -> None:
    await transport._topology.prepare([SPEC], ())  # without an adoption of its own
    async with adopting(nats_server):
        await eventually(lambda: _pulling(js))
        await js.delete_consumer(ADVISORY_STREAM, "callboard-adoption")
        await limited(client, "ORDERS", SPEC.durable)
        await js.publish("orders.placed", b"1")
        await give_up(js, SPEC.durable)
        await eventually(lambda: has_letters(transport, 1))


async def _pulling(js: JetStreamContext) -> bool:
    if not await adopts(js):
        return False
    consumers = await js.consumers_info(ADVISORY_STREAM)
    return any(consumer.num_waiting for consumer in consumers)


async def test_nothing_is_created_where_the_configuration_forbids_it(
    transport: JetStreamTransport, js: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    settings = StreamSettings(manage=Manage.OFF)
    adoption = Adoption(transport, transport._connection, transport._api, transport._mailboxes, settings)
    adoption.start()
    await eventually(lambda: "'streams.manage' is 'off'" in caplog.text)
    await adoption.stop()

    assert not await adopts(js)
