"""One flow is one trace, as a collector receives it over OTLP/HTTP."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from callboard import Actor, ActorCrash, command, event, query
from callboard.backoff import Backoff
from callboard.embedded import EmbeddedServer
from callboard.supervision import Supervisor
from callboard.system import System
from callboard.telemetry import OpenTelemetryInstrumentation
from callboard.testing import ReceivedSpan, SpanReceiver
from tests.jetstream.eventually import eventually


@pytest.fixture
def receiver() -> Iterator[SpanReceiver]:
    with SpanReceiver() as receiver:
        yield receiver


@pytest.fixture
def instrumentation(receiver: SpanReceiver) -> Iterator[OpenTelemetryInstrumentation]:
    provider = TracerProvider(resource=Resource({"service.name": "test"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.endpoint}/v1/traces")))
    yield OpenTelemetryInstrumentation(provider)
    provider.shutdown()


def traced(server: EmbeddedServer, instrumentation: OpenTelemetryInstrumentation, *actors: type[Actor]) -> System:
    tree = Supervisor(actors, backoff=Backoff(base=0.01, maximum=0.01))
    return System(tree, name="test", nats=server.url, instrumentation=instrumentation)


async def spans_of(receiver: SpanReceiver, count: int) -> list[ReceivedSpan]:
    """The spans in order of their start, once there are so many; fails when there are more."""
    await eventually(lambda: len(receiver.spans) >= count)
    spans = sorted(receiver.spans, key=lambda span: span.start)
    assert len(spans) == count, [span.name for span in spans]
    return spans


def shape(receiver: SpanReceiver, trace_id: str) -> list[str]:
    """The trace as indented names."""
    lines = receiver.tree(trace_id).splitlines()
    depths = [len(line) - len(line.lstrip()) for line in lines]
    names = {span.name for span in receiver.spans}
    found: list[str] = []
    for depth, line in zip(depths, lines, strict=True):
        name = max((name for name in names if line.strip().startswith(name)), key=len)
        found.append("  " * (depth // 2) + name)
    return found


class Orders(Actor):
    retry = (0.0, 0.0)

    @command("orders.place")
    async def place(self, number: int) -> int:
        await self.publish("orders.placed", number)
        return await self.request("stock.count", number, returns=int)

    @command("orders.fail")
    async def fail(self) -> None:
        raise ValueError("never")


class Stock(Actor):
    @query("stock.{what}")
    async def count(self, what: str) -> int:
        return 3

    @event("orders.placed")
    async def log(self) -> None: ...


async def test_request_publish_process_and_reply_are_one_trace(
    nats_server: EmbeddedServer, receiver: SpanReceiver, instrumentation: OpenTelemetryInstrumentation
) -> None:
    async with traced(nats_server, instrumentation, Orders, Stock) as system:
        assert await system.board.request("orders.place", 1) == 3
        spans = await spans_of(receiver, 8)

    (trace_id,) = receiver.traces()
    assert receiver.orphans(trace_id) == []
    assert shape(receiver, trace_id) == [
        "request orders.place",
        "  process orders.place",
        "    publish orders.placed",
        "      process orders.placed",
        "    request stock.{what}",
        "      process stock.{what}",
        "        reply",
        "    reply",
    ]
    kinds = {span.name: span.kind for span in spans}
    assert kinds["request orders.place"] == "CLIENT"
    assert kinds["publish orders.placed"] == kinds["reply"] == "PRODUCER"
    assert kinds["process orders.place"] == "CONSUMER"
    process = next(span for span in spans if span.name == "process orders.place")
    assert process.attributes["messaging.nats.stream.name"] == "ORDERS"
    assert process.attributes["callboard.settlement"] == "ack"
    assert process.attributes["callboard.actor"] == "Orders"


async def test_request_links_to_its_reply(
    nats_server: EmbeddedServer, receiver: SpanReceiver, instrumentation: OpenTelemetryInstrumentation
) -> None:
    async with traced(nats_server, instrumentation, Stock) as system:
        await system.board.request("stock.count")
        spans = {span.name: span for span in await spans_of(receiver, 3)}

    assert [link.span_id for link in spans["request stock.{what}"].links] == [spans["reply"].span_id]


async def test_attempts_are_siblings_and_the_dead_letter_stands_under_the_last(
    nats_server: EmbeddedServer,
    receiver: SpanReceiver,
    instrumentation: OpenTelemetryInstrumentation,
    js: JetStreamContext,
) -> None:
    async with traced(nats_server, instrumentation, Orders) as system:
        await system.board.publish("orders.fail")
        spans = await spans_of(receiver, 5)

    assert shape(receiver, spans[0].trace_id) == [
        "publish orders.fail",
        "  process orders.fail",
        "  process orders.fail",
        "  process orders.fail",
        "    dead_letter orders.fail",
    ]
    attempts = [span for span in spans if span.name.startswith("process")]
    assert [span.attributes["callboard.attempt"] for span in attempts] == [1, 2, 3]
    assert [span.attributes["messaging.nats.message.delivery_count"] for span in attempts] == [1, 2, 3]
    assert [span.attributes["callboard.settlement"] for span in attempts] == ["retry", "retry", "dead letter"]
    assert {span.status_code for span in attempts} == {"ERROR"}
    assert [span.attributes["error.type"] for span in attempts] == ["ValueError"] * 3
    letter = await js.get_msg("CALLBOARD_DEAD", 1)
    buried = next(span for span in spans if span.name.startswith("dead_letter"))
    assert (letter.headers or {})["traceparent"].split("-")[1:3] == [buried.trace_id, buried.span_id]


async def test_restart_stands_under_the_attempt_that_crashed(
    nats_server: EmbeddedServer, receiver: SpanReceiver, instrumentation: OpenTelemetryInstrumentation
) -> None:
    lives: list[int] = []

    class Crashing(Actor):
        async def on_start(self) -> None:
            lives.append(1)

        @command("orders.crash")
        async def crash(self) -> None:
            if len(lives) == 1:
                raise ActorCrash("spoiled")

    async with traced(nats_server, instrumentation, Crashing) as system:
        await system.board.publish("orders.crash")
        spans = await spans_of(receiver, 4)

    assert shape(receiver, spans[0].trace_id) == [
        "publish orders.crash",
        "  process orders.crash",
        "    restart Crashing",
        "  process orders.crash",
    ]
    first = next(span for span in spans if span.name.startswith("process"))
    assert first.attributes["callboard.failure.class"] == "actor"
    assert first.attributes["callboard.settlement"] == "hand back"


async def test_trace_of_a_stranger_goes_on(
    nats_server: EmbeddedServer,
    receiver: SpanReceiver,
    instrumentation: OpenTelemetryInstrumentation,
    client: Client,
) -> None:
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

    async with traced(nats_server, instrumentation, Stock):
        await client.publish("stock.count", b"", headers={"Traceparent": f"00-{trace_id}-{span_id}-01"})
        (process,) = await spans_of(receiver, 1)

    assert (process.trace_id, process.parent_id) == (trace_id, span_id)


async def test_message_without_trace_is_a_root_of_its_own(
    nats_server: EmbeddedServer,
    receiver: SpanReceiver,
    instrumentation: OpenTelemetryInstrumentation,
    client: Client,
) -> None:
    async with traced(nats_server, instrumentation, Stock):
        await client.publish("stock.count", b"")
        await client.publish("stock.count", b"", headers={"traceparent": "nonsense"})
        first, second = await spans_of(receiver, 2)

    assert first.parent_id == second.parent_id == ""
    assert first.trace_id != second.trace_id


async def test_messages_of_one_slot_share_no_trace(
    nats_server: EmbeddedServer, receiver: SpanReceiver, instrumentation: OpenTelemetryInstrumentation
) -> None:
    async with traced(nats_server, instrumentation, Stock) as system:
        await asyncio.gather(*(system.board.publish("stock.count") for _ in range(20)))
        await spans_of(receiver, 40)

    assert {len(spans) for spans in receiver.traces().values()} == {2}
