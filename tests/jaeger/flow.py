"""One flow through three services, and the trace that it must leave."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from attrs import field, frozen
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Tracer, format_trace_id

from callboard.brokers.mailbox import Kind, MailboxSpec
from callboard.brokers.topic import TopicTemplate
from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.telemetry import OpenTelemetryInstrumentation
from callboard.testing import ReceivedSpan
from callboard.testing.span import AttributeValue
from tests.cli.command import CommandLine, Running
from tests.jetstream.eventually import eventually

__all__ = ["MESSAGE", "Collector", "Expected", "Web", "expected_trace", "run_flow", "shape_of", "web"]

SALES = """
from pathlib import Path
from callboard import Actor, event


class Sales(Actor):
    retry = (0.0,)
    publishes = {"orders.confirmed": dict}

    @event("orders.placed")
    async def placed(self, order: dict) -> None:
        if not Path("tried").exists():
            Path("tried").touch()
            raise ConnectionError("the price list is not there yet")
        order["reserved"] = await self.request(f"stock.{order['item']}.reserve", order["count"], returns=int)
        await self.publish("orders.confirmed", order)
"""
STOCK = """
from callboard import Actor, command, event


class Stock(Actor):
    @command("stock.{item}.reserve")
    async def reserve(self, item: str, count: int) -> int:
        return count


class Shipping(Actor):
    @event("orders.confirmed")
    async def confirmed(self, order: dict) -> None: ...
"""
BILLING = """
from pathlib import Path
from callboard import Actor, event


class Billing(Actor):
    retry = ()

    @event("orders.confirmed")
    async def confirmed(self, order: dict) -> None:
        if not Path("mended").exists():
            raise ValueError(f"no account for {order['item']}")
        Path("billed").touch()
