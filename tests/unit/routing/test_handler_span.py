"""What an attempt's span says about how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from callboard import BrokerResponseException, command
from callboard.routing.option import FailureAction
from callboard.telemetry import OpenTelemetryInstrumentation
from tests.unit.routing.bench import INBOX, Bench
from tests.unit.routing.loopback import LoopbackTransport


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def instrumentation(exporter: InMemorySpanExporter) -> Iterator[OpenTelemetryInstrumentation]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield OpenTelemetryInstrumentation(provider)
    provider.shutdown()


def process(exporter: InMemorySpanExporter, number: int = 0) -> ReadableSpan:
    return [span for span in exporter.get_finished_spans() if span.name.startswith("process")][number]


def facts(span: ReadableSpan) -> tuple[Any, Any, Any]:
    """Settlement, failure class and error type."""
    attributes = span.attributes or {}
    settlement, failure = attributes.get("callboard.settlement"), attributes.get("callboard.failure.class")
    return settlement, failure, attributes.get("error.type")


def events(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, dict(event.attributes or {})) for event in span.events]


async def test_success_is_an_ack(
    transport: LoopbackTransport, instrumentation: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
) -> None:
    @command("orders.place")
    async def handle() -> None: ...

    async with Bench(transport, handle, instrumentation=instrumentation):
        await transport.put("orders.place").ended()

    span = process(exporter)
    assert (facts(span), events(span)) == (("ack", None, None), [("ack", {})])
    assert span.status.status_code is StatusCode.UNSET


async def test_refusal_is_no_failure(
    transport: LoopbackTransport, instrumentation: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
) -> None:
    @command("orders.place")
    async def handle() -> None:
        raise BrokerResponseException("no nuts left", status=409)

    async with Bench(transport, handle, instrumentation=instrumentation):
        await transport.put("orders.place", reply_topic=INBOX).ended()

    span = process(exporter)
    assert (facts(span), events(span)) == (("ack", "refusal", None), [("ack", {})])
    assert span.status.status_code is StatusCode.UNSET


async def test_retry_is_a_nak_with_its_delay_and_the_last_failure_a_term_with_its_reason(
    transport: LoopbackTransport, instrumentation: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
) -> None:
    @command("orders.place", retry=(0.0,))
    async def handle() -> None:
        raise ValueError("never")

    async with Bench(transport, handle, instrumentation=instrumentation):
        await transport.put("orders.place").ended()

    first, last = process(exporter), process(exporter, 1)
    assert facts(first) == ("retry", "message", "ValueError")
    assert events(first) == [("nak", {"callboard.delay": 0.0})]
    assert facts(last) == ("dead letter", "message", "ValueError")
    assert events(last) == [("term", {"callboard.reason": "dead letter: ValueError"})]


async def test_discarded_message_is_a_term(
    transport: LoopbackTransport, instrumentation: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
) -> None:
    @command("orders.place", failures={ValueError: FailureAction.DISCARD})
    async def handle() -> None:
        raise ValueError("never")

    async with Bench(transport, handle, instrumentation=instrumentation):
        await transport.put("orders.place").ended()

    span = process(exporter)
    assert facts(span) == ("discard", "message", "ValueError")
    assert events(span) == [("term", {"callboard.reason": "discarded by policy"})]


async def test_dead_letter_that_cannot_be_stored_hands_the_message_back(
    transport: LoopbackTransport, instrumentation: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
) -> None:
    @command("orders.place", retry=())
    async def handle() -> None:
        transport.away = True
        raise ValueError("never")

    async with Bench(transport, handle, instrumentation=instrumentation):
        transport.put("orders.place")
        await transport.noted("nak after 10 1")

    span = process(exporter)
    assert facts(span) == ("hand back", "message", "ValueError")
    assert [name for name, _ in events(span)] == ["nak"]
    buried = next(span for span in exporter.get_finished_spans() if span.name.startswith("dead_letter"))
    assert buried.status.status_code is StatusCode.ERROR


async def test_cancelled_attempt_has_failed_and_is_handed_back(
    transport: LoopbackTransport, instrumentation: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
) -> None:
    entered = asyncio.Event()

    @command("orders.place")
    async def handle() -> None:
        entered.set()
        await asyncio.Event().wait()

    async with Bench(transport, handle, instrumentation=instrumentation) as bench:
        transport.put("orders.place")
        await entered.wait()
        await bench.handler.stop(0.0)

    span = process(exporter)
    assert facts(span) == ("hand back", None, "CancelledError")
    assert span.status.status_code is StatusCode.ERROR


async def test_reply_names_the_answer_and_not_the_inbox(
    transport: LoopbackTransport, instrumentation: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
) -> None:
    @command("orders.place")
    async def handle() -> int:
        return 1

    async with Bench(transport, handle, instrumentation=instrumentation):
        await transport.put("orders.place", reply_topic=INBOX).ended()

    (reply,) = [span for span in exporter.get_finished_spans() if span.name == "reply"]
    attributes = reply.attributes or {}
    assert attributes["messaging.destination.template"] == "(inbox)"
    assert str(attributes["messaging.message.id"]).startswith("reply:")
    assert "messaging.destination.name" not in attributes
