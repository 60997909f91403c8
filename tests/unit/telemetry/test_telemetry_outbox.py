"""A queued message: created here, sent later, one trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from callboard import BrokerMessageV1, BrokerMessageV1Payload
from callboard.brokers.memory import InMemoryBroker, InMemoryBrokerPublisher
from callboard.brokers.queue import InMemoryBrokerPublisherQueue, QueuedBrokerPublisher
from callboard.errors import ConnectionLostError, TopicError
from callboard.instrumentation import NO_INSTRUMENTATION, Endpoint, Incoming, Instrumentation, Span, trace_headers
from callboard.telemetry import OpenTelemetryInstrumentation

IDENTIFIER = UUID("0d4f3c52-8f0e-4a3b-a7f0-1f4f3f0f9b61")
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"

_NAMES = ("process airports.{code}.delay", "create orders.place", "send orders.place")

MakeDelivery = Callable[..., Incoming]
MakeCurrent = Callable[[Span], AbstractContextManager[Span]]


def by_name(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return found


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def message() -> BrokerMessageV1:
    return BrokerMessageV1("orders.place", BrokerMessageV1Payload(1), identifier=IDENTIFIER)


async def stored(
    instrumentation: Instrumentation, *, inner: InMemoryBrokerPublisher | None = None
) -> Mapping[str, str]:
    """The trace headers of a message that went through an outbox."""
    inner = inner or InMemoryBrokerPublisher(InMemoryBroker())
    async with QueuedBrokerPublisher(
        inner, InMemoryBrokerPublisherQueue(), instrumentation=instrumentation
    ) as publisher:
        await publisher.send(message())
    (found,) = inner.broker.stored("orders.>")
    return trace_headers(found.frame.headers)


def test_create_and_send_have_their_names_kinds_and_facts(
    telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter, delivery: MakeDelivery
) -> None:
    telemetry.create("orders.place", IDENTIFIER).end()
    telemetry.send(delivery(topic="orders.place", identifier=IDENTIFIER, stream="outbox", durable="outbox")).end()
    create, send = exporter.get_finished_spans()
    assert (create.name, create.kind) == ("create orders.place", SpanKind.PRODUCER)
    assert (send.name, send.kind) == ("send orders.place", SpanKind.CLIENT)
    facts = {
        "messaging.system": "nats",
        "messaging.destination.name": "orders.place",
        "messaging.destination.template": "orders.place",
        "server.address": "127.0.0.1",
        "server.port": 4222,
        "messaging.message.conversation_id": str(IDENTIFIER),
    }
    assert dict(create.attributes or {}) == facts | {
        "messaging.operation.name": "create",
        "messaging.operation.type": "create",
    }
    assert dict(send.attributes or {}) == facts | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }


def test_send_belongs_to_the_creation_and_to_no_span_that_is_current(
    telemetry: OpenTelemetryInstrumentation,
    exporter: InMemorySpanExporter,
    provider: TracerProvider,
    delivery: MakeDelivery,
) -> None:
    with provider.get_tracer("test").start_as_current_span("ambient"):
        telemetry.send(delivery({"Traceparent": SAMPLED})).end()
        telemetry.send(delivery({"traceparent": "nonsense"})).end()
    created, malformed = [span for span in exporter.get_finished_spans() if span.name.startswith("send")]
    assert created.parent is not None
    assert (parent_id(created), f"{created.parent.trace_id:032x}") == (int(PARENT, 16), TRACE)
    assert malformed.parent is None


async def test_message_keeps_the_context_that_it_was_created_in(
    telemetry: OpenTelemetryInstrumentation,
    exporter: InMemorySpanExporter,
    endpoint: Endpoint,
    delivery: MakeDelivery,
    current: MakeCurrent,
) -> None:
    with current(telemetry.process(endpoint, delivery({"traceparent": SAMPLED}))):
        headers = await stored(telemetry)
    process, create, send = (by_name(exporter, name) for name in _NAMES)
    assert parent_id(create) == span_id(process)
    assert parent_id(send) == span_id(create)
    assert headers["traceparent"].split("-")[1:3] == [TRACE, f"{span_id(create):016x}"]


async def test_without_an_sdk_the_headers_pass_through_unchanged(
    endpoint: Endpoint, delivery: MakeDelivery, current: MakeCurrent
) -> None:
    headers = {"traceparent": SAMPLED, "tracestate": "vendor=1", "baggage": "a=1;property"}
    with current(NO_INSTRUMENTATION.process(endpoint, delivery(headers))):
        assert await stored(NO_INSTRUMENTATION) == headers
    assert await stored(NO_INSTRUMENTATION) == {}


async def test_unsampled_message_is_carried_on_and_records_nothing(
    telemetry: OpenTelemetryInstrumentation,
    exporter: InMemorySpanExporter,
    endpoint: Endpoint,
    delivery: MakeDelivery,
    current: MakeCurrent,
) -> None:
    headers = {"traceparent": UNSAMPLED}
    with current(telemetry.process(endpoint, delivery(headers))):
        assert await stored(telemetry) == headers
    assert not exporter.get_finished_spans()


async def test_failures_are_marked(telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter) -> None:
    failures = [ConnectionLostError("nats://here", "away")]

    class Flaky(InMemoryBrokerPublisher):
        async def _send(self, message: object) -> None:
            if failures:
                raise failures.pop()
            await super()._send(message)  # type: ignore[arg-type]

    await stored(telemetry, inner=Flaky(InMemoryBroker()))
    first, second = [span for span in exporter.get_finished_spans() if span.name == "send orders.place"]
    assert first.status.status_code is StatusCode.ERROR
    assert (first.attributes or {})["error.type"] == "ConnectionLostError"
    assert second.status.status_code is StatusCode.UNSET
    async with QueuedBrokerPublisher(
        InMemoryBrokerPublisher(), InMemoryBrokerPublisherQueue(), instrumentation=telemetry
    ) as publisher:
        with pytest.raises(TopicError):
            await publisher.send(BrokerMessageV1("orders.*", BrokerMessageV1Payload(1)))
    assert by_name(exporter, "create orders.*").status.status_code is StatusCode.ERROR


async def test_span_of_whoever_sets_the_publisher_up_is_no_parent(
    telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    inner = InMemoryBrokerPublisher(InMemoryBroker())
    publisher = QueuedBrokerPublisher(inner, InMemoryBrokerPublisherQueue(), instrumentation=telemetry)
    with provider.get_tracer("test").start_as_current_span("setup"):
        await publisher.setup()
    assert not trace.get_current_span().is_recording()
    await publisher.send(message())
    await publisher.destroy()
    create, send = by_name(exporter, "create orders.place"), by_name(exporter, "send orders.place")
    assert create.parent is None
    assert parent_id(send) == span_id(create)
