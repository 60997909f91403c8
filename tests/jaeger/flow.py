"""One flow through three services, each in a worker process of its own."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from attrs import frozen
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Tracer, format_trace_id

from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.telemetry import OpenTelemetryInstrumentation
from callboard.testing import ReceivedSpan
from tests.cli.command import CommandLine, Running
from tests.jaeger.expectation import expected_trace
from tests.jetstream.eventually import eventually

__all__ = ["Collector", "Web", "run_flow", "web"]

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
def _provider(endpoint: str) -> Generator[TracerProvider]:
    resource = Resource({"service.name": "web", "host.name": socket.gethostname()})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    try:
        yield provider
    finally:
        provider.shutdown()


@asynccontextmanager
async def web(server: EmbeddedServer, endpoint: str) -> AsyncGenerator[Web]:
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
        return [letter.actor async for letter in web.transport.dead_letters.letters()] == ["Billing"]

    await eventually(dead)
    (command.folder / "mended").touch()
    replayed = await command("dead", "replay", "--all", "--yes")
    assert replayed.code == 0, replayed.err
    await running[0].exists("billed")
    for each in running:  # what they still hold is sent, and nothing comes later
        each.process.terminate()
        assert await each.ended() == 0, each.text
    await eventually(lambda: len(collector.trace(trace_id)) >= expected_trace(0).count)
    return trace_id


async def _service(command: CommandLine, name: str) -> Running:
    (command.folder / f"{name}.py").write_text(SERVICES[name])
    return await command.run(name)