"""
SERVICES = {"sales": SALES, "stock": STOCK, "billing": BILLING}
"""Each runs in a worker process of its own."""


class Collector(Protocol):
    """Where spans go, and where they are read."""

    @property
    def endpoint(self) -> str: ...
    def trace(self, trace_id: str) -> list[ReceivedSpan]: ...
    def traces(self) -> dict[str, list[ReceivedSpan]]: ...


@frozen
class Web:
    """A web application, as far as it matters here: a span of its server, and a door to the actors."""

    tracer: Tracer
    board: Board
    transport: JetStreamTransport

    async def post_order(self) -> str:
        """Handle `POST /orders`: the id of its trace."""
        with self.tracer.start_as_current_span("POST /orders", kind=SpanKind.SERVER) as span:
            await self.board.publish("orders.placed", {"item": "nuts", "count": 3})
        return format_trace_id(span.get_span_context().trace_id)


@contextmanager
def _provider(endpoint: str) -> Iterator[TracerProvider]:
    resource = Resource({"service.name": "web", "host.name": socket.gethostname()})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    yield provider
    provider.shutdown()


@asynccontextmanager
async def web(server: EmbeddedServer, endpoint: str) -> AsyncIterator[Web]:
    """A web application whose spans go to a collector, as those of the library in it."""
    with _provider(endpoint) as provider:
        async with JetStreamTransport(ConnectionOptions((server.url,))) as transport:
            instrumentation = OpenTelemetryInstrumentation(provider, server=("127.0.0.1", server.port))
            yield Web(provider.get_tracer("web"), Board(transport, instrumentation), transport)


async def run_flow(command: CommandLine, web: Web, collector: Collector) -> str:
    """The whole flow, from the request of a browser to the success of the replay: the id of its trace."""
    running = [await _service(command, name) for name in SERVICES]
    for each in running:
        await each.worker()
    trace_id = await web.post_order()

    async def dead() -> bool:
        return bool([letter async for letter in web.transport.dead_letters.letters()])

    await eventually(dead)
    (command.folder / "mended").touch()
    replayed = await command("dead", "replay", "--all", "--yes")
    assert replayed.code == 0, replayed.err
    await running[0].exists("billed")
    for each in running:  # what they still hold is sent, and nothing comes later
        each.process.terminate()
        assert await each.ended() == 0, each.text
    await eventually(lambda: len(collector.trace(trace_id)) >= count_of(expected_trace(0)))
    return trace_id


async def _service(command: CommandLine, name: str) -> Running:
    (command.folder / f"{name}.py").write_text(SERVICES[name])
    return await command.run(name)


# What must come of it


@frozen
class Expected:
    """A span with those under it."""

    name: str
    kind: str
    service: str
    attributes: dict[str, AttributeValue] = {}
    """Values that are the same in each run."""
    events: list[str] = []
    link: str = ""
    """Name of the span that this one links."""
    children: list[Expected] = field(factory=list["Expected"])

    def lines(self, depth: int = 0) -> list[str]:
        """All of it as text: a difference shows in one line."""
        indent = "  " * depth
        facts = [f"{indent}  . {name}={value}" for name, value in sorted(self.attributes.items())]
        head = f"{indent}{self.name} [{self.kind} {self.service}] events={self.events} link={self.link}"
        return [head, *facts, *(line for child in self.children for line in child.lines(depth + 1))]


IDS = ("messaging.message.id", "messaging.message.conversation_id")
PLACE = ("messaging.nats.stream.name", "messaging.nats.message.stream_sequence")
MESSAGE = (*IDS, *PLACE)
"""What tells which message a span is about: one that is handled is the one that was sent."""
VARYING = {*MESSAGE, "messaging.message.body.size"}
"""Attributes whose values differ from run to run."""


def count_of(expected: Expected) -> int:
    return 1 + sum(map(count_of, expected.children))


def expected_trace(port: int) -> Expected:
    """The trace of the flow, where the server listens on `port`."""
    return _Expectations(port).web()


@frozen
class _Expectations:
    port: int

    def web(self) -> Expected:
        placed = self._send("publish", "orders.placed", "web", children=[self._first(), self._second()])
        return Expected("POST /orders", "SERVER", "web", children=[placed])

    def _first(self) -> Expected:
        return self._process("sales", "Sales", "placed", "orders.placed", failure="ConnectionError", end="retry")

    def _second(self) -> Expected:
        reply = Expected(
            "reply",
            "PRODUCER",
            "stock",
            self._message("reply", "send", "", "(inbox)", IDS) | self._code("stock", "Stock", "reserve"),
        )
        reserve = self._process(
            "stock",
            "Stock",
            "reserve",
            "stock.nuts.reserve",
            template="stock.{item}.reserve",
            kind=Kind.COMMAND,
            children=[reply],
        )
        ask = self._send("request", "stock.nuts.reserve", "sales", kind="CLIENT", link="reply", children=[reserve])
        confirmed = self._send("publish", "orders.confirmed", "sales", children=[self._shipping(), self._billing()])
        return self._process("sales", "Sales", "placed", "orders.placed", count=2, children=[ask, confirmed])

    def _shipping(self) -> Expected:
        return self._process("stock", "Shipping", "confirmed", "orders.confirmed")

    def _billing(self) -> Expected:
        again = self._process("billing", "Billing", "confirmed", "orders.confirmed")
        replay = self._send(
            "send",
            "orders.confirmed",
            "callboard",
            kind="CLIENT",
            link="publish orders.confirmed",
            children=[again],
        )
        buried = Expected(
            "dead_letter orders.confirmed",
            "PRODUCER",
            "billing",
            self._delivery("dead_letter", "send", "billing", "Billing", "confirmed", "orders.confirmed"),
            children=[replay],
        )
        return self._process(
            "billing",
            "Billing",
            "confirmed",
            "orders.confirmed",
            failure="ValueError",
            end="dead letter",
            children=[buried],
        )

    def _send(
        self, verb: str, topic: str, service: str, *, kind: str = "PRODUCER", link: str = "", children: list[Expected]
    ) -> Expected:
        facts = self._message(verb, "send", topic, topic, MESSAGE)
        return Expected(f"{verb} {topic}", kind, service, facts, link=link, children=children)

    def _process(
        self,
        service: str,
        actor: str,
        method: str,
        topic: str,
        *,
        template: str = "",
        kind: Kind = Kind.EVENT,
        count: int = 1,
        failure: str = "",
        end: str = "ack",
        children: Sequence[Expected] = (),
    ) -> Expected:
        facts = self._delivery("process", "process", service, actor, method, topic, template, kind, count)
        facts |= {"callboard.attempt": count, "callboard.settlement": end}
        if failure:
            facts |= {"error.type": failure, "callboard.failure.class": "message"}
        events = [{"ack": "ack", "retry": "nak", "dead letter": "term"}[end]]
        return Expected(f"process {template or topic}", "CONSUMER", service, facts, events, children=list(children))

    def _delivery(
        self,
        verb: str,
        kind_of_operation: str,
        service: str,
        actor: str,
        method: str,
        topic: str,
        template: str = "",
        kind: Kind = Kind.EVENT,
        count: int = 1,
    ) -> dict[str, AttributeValue]:
        mailbox = MailboxSpec(kind, TopicTemplate.parse(template or topic), service, actor)
        facts = self._message(verb, kind_of_operation, topic, template or topic, VARYING)
        return (
            facts
            | self._code(service, actor, method)
            | {"messaging.consumer.group.name": mailbox.durable, "messaging.nats.message.delivery_count": count}
        )

    def _message(
        self, verb: str, kind: str, topic: str, template: str, varying: Sequence[str] | set[str]
    ) -> dict[str, AttributeValue]:
        facts: dict[str, AttributeValue] = {
            "messaging.system": "nats",
            "messaging.operation.name": verb,
            "messaging.operation.type": kind,
            "messaging.destination.template": template,
            "server.address": "127.0.0.1",
            "server.port": self.port,
        }
        if topic:
            facts["messaging.destination.name"] = topic
        return facts | dict.fromkeys(varying, "…")

    @staticmethod
    def _code(service: str, actor: str, method: str) -> dict[str, AttributeValue]:
        return {"callboard.actor": actor, "code.function.name": f"{service}.{actor}.{method}"}


# What came of it


def shape_of(trace: Sequence[ReceivedSpan]) -> Expected:
    """A trace as what was to be expected of it; fails when it has not exactly one root."""
    (root,) = [span for span in trace if not span.parent_id]
    return _shape(root, trace)


def _shape(span: ReceivedSpan, trace: Sequence[ReceivedSpan]) -> Expected:
    links = [other.name for link in span.links for other in trace if other.span_id == link.span_id]
    return Expected(
        span.name,
        span.kind,
        span.service,
        {name: "…" if name in VARYING else value for name, value in span.attributes.items()},
        [event.name for event in span.events],
        ", ".join(links),
        sorted((_shape(other, trace) for other in trace if other.parent_id == span.span_id), key=_rank),
    )


def _rank(expected: Expected) -> str:
    """Two services get an event at the same time: whoever is first, the tree is the same."""
    return json.dumps([expected.name != "request stock.nuts.reserve", expected.service == "billing"])
